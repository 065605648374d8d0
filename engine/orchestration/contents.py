"""What a run's spec and a state may hold when they come in. Each `check_…` raises a BadRequest that names the first
field at fault; the bounds are those that the .proto files document.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from playhead import v1
from playhead.call_ids import call_id
from playhead.engine.orchestration.rules.scheduling import LATE
from playhead.engine.orchestration.rules.slots import AWAITING_SLOT
from playhead.engine.orchestration.run_input import check_input, check_parameters, check_schema
from playhead.exceptions import BadRequest, MissingField, UnknownEnumValue
from playhead.journal import checks
from playhead.journal.checks import (
    bounded_bytes,
    bounded_line,
    bounded_list,
    bounded_text,
    id_bytes,
    limit_name,
    optional_id,
)
from playhead.journal.encoding import text_of

NAME_BYTES_MAX = 500
STATE_NAME_BYTES_MAX = 200
MESSAGE_BYTES_MAX = 100_000
KEY_BYTES_MAX = 2_000
# The rule LimitCacheKeys answers keys over 2,000 bytes; what is far longer is no key at all.
CACHE_KEY_BYTES_MAX = 20_000
INLINE_RESULT_BYTES_MAX = 65_536
URL_BYTES_MAX = 4_000
DIGEST_BYTES = 32
TAGS_MAX = 100
TAG_BYTES_MAX = 200
INPUTS_MAX = 1_000
RETRIES_MAX = 1_000_000
RETRY_DELAYS_MAX = 50
SLOTS_MAX = 1_000_000
NAMED_LIMITS_MAX = 20

STATE_TYPES = frozenset(value for value in v1.StateType.values() if value)
FIRST_STATES = frozenset({v1.SCHEDULED, v1.PENDING})
NO_FIRST_NAMES = frozenset({LATE, AWAITING_SLOT})
"""What a run is named that missed its time, or that stands in line: neither is true of one that begins."""


def check_flow_run(spec: v1.FlowRunSpec, field: str) -> bytes:
    """Check a flow run's spec; its id."""
    run_id = id_bytes(spec.id, f"{field}.id")
    id_bytes(spec.flow_id, f"{field}.flow_id")
    for name in ("parent_task_run_id", "deployment_id", "backfill_id", "forked_from_run_id"):
        optional_id(getattr(spec, name), f"{field}.{name}")
    if spec.forked_from_run_id == spec.id:
        raise BadRequest("a run is not forked from itself", field=f"{field}.forked_from_run_id")
    bounded_line(spec.name, f"{field}.name", NAME_BYTES_MAX)
    check_parameters(spec.parameters, f"{field}.parameters")
    _check_key(spec.idempotency_key, f"{field}.idempotency_key", KEY_BYTES_MAX)
    bounded_text(spec.entrypoint, f"{field}.entrypoint", URL_BYTES_MAX)
    bounded_text(spec.flow_version, f"{field}.flow_version", NAME_BYTES_MAX)
    _check_run(spec, field)
    return run_id


def check_task_run(spec: v1.TaskRunSpec, field: str) -> bytes:
    """Check a task run's spec; its id, which inside a flow run follows from its keys."""
    if not spec.task_key:
        raise MissingField("is required", field=f"{field}.task_key")
    for name in ("task_key", "dynamic_key"):
        key = getattr(spec, name)
        bounded_line(key, f"{field}.{name}", NAME_BYTES_MAX)
        if key.isspace():
            raise BadRequest("must not be of spaces alone", field=f"{field}.{name}")
    bounded_line(spec.name, f"{field}.name", NAME_BYTES_MAX)
    bounded_text(spec.task_version, f"{field}.task_version", NAME_BYTES_MAX)
    _check_run(spec, field)
    if spec.inputs:
        _check_inputs(spec, field)
    flow_run_id = optional_id(spec.flow_run_id, f"{field}.flow_run_id")
    if flow_run_id is None:
        return id_bytes(spec.id, f"{field}.id")
    if not spec.dynamic_key:
        raise MissingField("is required inside a flow run", field=f"{field}.dynamic_key")
    run_id = call_id(flow_run_id, spec.task_key, spec.dynamic_key)
    if spec.id and spec.id != text_of(run_id):
        raise BadRequest(f"must be empty or {text_of(run_id)}, which follows from its keys", field=f"{field}.id")
    return run_id


def check_state(state: v1.State, field: str) -> None:
    """Check a state as proposed: known type, bounds, and details that belong to the type."""
    if state.type not in STATE_TYPES:
        what = f"{state.type} is not a known state type" if state.type else "a state type is required"
        raise UnknownEnumValue(what, field=f"{field}.type")
    if state.name:
        bounded_line(state.name, f"{field}.name", STATE_NAME_BYTES_MAX)
    if state.message:
        bounded_text(state.message, f"{field}.message", MESSAGE_BYTES_MAX)
    if state.HasField("details"):
        _check_details(state, f"{field}.details")
    if state.HasField("result"):
        _check_result(state.result, f"{field}.result")


def _check_details(state: v1.State, field: str) -> None:
    # Those that are set, one or two of many.
    given = [(descriptor.name, value) for descriptor, value in state.details.ListFields()]
    for name, value in given:
        allowed = _DETAILS_OF.get(name)
        if allowed is not None and state.type not in allowed and value is not False:
            types = " or ".join(sorted(name for name, kind in v1.StateType.items() if kind in allowed))
            raise BadRequest(f"belongs to {types}, not to {v1.StateType.Name(state.type)}", field=f"{field}.{name}")
    for name, value in given:
        check = _CHECK_OF.get(name)
        if check is not None:
            check(value, f"{field}.{name}")
    if state.details.HasField("cache_expiration") and not state.details.cache_key:
        raise BadRequest("needs a cache_key", field=f"{field}.cache_expiration")


def check_task_details(details: v1.StateDetails, field: str) -> None:
    for name in ("run_input_schema", "run_input"):
        if getattr(details, name):
            raise BadRequest("only the pause of a flow run asks for input", field=f"{field}.{name}")


# Details that only some types can have; the others go with any.
_DETAILS_OF: dict[str, frozenset[int]] = {
    "scheduled_time": frozenset({v1.SCHEDULED, v1.PENDING}),
    "cache_expiration": frozenset({v1.COMPLETED}),
    "refresh_cache": frozenset({v1.RUNNING}),
    "damaged_result": frozenset({v1.RUNNING}),
    "arguments_digest": frozenset({v1.RUNNING, v1.COMPLETED}),
    "cache_key": frozenset({v1.RUNNING, v1.COMPLETED}),
    "rolled_back": frozenset({v1.COMPLETED}),
    "transaction_run_id": frozenset({v1.COMPLETED}),
    "pause_timeout": frozenset({v1.PAUSED}),
    "pause_reschedule": frozenset({v1.PAUSED}),
    "pause_key": frozenset({v1.PAUSED}),
    "run_input_key": frozenset({v1.PAUSED}),
    "run_input_schema": frozenset({v1.PAUSED}),
    "run_input": frozenset({v1.RUNNING, v1.SCHEDULED}),
    "retriable": frozenset({v1.FAILED, v1.CRASHED}),
}


def _check_cache_key(text: str, field: str) -> None:
    _check_key(text, field, CACHE_KEY_BYTES_MAX)


def _check_name(text: str, field: str) -> None:
    bounded_line(text, field, NAME_BYTES_MAX)


def _check_digest(digest: bytes, field: str) -> None:
    if len(digest) != DIGEST_BYTES:
        raise BadRequest(f"must be {DIGEST_BYTES} bytes", field=field)


_CHECK_OF: dict[str, Callable[[Any, str], object]] = {
    "scheduled_time": checks.micros,
    "cache_expiration": checks.micros,
    "pause_timeout": checks.micros,
    "cache_key": _check_cache_key,
    "pause_key": _check_name,
    "run_input_key": _check_name,
    "child_flow_run_id": id_bytes,
    "transaction_run_id": id_bytes,
    "damaged_result": _check_digest,
    "arguments_digest": _check_digest,
    "run_input_schema": check_schema,
    "run_input": check_input,
}


def _check_result(result: v1.Result, field: str) -> None:
    stored = result.WhichOneof("stored")
    if stored == "inline":
        bounded_bytes(result.inline, f"{field}.inline", INLINE_RESULT_BYTES_MAX)
        if result.size_bytes not in (0, len(result.inline)):
            raise BadRequest(f"must be 0 or {len(result.inline)}, as inline is", field=f"{field}.size_bytes")
    elif stored == "reference":
        if not result.reference.url:
            raise MissingField("is required", field=f"{field}.reference.url")
        bounded_text(result.reference.url, f"{field}.reference.url", URL_BYTES_MAX)
        if len(result.reference.sha256) != DIGEST_BYTES:
            raise BadRequest(f"must be {DIGEST_BYTES} bytes", field=f"{field}.reference.sha256")
    bounded_text(result.media_type, f"{field}.media_type", STATE_NAME_BYTES_MAX)


def _check_run(spec: v1.FlowRunSpec | v1.TaskRunSpec, field: str) -> None:
    if spec.tags:
        check_tags(spec.tags, f"{field}.tags")
    if spec.HasField("retry"):
        _check_retry(spec.retry, f"{field}.retry")
    if spec.slots:
        bounded_list(list(spec.slots), f"{field}.slots", NAMED_LIMITS_MAX)
        for name, count in spec.slots.items():
            limit_name(name, f"{field}.slots[{name!r}]")
            if not 1 <= count <= SLOTS_MAX:
                raise BadRequest(f"must be from 1 to {SLOTS_MAX}", field=f"{field}.slots[{name!r}]")
    if spec.HasField("state"):
        check_state(spec.state, f"{field}.state")
        if spec.state.type not in FIRST_STATES:
            raise BadRequest("a run begins SCHEDULED or PENDING: propose other states", field=f"{field}.state.type")
        if spec.state.name in NO_FIRST_NAMES:
            raise BadRequest("only a rule or a timer gives a run this name", field=f"{field}.state.name")
        if spec.state.HasField("result"):
            raise BadRequest("a run that begins has come to nothing yet", field=f"{field}.state.result")
        if spec.state.details.run_input:
            raise BadRequest("a run that begins resumes no pause", field=f"{field}.state.details.run_input")


def _check_retry(retry: v1.RetryPolicy, field: str) -> None:
    if retry.retries > RETRIES_MAX:
        raise BadRequest(f"at most {RETRIES_MAX}", field=f"{field}.retries")
    bounded_list(retry.delays_s, f"{field}.delays_s", RETRY_DELAYS_MAX)
    for index, delay in enumerate(retry.delays_s):
        if not (math.isfinite(delay) and 0 <= delay <= 1e9):
            raise BadRequest("must be from 0 to 1e9 seconds", field=f"{field}.delays_s[{index}]")
    if not (math.isfinite(retry.jitter_factor) and 0 <= retry.jitter_factor <= 1e6):
        raise BadRequest("must be from 0 to 1e6", field=f"{field}.jitter_factor")


def check_tags(tags: object, field: str) -> None:
    bounded_list(tags, field, TAGS_MAX)  # type: ignore[arg-type] # a repeated field is a sequence, its stub is not
    for index, tag in enumerate(tags):  # type: ignore[arg-type, var-annotated] # as above
        if not tag:
            raise BadRequest("must not be empty", field=f"{field}[{index}]")
        bounded_line(tag, f"{field}[{index}]", TAG_BYTES_MAX)


def _check_inputs(spec: v1.TaskRunSpec, field: str) -> None:
    count = sum(max(len(inputs.inputs), 1) for inputs in spec.inputs.values())
    bounded_list(range(count), f"{field}.inputs", INPUTS_MAX)
    for parameter, inputs in spec.inputs.items():
        for index, source in enumerate(inputs.inputs):
            which, where = source.WhichOneof("source"), f"{field}.inputs[{parameter!r}].inputs[{index}]"
            if which is None:
                raise MissingField("is required", field=f"{where}.source")
            if which != "parameter":
                id_bytes(getattr(source, which), f"{where}.{which}")


def _check_key(text: str, field: str, limit: int = NAME_BYTES_MAX) -> None:
    bounded_text(text, field, limit)
    checks.without_zeros(text, field)
