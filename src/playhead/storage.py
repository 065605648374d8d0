"""Storage: bytes under names, in a folder or wherever fsspec can reach.

A place is a path, or an fsspec URL such as "s3://bucket/prefix". What is stored has a URL of its own.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import unquote


def put(place: str, name: str, data: bytes) -> str:
    """Store bytes, in the place of what is there under the name; durable when it answers. Answers their URL.

    In a folder, nobody ever sees half of them. Raises OSError when the place refuses them.
    """
    folder = local_folder(place)
    if folder is not None:
        path = folder / name
        _write_atomically(path, data)
        return path.as_uri()
    import fsspec

    url = url_of(place, name)
    with fsspec.open(url, "wb") as file:
        file.write(data)
    return url


def fetch(url: str) -> bytes:
    """The bytes at a URL. Raises FileNotFoundError, and OSError when the place can not be reached."""
    path = local_folder(url)
    if path is not None:
        return path.read_bytes()
    import fsspec

    with fsspec.open(url, "rb") as file:
        data: bytes = file.read()
    return data


def url_of(place: str, name: str) -> str:
    """The URL of what is stored under a name."""
    folder = local_folder(place)
    return f"{place.rstrip('/')}/{name}" if folder is None else (folder / name).as_uri()


def local_folder(url: str) -> Path | None:
    """The folder that a URL or path names on this machine; None when it is elsewhere."""
    if url.startswith("file://"):
        return Path(unquote(url.removeprefix("file://")))
    return None if "://" in url else Path(url).expanduser().absolute()


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
