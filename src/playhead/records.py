"""Records: files that say which stored value a key names. JSON, with the digest of what they say.

{"record": {"key": …, "expiration": …, "result": {…}}, "sha256": …}     "result" is a `playhead.v1.Result`
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from playhead import v1
from playhead.exceptions import CorruptResult

KEY_SEGMENT_BYTES_MAX = 200


def file_name(key: str) -> str:
    """Where the record of a key is, below the place of records: the key is a relative path.

    A part of it that is too long for a file's name is replaced by its digest. Raises ValueError for a path that leads
    elsewhere.
    """
    parts = key.split("/")
    if not key.isprintable() or any(part in ("", ".", "..") for part in parts) or "://" in key:
        raise ValueError(f"The result key {key!r} is not a relative path: no empty part, '..' or line break, please.")
    return "/".join(map(_short, parts))


def dump_record(key: str, expiration: datetime | None, result: v1.Result) -> bytes:
    """The bytes of a record."""
    from google.protobuf.json_format import MessageToDict

    until = expiration.astimezone(UTC).isoformat() if expiration else None
    record = {"key": key, "expiration": until, "result": MessageToDict(result)}
    return json.dumps({"record": record, "sha256": _digest(record)}).encode()


def load_record(key: str, data: bytes, url: str) -> tuple[datetime | None, v1.Result]:
    """When the record of a key expires, and the value that it names. Raises `CorruptResult`."""
    from google.protobuf.json_format import ParseDict

    try:
        said = json.loads(data)
        record = said["record"]
        whole = said["sha256"] == _digest(record) and record["key"] == key
    except (ValueError, TypeError, KeyError):
        whole = False
    if not whole:
        raise CorruptResult(
            f"The record of the result {key!r} at {url} was altered or cut short: delete the file, or write the result "
            "again."
        )
    expiration = datetime.fromisoformat(record["expiration"]) if record["expiration"] else None
    return expiration, ParseDict(record["result"], v1.Result(), ignore_unknown_fields=True)


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _short(part: str) -> str:
    data = part.encode()
    return part if len(data) <= KEY_SEGMENT_BYTES_MAX else hashlib.sha256(data).hexdigest()
