"""Storage: bytes under names, in a folder or wherever fsspec can reach.

A place is a path, or an fsspec URL such as "s3://bucket/prefix". What is stored has a URL of its own.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from playhead.exceptions import ConfigurationError

Place = str | os.PathLike[str]


def put(place: str, name: str, data: bytes) -> str:
    """Store bytes, in the place of what is there under the name; durable when it answers. Answers their URL.

    In a folder, nobody ever sees half of them. Raises OSError when the place refuses them, `ConfigurationError` for a
    URL of a kind that fsspec can not reach here, and what fsspec's implementation for it raises.
    """
    folder = local_folder(place)
    if folder is not None:
        path = folder / name
        _write_atomically(path, data)
        return path.as_uri()
    url = url_of(place, name)
    with _open(url, "wb") as file:
        file.write(data)
    return url


def fetch(url: str) -> bytes:
    """The bytes at a URL. Raises FileNotFoundError when there are none, and otherwise as `put` does."""
    path = local_folder(url)
    if path is not None:
        return path.read_bytes()
    with _open(url, "rb") as file:
        data: bytes = file.read()
    return data


def url_of(place: str, name: str) -> str:
    """The URL of what is stored under a name."""
    folder = local_folder(place)
    if folder is not None:
        return (folder / name).as_uri()
    return f"{place}{name}" if place.endswith("/") else f"{place}/{name}"


def local_folder(url: str) -> Path | None:
    """The folder that a URL or path names on this machine; None when it is elsewhere."""
    if url.startswith("file://"):
        return Path(unquote(url.removeprefix("file://")))
    return None if "://" in url else Path(url).expanduser().absolute()


def _open(url: str, mode: str) -> Any:
    import fsspec

    try:
        return fsspec.open(url, mode)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"No results can be stored at or read from {url}: {error}") from error


def _write_atomically(path: Path, data: bytes) -> None:
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
