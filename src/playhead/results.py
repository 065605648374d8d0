"""Results: values kept with the states that produced them.

A small value travels inside its state. A larger one is stored under the SHA-256 of its bytes, in a folder or any fsspec
location; whoever reads it compares the digest, so a file that was cut short or altered is reported and never returned.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from playhead import settings, v1
from playhead.exceptions import CorruptResult, MissingResult
from playhead.serialization import dumps, loads
from playhead.states import Retrievable

INLINE_BYTES_MAX = 16 * 1024
_UNREAD = object()


class ResultStore:
    """Where values are stored.

    `url` is a folder, or an fsspec URL such as "s3://bucket/prefix"; unset, the settings say.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url

    @property
    def url(self) -> str:
        """Where large values go."""
        return self._url or settings.results_url()

    def store(self, value: object) -> v1.Result:
        """Store a value durably. Raises `SerializationError`, or OSError when the place refuses it."""
        data, media_type = dumps(value)
        if len(data) <= INLINE_BYTES_MAX:
            return v1.Result(inline=data, media_type=media_type, size_bytes=len(data))
        digest = hashlib.sha256(data)
        reference = v1.ResultReference(url=self._write(data, digest.hexdigest()), sha256=digest.digest())
        return v1.Result(reference=reference, media_type=media_type, size_bytes=len(data))

    def _write(self, data: bytes, name: str) -> str:
        place = self.url
        folder = local_folder(place)
        if folder is not None:
            path = folder / name[:2] / name
            _write_atomically(path, data)
            return path.as_uri()
        import fsspec

        url = f"{place.rstrip('/')}/{name[:2]}/{name}"
        with fsspec.open(url, "wb") as file:
            file.write(data)
        return url


class StoredResult(Retrievable):
    """A value stored with a state. `get()` reads it, once."""

    __slots__ = ("_value", "message")

    def __init__(self, message: v1.Result, value: object = _UNREAD) -> None:
        self.message = message
        self._value = value

    def get(self) -> Any:
        """The value. Raises `CorruptResult` when it is not what was stored."""
        if self._value is _UNREAD:
            self._value = loads(read_bytes(self.message), self.message.media_type)
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        return (_from_bytes, (self.message.SerializeToString(),))

    def __repr__(self) -> str:
        if self._value is not _UNREAD:
            return repr(self._value)
        return f"<stored {self.message.media_type}, {self.message.size_bytes} bytes>"


def read_bytes(result: v1.Result) -> bytes:
    """The bytes of a stored value. Raises `CorruptResult` when they are gone or not those that were stored."""
    if result.HasField("inline"):
        return result.inline
    if not result.HasField("reference"):
        raise MissingResult("The result was not persisted and is no longer available.")
    data = _fetch(result.reference.url)
    if hashlib.sha256(data).digest() != result.reference.sha256:
        raise CorruptResult(
            f"The result stored at {result.reference.url} was altered or cut short: {len(data)} bytes do not have the "
            f"digest of the {result.size_bytes} bytes that were stored. Put the file back, or run the flow run again: "
            "what made the result then runs again too."
        )
    return data


def local_folder(url: str) -> Path | None:
    """The folder that a URL or path names on this machine; None when it is elsewhere."""
    if url.startswith("file://"):
        return Path(unquote(url.removeprefix("file://")))
    return None if "://" in url else Path(url).expanduser().absolute()


def _fetch(url: str) -> bytes:
    path = local_folder(url)
    try:
        if path is not None:
            return path.read_bytes()
        import fsspec

        with fsspec.open(url, "rb") as file:
            data: bytes = file.read()
        return data
    except FileNotFoundError as error:
        raise CorruptResult(
            f"The result stored at {url} is gone. Put the file back, or run the flow run again: what made the result "
            "then runs again too."
        ) from error


def _write_atomically(path: Path, data: bytes) -> None:
    """Durable when it returns, and never seen half written: a file of this name is whole, or was damaged later."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _from_bytes(data: bytes) -> StoredResult:
    return StoredResult(v1.Result.FromString(data))
