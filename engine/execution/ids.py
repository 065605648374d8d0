"""Ids that a client makes."""

from __future__ import annotations

from uuid import UUID

import uuid_utils

from playhead.call_ids import call_id


def new_id() -> str:
    """A UUIDv7: its order is the order of creation."""
    return str(uuid_utils.uuid7())


def task_run_id(flow_run_id: str, task_key: str, dynamic_key: str) -> str:
    """The id of a task run inside a flow run: the same call has the same id in every attempt. See TaskRunSpec.id."""
    return str(UUID(bytes=call_id(bytes.fromhex(flow_run_id.replace("-", "")), task_key, dynamic_key)))


def is_id(text: str) -> bool:
    """Whether it is a canonical UUID string."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
