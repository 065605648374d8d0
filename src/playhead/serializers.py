"""Serializers: how values become the bytes of results, and how they are made again.

(none named)                         JSON where it gives the value back exactly, else a pickle
"pickle"                             a pickle, by cloudpickle: nearly everything
"json"                               JSON; what JSON has no form for, by pydantic, as {"__class__": …, "data": …}
"compressed/pickle", "…/json"        either of these, compressed

The media type is stored with the bytes. `loads` is the one place that knows who reads which, so a stored result can be
read whatever serializer is configured meanwhile. The server reads none.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any, ClassVar

from playhead.exceptions import CorruptResult, SerializationError
from playhead.serialization import EXCEPTION, JSON, PICKLE, dump_exact, dump_exception, load_exception, pickle_dumps

OBJECTS = "application/vnd.playhead.objects+json"
USERS_OWN = "application/vnd.playhead.serializer."
COMPRESSION = "; compression="
COMPRESSION_LIBRARIES = ("lzma", "bz2", "gzip", "zlib")
_CLASS = "__class__"


class Serializer(ABC):
    """Makes bytes of values, and values of bytes.

    For one of your own, give it a `type`, the name that options know it by; the module that defines it must be imported
    where its results are read. It takes no arguments then, because reading has nothing but the bytes and the type.
    """

    type: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "type" in cls.__dict__:
            _NAMED[cls.type] = cls

    @property
    def media_type(self) -> str:
        """What is stored with the bytes, to find the serializer that reads them."""
        return USERS_OWN + self.type

    @abstractmethod
    def dumps(self, obj: Any) -> bytes:
        """The bytes of a value. Raises `SerializationError` when it has none."""

    @abstractmethod
    def loads(self, blob: bytes) -> Any:
        """The value of bytes that `dumps` made."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Serializer) and self.media_type == other.media_type

    def __hash__(self) -> int:
        return hash(self.media_type)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


_NAMED: dict[str, type[Serializer]] = {}


class PickleSerializer(Serializer):
    """Pickles, by cloudpickle."""

    type = "pickle"
    media_type = PICKLE

    def dumps(self, obj: Any) -> bytes:
        """The pickle of a value."""
        return pickle_dumps(obj)

    def loads(self, blob: bytes) -> Any:
        """The value of a pickle."""
        import cloudpickle

        return cloudpickle.loads(blob)


class JSONSerializer(Serializer):
    """JSON. Tuples become lists and keys text, as always in JSON.

    Dates, paths, sets, dataclasses, pydantic models and whatever else pydantic has a JSON form for come back as what
    they were; their classes must be importable by name.
    """

    type = "json"
    media_type = OBJECTS

    def dumps(self, obj: Any) -> bytes:
        """The JSON of a value."""
        tagged: list[None] = []

        def tag(part: Any) -> dict[str, Any]:
            tagged.append(None)
            return _tagged(part)

        try:
            text = json.dumps(obj, default=tag)
        except (TypeError, ValueError, RecursionError) as error:
            raise SerializationError(f"A value of type {type(obj).__name__} has no JSON form: {error}") from error
        if text.count(f'"{_CLASS}":') > len(tagged):
            raise SerializationError(f"A dict has the key {_CLASS!r}, by which JSON here marks objects: use pickle.")
        return text.encode()

    def loads(self, blob: bytes) -> Any:
        """The value of JSON."""
        return json.loads(blob, object_hook=_untagged)


class CompressedSerializer(Serializer):
    """Another serializer's bytes, compressed by a library of the standard library: lzma, bz2, gzip or zlib."""

    type = "compressed"

    def __init__(self, serializer: Serializer | str = "pickle", compressionlib: str = "lzma") -> None:
        if compressionlib not in COMPRESSION_LIBRARIES:
            raise ValueError(f"compressionlib: {compressionlib!r} is none of {', '.join(COMPRESSION_LIBRARIES)}.")
        self.serializer = resolve_serializer(serializer)
        self.compressionlib = compressionlib

    @property
    def media_type(self) -> str:
        """The other one's, and the library."""
        return f"{self.serializer.media_type}{COMPRESSION}{self.compressionlib}"

    def dumps(self, obj: Any) -> bytes:
        """The compressed bytes of a value."""
        data: bytes = import_module(self.compressionlib).compress(self.serializer.dumps(obj))
        return data

    def loads(self, blob: bytes) -> Any:
        """The value of compressed bytes."""
        return self.serializer.loads(import_module(self.compressionlib).decompress(blob))


class CompressedPickleSerializer(CompressedSerializer):
    """Pickles, compressed."""

    type = "compressed/pickle"

    def __init__(self, compressionlib: str = "lzma") -> None:
        super().__init__("pickle", compressionlib)


class CompressedJSONSerializer(CompressedSerializer):
    """JSON, compressed."""

    type = "compressed/json"

    def __init__(self, compressionlib: str = "lzma") -> None:
        super().__init__("json", compressionlib)


def resolve_serializer(serializer: Serializer | str) -> Serializer:
    """The serializer of a name. Raises ValueError for an unknown one, TypeError for what is neither."""
    if isinstance(serializer, Serializer):
        return serializer
    if not isinstance(serializer, str):
        raise TypeError(f"A serializer is its name or a Serializer, not {type(serializer).__name__}.")
    if serializer not in _NAMED:
        raise ValueError(f"There is no serializer {serializer!r}; there are {', '.join(sorted(_NAMED))}.")
    return _NAMED[serializer]()


def dumps(value: object, serializer: Serializer | None = None) -> tuple[bytes, str]:
    """The bytes of a value, and their media type. Raises `SerializationError`.

    Exceptions have a form of their own, whatever the serializer.
    """
    if isinstance(value, BaseException):
        return dump_exception(value), EXCEPTION
    if serializer is None:
        return dump_exact(value)
    try:
        return serializer.dumps(value), serializer.media_type
    except SerializationError:
        raise
    except Exception as error:  # a serializer of the user's own
        name = type(value).__name__
        raise SerializationError(f"{serializer!r} can not serialize a value of type {name}: {error}") from error


def loads(data: bytes, media_type: str) -> Any:
    """The value of bytes that `dumps` made. Raises `CorruptResult` when they can not be read."""
    kind, _, compression = media_type.partition(COMPRESSION)
    read = _reader(kind)
    if read is None or compression not in ("", *COMPRESSION_LIBRARIES):
        raise CorruptResult(
            f"A stored result has the media type {media_type!r}, which nothing here can read. If a serializer of your "
            "own made it, import the module that defines it."
        )
    try:
        return read(import_module(compression).decompress(data) if compression else data)
    except Exception as error:
        raise CorruptResult(f"A stored {media_type} result of {len(data)} bytes can not be read: {error!r}") from error


_READERS: dict[str, Callable[[bytes], Any]] = {
    JSON: json.loads,
    EXCEPTION: load_exception,
    PICKLE: PickleSerializer().loads,
    OBJECTS: JSONSerializer().loads,
}


def _reader(kind: str) -> Callable[[bytes], Any] | None:
    if kind in _READERS or not kind.startswith(USERS_OWN):
        return _READERS.get(kind)
    found = _NAMED.get(kind.removeprefix(USERS_OWN))
    return found().loads if found else None


def _tagged(value: Any) -> dict[str, Any]:
    """A value that JSON has no form for, with its class. Raises TypeError when it has none either way."""
    kind = type(value)
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        found = _named_class(name)
    except (ImportError, AttributeError):
        found = None
    if found is not kind:
        raise TypeError(f"its class {kind.__qualname__!r} can not be imported by name")
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return {_CLASS: name, "data": to_jsonable_python(value)}
    except (PydanticSerializationError, UnicodeDecodeError) as error:
        raise TypeError(str(error)) from error


def _untagged(fields: dict[str, Any]) -> Any:
    if fields.keys() != {_CLASS, "data"}:
        return fields
    import pydantic

    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(_named_class(fields[_CLASS]))
    return adapter.validate_python(fields["data"])


def _named_class(name: str) -> Any:
    module, _, path = name.partition(":")
    return reduce(getattr, path.split("."), import_module(module))
