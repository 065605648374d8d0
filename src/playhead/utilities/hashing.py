"""Digests of values: equal ones have the same in every process, whatever the order of their sets and dicts.

Values that JSON gives back exactly are told as JSON, all others by what a pickle would hold of them, with these
exceptions, which pickles tell differently from process to process:

sets, dicts    their elements in the order of their digests
functions      their name, code, defaults, and the values that they enclose
classes        their name
modules        their name
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import pickle
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from playhead.exceptions import HashError
from playhead.serialization import is_json_exact

PROTOCOL = 5
"""Of the pickles: part of every digest."""
ARGUMENTS_BYTES_MAX = 1024 * 1024
"""Arguments that take more are not told apart."""


def stable_hash(value: Any) -> str:
    """The SHA-256 of a value, 64 hexadecimal digits. Raises `HashError` for what can not be told, such as a lock."""
    return _digest(value).hex()


def hash_objects(*args: Any, **kwargs: Any) -> str:
    """The same of several values."""
    return stable_hash([list(args), kwargs])


def arguments_digest(parameters: dict[str, Any]) -> bytes:
    """The SHA-256 of a call's arguments; empty when they take more than ARGUMENTS_BYTES_MAX, or have no digest."""
    stream = _Hashing(ARGUMENTS_BYTES_MAX)
    try:
        _Teller(stream).dump(parameters)
    except Exception:  # whatever the user's classes raise when they are pickled
        return b""
    return stream.digest()


def source_of(function: Any) -> str:
    """What tells a function's code: its source text or, where there is none, a digest of its bytecode."""
    function = getattr(function, "func", getattr(function, "__func__", function))  # partials and methods
    function = inspect.unwrap(function)
    try:
        return inspect.getsource(function if inspect.isfunction(function) else type(function))
    except (OSError, TypeError):
        code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
        return stable_hash(code)


def _digest(value: Any) -> bytes:
    if is_json_exact(value):
        return hashlib.sha256(b"json:" + json.dumps(value, sort_keys=True).encode()).digest()
    stream = io.BytesIO()
    try:
        _Teller(stream).dump(value)
    except Exception as error:  # whatever the user's classes raise when they are pickled
        raise HashError(f"A value of type {type(value).__name__} has no digest: {error}") from error
    return hashlib.sha256(stream.getbuffer()).digest()


class _Hashing:
    """A stream of which only the digest is kept. Raises `HashError` when more is written than it takes."""

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max
        self._hash = hashlib.sha256()
        self.digest = self._hash.digest

    def write(self, data: Any) -> int:
        """Take some bytes."""
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise HashError("It takes too many bytes.")
        self._hash.update(data)
        return size


class _Teller(pickle.Pickler):
    """Tells values. `fast`: the same object twice is told as two equal ones are."""

    def __init__(self, stream: io.BytesIO | _Hashing) -> None:
        super().__init__(stream, PROTOCOL)
        self.fast = True

    def persistent_id(self, value: Any) -> Any:
        """What is told in the place of a value; None: its pickle."""
        tell = _TOLD.get(type(value))
        if tell is not None:
            return tell(value)
        return _class(value) if isinstance(value, type) else None


def _set(value: Iterable[Any]) -> Any:
    return type(value).__name__, _ordered(value)


def _dict(value: dict[Any, Any]) -> Any:
    return "dict", [(key, value[key]) for key in _ordered(value)]


def _ordered(values: Iterable[Any]) -> list[Any]:
    """In an order that is the same in every process."""
    kinds = {type(each) for each in values}
    return sorted(values) if kinds in _WITH_AN_ORDER else sorted(values, key=_digest)


def _class(value: type) -> Any:
    return "class", value.__module__, value.__qualname__


def _function(value: FunctionType) -> Any:
    enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
    return "function", value.__qualname__, value.__code__, value.__defaults__, _items(value.__kwdefaults__), enclosed


def _code(value: CodeType) -> Any:
    return "code", value.co_code, value.co_consts, value.co_names


def _builtin(value: BuiltinFunctionType) -> Any:
    owner = value.__self__
    return "builtin", value.__module__, value.__qualname__, None if isinstance(owner, ModuleType) else owner


def _items(value: dict[str, Any] | None) -> Any:
    return sorted(value.items()) if value else None


_WITH_AN_ORDER: tuple[set[type], ...] = ({str}, {int}, {bytes})
_TOLD: dict[type, Any] = {
    set: _set,
    frozenset: _set,
    dict: _dict,
    FunctionType: _function,
    CodeType: _code,
    ModuleType: lambda value: ("module", value.__name__),
    BuiltinFunctionType: _builtin,
}
