"""Ids that a client makes."""

from __future__ import annotations

import hashlib
from uuid import UUID

import uuid_utils


def new_id() -> str:
    """A UUIDv7: its order is the order of creation."""
    return str(uuid_utils.uuid7())


def task_run_id(flow_run_id: str, task_key: str, dynamic_key: str) -> str:
    """The id of a task run inside a flow run: the same call has the same id in every attempt. See TaskRunSpec.id."""
    seed = b"%b\0%b\0%b" % (bytes.fromhex(flow_run_id.replace("-", "")), task_key.encode(), dynamic_key.encode())
    digest = bytearray(hashlib.sha256(seed).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether it is a canonical UUID string."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
