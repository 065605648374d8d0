"""States and runs between the two representations: `playhead.v1` on the wire, Python objects in the user's hands.

No rules here.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from playhead import v1
from playhead.runs import FlowRun, TaskRun
from playhead.states import State, StateDetails, StateType
from playhead.stored_results import StoredResult

NAME_BYTES_MAX = 500
STATE_NAME_BYTES_MAX = 200
MESSAGE_BYTES_MAX = 20_000

NUMBER_OF = {kind: v1.StateType.Value(kind.value) for kind in StateType}
TYPE_OF: dict[int, StateType] = {number: kind for kind, number in NUMBER_OF.items()}


def state_of(message: v1.State, task_run_id: str | None = None, flow_run_id: str | None = None) -> State[object]:
    """A state as users see it. The ids say whose state it is."""
    details = _details_of(message.details)
    details.task_run_id = UUID(task_run_id) if task_run_id else None
    details.flow_run_id = UUID(flow_run_id) if flow_run_id else None
    return State(
        type=TYPE_OF[message.type],
        name=message.name,
        message=message.message or None,
        data=StoredResult(message.result) if message.HasField("result") else None,
        timestamp=datetime_of(message.timestamp),
        state_details=details,
    )


def flow_run_of(message: v1.FlowRun) -> FlowRun:
    """A recorded flow run as users see it. Its parameters are as they were recorded, JSON."""
    spec, status = message.spec, message.status
    run = FlowRun(spec.id, status.name, list(status.tags), message.flow_name, json.loads(spec.parameters or b"{}"))
    run.flow_id, run.flow_version = spec.flow_id, spec.flow_version or None
    run.parent_task_run_id = spec.parent_task_run_id or None
    run.deployment_id = spec.deployment_id or None
    run.run_count, run.created = status.run_count, datetime_of(message.created)
    run.expected_start_time = datetime_of(status.expected_start_time)
    if status.HasField("state"):
        run.state = state_of(status.state, flow_run_id=spec.id)
    return run


def task_run_of(message: v1.TaskRun, task_name: str) -> TaskRun:
    """A recorded task run as users see it."""
    spec, status = message.spec, message.status
    run = TaskRun(spec.id, status.name, list(status.tags), task_name, spec.task_key, spec.dynamic_key, spec.flow_run_id)
    run.run_count, run.created = status.run_count, datetime_of(message.created)
    if status.HasField("state"):
        run.state = state_of(status.state, spec.id, spec.flow_run_id or None)
    return run


def message_of(state: State[object], result: v1.Result | None = None) -> v1.State:
    """A state as it is proposed. `result` is the stored form of its data."""
    message = v1.State(type=NUMBER_OF[state.type], name=bounded_line(state.name, STATE_NAME_BYTES_MAX))
    if state.message:
        message.message = bounded(state.message, MESSAGE_BYTES_MAX)
    if result is not None:
        message.result.CopyFrom(result)
    details = state._details
    if details is None:
        return message
    for name in ("cache_key", "pause_key", "run_input_key", "refresh_cache", "untrackable_result", "pause_reschedule"):
        if value := getattr(details, name):
            setattr(message.details, name, value)
    for name in ("scheduled_time", "cache_expiration", "pause_timeout"):
        if moment := getattr(details, name):
            getattr(message.details, name).CopyFrom(timestamp_of(moment))
    if details.child_flow_run_id:
        message.details.child_flow_run_id = str(details.child_flow_run_id)
    if details.retriable is not None:
        message.details.retriable = details.retriable
    return message


def bounded(text: str, bytes_max: int) -> str:
    """The text, cut where it is longer than is accepted; half a surrogate pair is written as \\udce9."""
    if text.isascii():
        return text[:bytes_max]
    return text.encode(errors="backslashreplace")[:bytes_max].decode(errors="ignore")


def bounded_line(text: str, bytes_max: int) -> str:
    """The same, on one line, with characters that can not be printed escaped."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in " ".join(text.split()))
    return bounded(text, bytes_max)


def datetime_of(timestamp: Timestamp) -> datetime:
    """A time with its zone, UTC."""
    return timestamp.ToDatetime(UTC)


def timestamp_of(moment: datetime) -> Timestamp:
    """The message for a time; one without a zone is local time."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment.astimezone(UTC))
    return timestamp


def _details_of(message: v1.StateDetails) -> StateDetails:
    def moment(field: str) -> datetime | None:
        return datetime_of(getattr(message, field)) if message.HasField(field) else None  # type: ignore[arg-type]  # a field's name

    return StateDetails(
        child_flow_run_id=UUID(message.child_flow_run_id) if message.child_flow_run_id else None,
        scheduled_time=moment("scheduled_time"),
        cache_key=message.cache_key or None,
        cache_expiration=moment("cache_expiration"),
        refresh_cache=message.refresh_cache,
        untrackable_result=message.untrackable_result,
        pause_timeout=moment("pause_timeout"),
        pause_reschedule=message.pause_reschedule,
        pause_key=message.pause_key or None,
        run_input_key=message.run_input_key or None,
        retriable=message.retriable if message.HasField("retriable") else None,
    )
