"""From events to responses. A fresh answer and one found by its request id are made of the same event by the same
functions, so the same request has the same answer for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from playhead import v1
from playhead.engine.orchestration.commands import (
    AnyCommand,
    CreateRun,
    Propose,
    RegisterFlow,
    Resume,
    SetLimit,
    UpdateRun,
)
from playhead.engine.orchestration.inputs import ChangeInput
from playhead.engine.orchestration.known import Run
from playhead.engine.orchestration.policy import Subject
from playhead.exceptions import RequestIdReused
from playhead.journal.encoding import micros_of, stamp, text_of, timestamp
from playhead.journal.payload import event_of
from playhead.journal.record import Record
from playhead.projector.showing import input_of


def meta(journal_id: str, revision: int) -> v1.ResponseMeta:
    """What every response says of the journal."""
    return v1.ResponseMeta(journal_id=journal_id, revision=revision)


def proposed(journal_id: str, record: Record, event: v1.StateProposed) -> v1.ProposeStateResponse:
    """The answer to a proposal that is on record."""
    response = _decided(event)
    response.meta.journal_id, response.meta.revision = journal_id, record.revision
    response.run_id = text_of(record.stream)
    if event.status.lease.token == record.revision:
        response.lease_token = record.revision
    return response


def validated(journal_id: str, revision: int, run_id: bytes, event: v1.StateProposed) -> v1.ProposeStateResponse:
    """The answer to a proposal that is not to be recorded."""
    response = _decided(event)
    response.meta.journal_id, response.meta.revision = journal_id, revision
    response.run_id = text_of(run_id)
    return response


def created(journal_id: str, record: Record, event: v1.Event) -> v1.CreateFlowRunResponse | v1.CreateTaskRunResponse:
    """The answer to a command that created a run."""
    if event.HasField("flow_run_created"):
        what = event.flow_run_created
        flow_run = v1.FlowRun(
            spec=what.spec,
            status=what.status,
            flow_name=what.flow_name,
            created=timestamp(record.recorded_at),
            created_revision=record.revision,
            created_by=record.actor,
        )
        return v1.CreateFlowRunResponse(meta=meta(journal_id, record.revision), flow_run=flow_run, created=True)
    task_run = v1.TaskRun(
        spec=event.task_run_created.spec,
        status=event.task_run_created.status,
        created=timestamp(record.recorded_at),
        created_revision=record.revision,
        created_by=record.actor,
    )
    return v1.CreateTaskRunResponse(meta=meta(journal_id, record.revision), task_run=task_run, created=True)


def existing(
    journal_id: str, revision: int, run: Run, flow_name: str
) -> v1.CreateFlowRunResponse | v1.CreateTaskRunResponse:
    """The answer to a command whose run exists already."""
    if isinstance(run.spec, v1.FlowRunSpec):
        flow_run = v1.FlowRun(spec=run.spec, status=run.status, flow_name=flow_name)
        return v1.CreateFlowRunResponse(meta=meta(journal_id, revision), flow_run=flow_run)
    return v1.CreateTaskRunResponse(
        meta=meta(journal_id, revision), task_run=v1.TaskRun(spec=run.spec, status=run.status)
    )


def flow(record: Record, event: v1.Event) -> v1.Flow:
    """The flow that an event registered."""
    registered = event.flow_registered
    answer = v1.Flow(id=registered.flow_id, name=registered.name, created_revision=record.revision)
    stamp(answer.created, record.recorded_at)
    return answer


def updated(journal_id: str, record: Record, event: v1.Event) -> v1.UpdateRunResponse:
    """The answer to an update."""
    return v1.UpdateRunResponse(meta=meta(journal_id, record.revision), status=event.run_updated.status)


def limit_set(journal_id: str, record: Record, event: v1.Event) -> v1.SetConcurrencyLimitResponse:
    """The answer to a concurrency limit that was set or removed."""
    changed = event.concurrency_limit_set
    limit = changed.limit if changed.HasField("limit") else None
    return v1.SetConcurrencyLimitResponse(meta=meta(journal_id, record.revision), limit=limit)


def input_changed(journal_id: str, record: Record, event: v1.Event) -> v1.SendInputResponse | v1.DeleteInputResponse:
    """The answer to an input that was sent or deleted."""
    about = meta(journal_id, record.revision)
    if event.HasField("input_sent"):
        return v1.SendInputResponse(meta=about, input=input_of(record))
    return v1.DeleteInputResponse(meta=about)


def normalize(command: Propose, run_id: bytes, into: v1.ProposeStateRequest) -> None:
    """The command as its event holds it: the run by its id, the request id left to the event's row."""
    into.CopyFrom(command.request)
    into.ClearField("request_id")
    if command.spec is not None:
        if command.subject is Subject.FLOW_RUN:
            into.flow_run_id = text_of(run_id)
        else:
            into.task_run_id = text_of(run_id)


def resumption(command: Resume, suspended: bool) -> v1.ProposeStateRequest:
    """What is proposed when a paused flow run is to go on."""
    state = v1.State(type=v1.SCHEDULED, name="Resuming") if suspended else v1.State(type=v1.RUNNING)
    if command.run_input:
        state.details.run_input = command.run_input
    return v1.ProposeStateRequest(flow_run_id=text_of(command.run_id), state=state)


def mirrored(run: Run) -> v1.State:
    """A subflow run's state, as its tracking task run is given it: without what concerns the subflow run alone."""
    state = v1.State()
    state.CopyFrom(run.status.state)
    state.ClearField("revision")
    state.ClearField("timestamp")
    for name in ("cache_key", "cache_expiration", "refresh_cache", "run_input_schema", "run_input"):
        state.details.ClearField(name)
    state.details.child_flow_run_id = text_of(run.run_id)
    return state


def begin_pause(command: Propose, facts: v1.Facts, request: v1.ProposeStateRequest) -> None:
    """A pause that was asked for by its length ends that long after its decision."""
    if command.pause_us is not None:
        until = timestamp(micros_of(facts.now) + command.pause_us)
        request.state.details.pause_timeout.CopyFrom(until)


def recorded(journal_id: str, command: AnyCommand, records: list[Record]) -> object:
    """The answer on record. Raises RequestIdReused when the request id was used for another command."""
    # What the command did to other runs, as to the task run that tracks a subflow, is no part of its answer.
    records = [record for record in records if record.stream == records[0].stream]
    record = records[-1]
    answer = _RECORDED.get(record.kind)
    found = answer(journal_id, command, record, event_of(record)) if answer is not None else None
    if found is None or (len(records) > 1 and not _made_the_same_run(command, event_of(records[0]))):
        raise RequestIdReused(
            "The request_id was used for another command: make a new one.",
            field="request_id",
            revision=record.revision,
        )
    return found


def _recorded_proposal(journal_id: str, command: AnyCommand, record: Record, event: v1.Event) -> object | None:
    if isinstance(command, Propose):
        # An idempotency key may have led to another run than the one the command would have made.
        keyed = isinstance(command.spec, v1.FlowRunSpec) and bool(command.spec.idempotency_key)
        same = v1.ProposeStateRequest()
        normalize(command, record.stream if keyed else command.run_id, same)
        begin_pause(command, event.state_proposed.facts, same)
        if same != event.state_proposed.command:
            return None
    elif not isinstance(command, Resume) or event.state_proposed.command not in (
        resumption(command, suspended) for suspended in (False, True)
    ):
        return None
    return proposed(journal_id, record, event.state_proposed)


def _recorded_creation(journal_id: str, command: AnyCommand, record: Record, event: v1.Event) -> object | None:
    if not isinstance(command, CreateRun) or not _made_the_same_run(command, event):
        return None
    return created(journal_id, record, event)


def _made_the_same_run(command: AnyCommand, event: v1.Event) -> bool:
    """Whether the run that an event created is the one that a command is to create."""
    if not isinstance(command, (CreateRun, Propose)):
        return False
    if not isinstance(command.spec, v1.TaskRunSpec):
        return command.spec == event.flow_run_created.spec
    spec = v1.TaskRunSpec()
    spec.CopyFrom(command.spec)
    spec.id = text_of(command.run_id)
    return spec == event.task_run_created.spec


def _recorded_flow(journal_id: str, command: AnyCommand, record: Record, event: v1.Event) -> object | None:
    if not isinstance(command, RegisterFlow) or command.name != event.flow_registered.name:
        return None
    if command.flow_id != record.stream:
        return None
    return v1.RegisterFlowResponse(meta=meta(journal_id, record.revision), flow=flow(record, event))


def _recorded_update(journal_id: str, command: AnyCommand, record: Record, event: v1.Event) -> object | None:
    if not isinstance(command, UpdateRun) or command.run_id != record.stream:
        return None
    same = v1.UpdateRunRequest()
    same.CopyFrom(command.request)
    same.ClearField("request_id")
    if same != event.run_updated.command:
        return None
    return updated(journal_id, record, event)


def _recorded_limit(journal_id: str, command: AnyCommand, record: Record, event: v1.Event) -> object | None:
    if not isinstance(command, SetLimit):
        return None
    same = v1.SetConcurrencyLimitRequest()
    same.CopyFrom(command.request)
    same.ClearField("request_id")
    return limit_set(journal_id, record, event) if same == event.concurrency_limit_set.command else None


def _recorded_input(journal_id: str, command: AnyCommand, record: Record, event: v1.Event) -> object | None:
    if not isinstance(command, ChangeInput):
        return None
    asked = command.event()
    same = asked.WhichOneof("what") == record.kind and getattr(asked, record.kind) == getattr(event, record.kind)
    return input_changed(journal_id, record, event) if same else None


_RECORDED: dict[str, Callable[[str, AnyCommand, Record, v1.Event], object | None]] = {
    "state_proposed": _recorded_proposal,
    "flow_run_created": _recorded_creation,
    "task_run_created": _recorded_creation,
    "flow_registered": _recorded_flow,
    "run_updated": _recorded_update,
    "concurrency_limit_set": _recorded_limit,
    "input_sent": _recorded_input,
    "input_deleted": _recorded_input,
}


def _decided(event: v1.StateProposed) -> v1.ProposeStateResponse:
    after = event.status if event.HasField("status") else event.facts.status
    response = v1.ProposeStateResponse(
        decision=event.decision,
        policy_id=event.policy_id,
        run_count=after.run_count,
        run_name=after.name,
        version=after.version,
    )
    if event.rules:  # nearly always there are none
        response.rule, response.reason = event.rule, event.reason
        response.rules.extend(event.rules)
    if after.HasField("state"):
        response.state.CopyFrom(after.state)
    if event.HasField("delay"):
        response.delay.CopyFrom(event.delay)
    if after.HasField("slot_wait"):
        response.waits_for_slots = True
    return response
