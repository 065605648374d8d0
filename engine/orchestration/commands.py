"""From requests to commands: everything a request holds is checked, before anything is asked of the journal.

A command is a checked request with its ids as bytes. The first field at fault is named in a BadRequest; the bounds are
those that the .proto files document.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playhead import v1
from playhead.engine.orchestration.contents import (
    NAME_BYTES_MAX,
    SLOTS_MAX,
    check_flow_run,
    check_state,
    check_tags,
    check_task_details,
    check_task_run,
)
from playhead.engine.orchestration.inputs import ChangeInput
from playhead.engine.orchestration.rules.rule import Subject
from playhead.engine.orchestration.run_input import check_input, check_schema
from playhead.exceptions import BadRequest, MissingField
from playhead.journal import checks
from playhead.journal.checks import LOCK, bounded_line, id_bytes, known_enum, limit_key, optional_id
from playhead.journal.encoding import SECOND_US, id_from
from playhead.journal.record import Caller

BATCH_ITEMS_MAX = 1_000
LEASE_MIN_US = SECOND_US
LEASE_MAX_US = 86_400 * SECOND_US


@dataclass(slots=True)
class Propose:
    """A state proposed for a run; `spec` when the run is to be created on the way. A pause ends `pause_us` after the
    decision, None: when its state says.
    """

    request_id: bytes | None
    caller: Caller
    request: v1.ProposeStateRequest
    subject: Subject
    run_id: bytes
    spec: v1.FlowRunSpec | v1.TaskRunSpec | None
    pause_us: int | None = None


@dataclass(slots=True)
class CreateRun:
    """A run to be created."""

    request_id: bytes | None
    caller: Caller
    subject: Subject
    run_id: bytes
    spec: v1.FlowRunSpec | v1.TaskRunSpec


@dataclass(slots=True)
class RegisterFlow:
    """A flow that is to exist."""

    request_id: bytes | None
    caller: Caller
    flow_id: bytes
    name: str


@dataclass(slots=True)
class UpdateRun:
    """A new name or new tags for a run."""

    request_id: bytes | None
    caller: Caller
    request: v1.UpdateRunRequest
    subject: Subject
    run_id: bytes


@dataclass(slots=True)
class Resume:
    """A paused flow run that is to go on; what is proposed depends on how it was paused. `run_input` is empty where
    there is none.
    """

    request_id: bytes | None
    caller: Caller
    run_id: bytes
    run_input: bytes


@dataclass(slots=True)
class RenewLease:
    """Word from the holder of a lease."""

    request_id: None
    caller: Caller
    subject: Subject
    run_id: bytes
    token: int


@dataclass(slots=True)
class SetLimit:
    """A concurrency limit to be set or removed. `stream` is the limit's."""

    request_id: bytes | None
    caller: Caller
    request: v1.SetConcurrencyLimitRequest
    stream: bytes


AnyCommand = Propose | CreateRun | RegisterFlow | UpdateRun | Resume | RenewLease | SetLimit | ChangeInput


def propose(request: v1.ProposeStateRequest, caller: Caller) -> Propose:
    """The command of a ProposeStateRequest."""
    which = request.WhichOneof("run")
    if which is None:
        raise MissingField("the run to propose for is required", field="run")
    subject, run_id, spec = _PROPOSED_RUN[which](request)
    request_id = optional_id(request.request_id, "request_id")
    if request_id is None and not request.validate_only:
        raise MissingField("a UUID made by the client is required", field="request_id")
    check_state(request.state, "state")
    if subject is Subject.TASK_RUN and request.state.HasField("details"):
        check_task_details(request.state.details, "state.details")
    if request.HasField("lease_ttl"):
        _check_lease(request)
    if request.release_lease and request.state.type == v1.RUNNING:
        raise BadRequest("who proposes RUNNING does not leave the run", field="release_lease")
    return Propose(request_id, caller, request, subject, run_id, spec)


def create_flow_run(request: v1.CreateFlowRunRequest, caller: Caller) -> CreateRun:
    """The command of a CreateFlowRunRequest."""
    request_id = id_bytes(request.request_id, "request_id")
    if not request.HasField("spec"):
        raise MissingField("a spec is required", field="spec")
    return CreateRun(request_id, caller, Subject.FLOW_RUN, check_flow_run(request.spec, "spec"), request.spec)


def create_task_run(request: v1.CreateTaskRunRequest, caller: Caller) -> CreateRun:
    """The command of a CreateTaskRunRequest."""
    request_id = id_bytes(request.request_id, "request_id")
    if not request.HasField("spec"):
        raise MissingField("a spec is required", field="spec")
    return CreateRun(request_id, caller, Subject.TASK_RUN, check_task_run(request.spec, "spec"), request.spec)


def register_flow(request: v1.RegisterFlowRequest, caller: Caller) -> RegisterFlow:
    """The command of a RegisterFlowRequest."""
    request_id = id_bytes(request.request_id, "request_id")
    flow_id = id_bytes(request.flow_id, "flow_id")
    if not request.name:
        raise MissingField("a name is required", field="name")
    bounded_line(request.name, "name", NAME_BYTES_MAX)
    return RegisterFlow(request_id, caller, flow_id, request.name)


def update_run(request: v1.UpdateRunRequest, caller: Caller) -> UpdateRun:
    """The command of an UpdateRunRequest."""
    request_id = id_bytes(request.request_id, "request_id")
    which = request.WhichOneof("run")
    if which is None:
        raise MissingField("flow_run_id or task_run_id is required", field="run")
    run_id = id_bytes(getattr(request, which), which)
    if request.HasField("name"):
        if not request.name:
            raise BadRequest("must not be empty", field="name")
        bounded_line(request.name, "name", NAME_BYTES_MAX)
    if request.HasField("tags"):
        check_tags(request.tags.tags, "tags.tags")
    if not (request.HasField("name") or request.HasField("tags")):
        raise MissingField("nothing to change: a name or tags are required", field="name")
    return UpdateRun(
        request_id, caller, request, Subject.FLOW_RUN if which == "flow_run_id" else Subject.TASK_RUN, run_id
    )


def pause(request: v1.PauseFlowRunRequest, caller: Caller, now: int) -> Propose:
    """The command of a PauseFlowRunRequest; it is `now`, microseconds since the Unix epoch."""
    state = v1.State(type=v1.PAUSED, name="Suspended" if request.reschedule else "")
    state.details.pause_reschedule = request.reschedule
    state.details.pause_key = request.pause_key
    state.details.run_input_schema = request.run_input_schema
    command = _for_flow_run(request.request_id, request.flow_run_id, state, caller)
    bounded_line(request.pause_key, "pause_key", NAME_BYTES_MAX)
    if request.run_input_schema:
        check_schema(request.run_input_schema, "run_input_schema")
    if request.HasField("timeout"):
        command.pause_us = checks.duration(request.timeout, "timeout")
        if command.pause_us <= 0 or (now + command.pause_us) // SECOND_US > checks.SECONDS_MAX:
            raise BadRequest("must be positive and end before the year 10,000", field="timeout")
    return command


def cancel(request: v1.CancelFlowRunRequest, caller: Caller) -> Propose:
    """The command of a CancelFlowRunRequest."""
    return _for_flow_run(request.request_id, request.flow_run_id, v1.State(type=v1.CANCELLING), caller)


def resume(request: v1.ResumeFlowRunRequest, caller: Caller) -> Resume:
    """The command of a ResumeFlowRunRequest."""
    request_id = id_bytes(request.request_id, "request_id")
    run_id = id_bytes(request.flow_run_id, "flow_run_id")
    if request.run_input:
        check_input(request.run_input, "run_input")
    return Resume(request_id, caller, run_id, request.run_input)


def renew_lease(request: v1.RenewLeaseRequest, caller: Caller) -> RenewLease:
    """The command of a RenewLeaseRequest."""
    if request.flow_run_id and request.task_run_id:
        raise BadRequest("a lease is of a flow run or of a task run, not of both", field="task_run_id")
    if request.task_run_id:
        subject, run_id = Subject.TASK_RUN, id_bytes(request.task_run_id, "task_run_id")
    else:
        subject, run_id = Subject.FLOW_RUN, id_bytes(request.flow_run_id, "flow_run_id")
    if not request.lease_token:
        raise MissingField("the token of the lease is required", field="lease_token")
    return RenewLease(None, caller, subject, run_id, request.lease_token)


def set_limit(request: v1.SetConcurrencyLimitRequest, caller: Caller) -> SetLimit:
    """The command of a SetConcurrencyLimitRequest."""
    request_id = id_bytes(request.request_id, "request_id")
    limit_key(request.limit, "limit")
    if request.limit.startswith(LOCK):
        raise BadRequest("is a lock: it has one slot and can not be set", field="limit")
    if request.slots > SLOTS_MAX:
        raise BadRequest(f"at most {SLOTS_MAX}", field="slots")
    if request.on_full:
        known_enum(request.on_full, v1.OnFull.values(), "on_full")
        if not request.HasField("slots"):
            raise BadRequest("belongs to a limit that is set: send slots too", field="on_full")
    return SetLimit(request_id, caller, request, id_from(b"concurrency limit", request.limit.encode()))


def _check_lease(request: v1.ProposeStateRequest) -> None:
    if request.state.type != v1.RUNNING:
        raise BadRequest("only RUNNING takes a lease", field="lease_ttl")
    if not LEASE_MIN_US <= checks.duration(request.lease_ttl, "lease_ttl") <= LEASE_MAX_US:
        raise BadRequest("must be from 1 s to 1 day", field="lease_ttl")


def _for_flow_run(request_id: str, flow_run_id: str, state: v1.State, caller: Caller) -> Propose:
    """The command that proposes a state made here, which needs no check."""
    request = v1.ProposeStateRequest(request_id=request_id, flow_run_id=flow_run_id, state=state)
    run_id = id_bytes(flow_run_id, "flow_run_id")
    return Propose(id_bytes(request_id, "request_id"), caller, request, Subject.FLOW_RUN, run_id, None)


def _flow_run_of(request: v1.ProposeStateRequest) -> tuple[Subject, bytes, None]:
    return Subject.FLOW_RUN, id_bytes(request.flow_run_id, "flow_run_id"), None


def _task_run_of(request: v1.ProposeStateRequest) -> tuple[Subject, bytes, None]:
    return Subject.TASK_RUN, id_bytes(request.task_run_id, "task_run_id"), None


def _new_flow_run_of(request: v1.ProposeStateRequest) -> tuple[Subject, bytes, v1.FlowRunSpec]:
    spec = request.create_flow_run
    return Subject.FLOW_RUN, check_flow_run(spec, "create_flow_run"), spec


def _new_task_run_of(request: v1.ProposeStateRequest) -> tuple[Subject, bytes, v1.TaskRunSpec]:
    spec = request.create_task_run
    return Subject.TASK_RUN, check_task_run(spec, "create_task_run"), spec


_PROPOSED_RUN: dict[
    str, Callable[[v1.ProposeStateRequest], tuple[Subject, bytes, v1.FlowRunSpec | v1.TaskRunSpec | None]]
] = {
    "flow_run_id": _flow_run_of,
    "task_run_id": _task_run_of,
    "create_flow_run": _new_flow_run_of,
    "create_task_run": _new_task_run_of,
}
