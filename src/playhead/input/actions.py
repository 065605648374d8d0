"""Single inputs of a flow run: storing, reading, listing and deleting them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pydantic_core
from pydantic import BaseModel

from playhead.engine.execution import run_inputs
from playhead.engine.execution.connection import client_here
from playhead.engine.execution.drivers import drive, drive_async
from playhead.engine.execution.effects import Loop
from playhead.engine.execution.run_inputs import this_flow_run
from playhead.input.records import FlowRunInput, json_of

Id = UUID | str


def create_flow_run_input(*args: Any, **named: Any) -> Any:
    """Store an input under a key: `(key, value, flow_run_id=None, sender=None)`; the flow run is by default this one.

    With a UUID first: `(flow_run_id, key, value, sender=None)`. Gives the input as it is stored. Raises `AlreadyExists`
    when the flow run has one of this key, and as `send_input` does.
    """
    return drive(_created(*args, **named), client_here())


async def acreate_flow_run_input(*args: Any, **named: Any) -> FlowRunInput:
    """As `create_flow_run_input`."""
    return await drive_async(_created(*args, **named), client_here())


def create_flow_run_input_from_model(
    key: str, model_instance: BaseModel, flow_run_id: Id | None = None, sender: str | None = None
) -> Any:
    """As `create_flow_run_input`, of a model's fields."""
    return drive(_create(key, model_instance, flow_run_id, sender), client_here())


async def acreate_flow_run_input_from_model(
    key: str, model_instance: BaseModel, flow_run_id: Id | None = None, sender: str | None = None
) -> FlowRunInput:
    """As `create_flow_run_input_from_model`."""
    return await drive_async(_create(key, model_instance, flow_run_id, sender), client_here())


def filter_flow_run_input(
    key_prefix: str, limit: int = 1, exclude_keys: Iterable[str] | None = None, flow_run_id: Id | None = None
) -> Any:
    """The first `limit` inputs whose key begins so, in the order in which they were sent; up to 1,000 keys excluded."""
    return drive(_filtered(key_prefix, limit, exclude_keys, flow_run_id), client_here())


async def afilter_flow_run_input(
    key_prefix: str, limit: int = 1, exclude_keys: Iterable[str] | None = None, flow_run_id: Id | None = None
) -> list[FlowRunInput]:
    """As `filter_flow_run_input`."""
    return await drive_async(_filtered(key_prefix, limit, exclude_keys, flow_run_id), client_here())


def read_flow_run_input(key: str, flow_run_id: Id | None = None) -> Any:
    """An input's value; None when there is none of this key. Raises `NotFound` for an unknown flow run."""
    return drive(_read(key, flow_run_id), client_here())


async def aread_flow_run_input(key: str, flow_run_id: Id | None = None) -> Any:
    """As `read_flow_run_input`."""
    return await drive_async(_read(key, flow_run_id), client_here())


def delete_flow_run_input(key: str, flow_run_id: Id | None = None) -> Any:
    """Delete an input; its key is free again. Raises `NotFound` when there is none."""
    return drive(_delete(key, flow_run_id), client_here())


async def adelete_flow_run_input(key: str, flow_run_id: Id | None = None) -> None:
    """As `delete_flow_run_input`."""
    await drive_async(_delete(key, flow_run_id), client_here())


def _created(*args: Any, **named: Any) -> Loop[FlowRunInput]:
    return (_create_for if args and isinstance(args[0], UUID) else _create)(*args, **named)


def _create_for(flow_run_id: UUID, key: str, value: Any, sender: str | None = None) -> Loop[FlowRunInput]:
    return _create(key, value, flow_run_id, sender)


def _create(key: str, value: Any, flow_run_id: Id | None = None, sender: str | None = None) -> Loop[FlowRunInput]:
    return FlowRunInput.of((yield from run_inputs.send(this_flow_run(flow_run_id), key, json_of(value), sender)))


def _filtered(
    key_prefix: str, limit: int, exclude_keys: Iterable[str] | None, flow_run_id: Id | None
) -> Loop[list[FlowRunInput]]:
    excluded = set(exclude_keys or ())
    found = yield from run_inputs.listed(this_flow_run(flow_run_id), key_prefix, limit, excluded)
    return [FlowRunInput.of(message) for message in found]


def _read(key: str, flow_run_id: Id | None) -> Loop[Any]:
    value = yield from run_inputs.read(this_flow_run(flow_run_id), key)
    return None if value is None else pydantic_core.from_json(value)


def _delete(key: str, flow_run_id: Id | None) -> Loop[None]:
    yield from run_inputs.delete(this_flow_run(flow_run_id), key)
