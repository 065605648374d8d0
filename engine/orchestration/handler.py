"""Commands into events: the decision inside the append transaction.

For each command the facts its rules need are gathered, the decision made, the event numbered, appended and folded into
the views. What a decision used is recorded with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playhead import v1
from playhead.engine.orchestration import answers, sql
from playhead.engine.orchestration.commands import (
    AnyCommand,
    CreateRun,
    Propose,
    RegisterFlow,
    RenewLease,
    Resume,
    SetLimit,
    UpdateRun,
)
from playhead.engine.orchestration.creation import flow_name, imagine
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.facts import gather
from playhead.engine.orchestration.inputs import ChangeInput, Inputs
from playhead.engine.orchestration.known import Known, Run
from playhead.engine.orchestration.policy import Policy, Subject
from playhead.engine.orchestration.rules.rule import TERMINAL
from playhead.engine.orchestration.rules.slots import GRANT_SLOTS, REFUSE_SLOTS, granted, refused
from playhead.engine.orchestration.slots import Slots
from playhead.exceptions import AlreadyExists, BadRequest, NotFound, VersionMismatch
from playhead.journal.append import Append
from playhead.journal.encoding import bytes_of, micros_of, stamp, text_of
from playhead.journal.record import Caller, Record
from playhead.projector.fold import Fold

RESUME_NEEDS_PAUSE = "ResumeNeedsPause"
"""The rule on record when a run is to be resumed that is not paused."""


class Orchestrating:
    """The handler of the write thread: see `journal.writer.Handler`."""

    def __init__(self, journal_id: bytes, policy: Policy) -> None:
        self._journal_id = text_of(journal_id)
        self._policy = policy
        self._known = Known()
        self._slots = Slots()
        self._inputs = Inputs()
        self._fold = Fold()
        self._leases: dict[bytes, tuple[int, int] | None] = {}

    def prepare(self, append: Append, commands: Sequence[AnyCommand]) -> None:
        wanted: list[tuple[Subject, bytes]] = []
        for command in commands:
            if isinstance(command, (Propose, CreateRun)):
                wanted.append((command.subject, command.run_id))
                if isinstance(command.spec, v1.TaskRunSpec) and command.spec.flow_run_id:
                    wanted.append((Subject.FLOW_RUN, bytes_of(command.spec.flow_run_id)))
        if wanted:
            self._known.load(append, wanted)
        self._slots.load(append)

    def decide(self, append: Append, command: AnyCommand) -> object:
        if isinstance(command, Propose):
            return self._propose(append, command)
        if isinstance(command, CreateRun):
            return self._create(append, command)
        if isinstance(command, RegisterFlow):
            return self._register(append, command)
        if isinstance(command, UpdateRun):
            return self._update(append, command)
        if isinstance(command, Resume):
            return self._resume(append, command)
        if isinstance(command, SetLimit):
            return self._set_limit(append, command)
        if isinstance(command, ChangeInput):
            return self._change_input(append, command)
        return self._renew(append, command)

    def answer(self, append: Append, command: AnyCommand, records: list[Record]) -> object:
        return answers.recorded(self._journal_id, command, records)

    def flush(self, append: Append) -> None:
        self._fold.flush(append.write)
        if self._leases:
            saved = [(run_id, *lease) for run_id, lease in self._leases.items() if lease is not None]
            append.write(sql.SAVE_LEASE, saved)
            append.write(sql.END_LEASE, [(run_id,) for run_id, lease in self._leases.items() if lease is None])
            self._leases.clear()
        self._known.written()
        self._inputs.written()

    def catch_up(self, records: list[Record]) -> None:
        self._known.catch_up(records)
        self._slots.catch_up(records)

    def reset(self) -> None:
        self._known.reset()
        self._slots.reset()
        self._inputs.written()
        self._fold = Fold()
        self._leases.clear()

    def _propose(self, append: Append, command: Propose) -> v1.ProposeStateResponse:
        run = self._found(append, command)
        created = run is None
        if run is None:
            run = imagine(append, command, self._known, self._policy)
        elif command.spec is not None:
            _check_same(run, command)
        request = command.request
        if run.flow_run_id is not None and request.HasField("lease_ttl"):
            raise BadRequest("a task run inside a flow run is under the lease of its flow run", field="lease_ttl")
        before = append.revision
        if request.HasField("expected_version"):
            _expect(run, request.expected_version, 0 if created else run.status.version)
        if request.state.type == v1.PAUSED and command.pause_us is None:
            _check_pause(request.state.details, append.now)
        if created and not request.validate_only:
            self._append_created(append, command, run)
        event = v1.Event()
        self._decide(append, command, run, event.state_proposed)
        if request.validate_only:
            return answers.validated(self._journal_id, append.revision, run.run_id, event.state_proposed)
        seq = 1 if created else 0
        response = self._append_proposed(append, command, run, event, seq)
        self._mirror(append, command.caller, command.request_id, run, before, seq + 1)
        self._serve(append, command.caller, response.meta.revision)
        return response

    def _decide(self, append: Append, command: Propose, run: Run, into: v1.StateProposed) -> None:
        gather(append, command, run, self._known, self._slots, into.facts)
        answers.begin_pause(command, into.facts, command.request)
        decide(command.subject, into.facts, command.request, self._policy, into)
        answers.normalize(command, run.run_id, into.command)

    def _append_proposed(
        self, append: Append, command: Propose | Resume, run: Run, event: v1.Event, seq: int
    ) -> v1.ProposeStateResponse:
        proposed = event.state_proposed
        if proposed.HasField("status"):
            status = proposed.status
            revision = append.revision + 1
            if proposed.decision != v1.WAIT:
                status.state.revision = revision
            if status.HasField("slot_wait") and not status.slot_wait.since:
                status.slot_wait.since = revision
            status.version = append.version(run.run_id) + 1
            if status.HasField("lease"):
                if not status.lease.token:
                    status.lease.token = revision
                    status.lease.holder = command.caller.actor
                    self._leases[run.run_id] = revision, append.now + micros_of(status.lease.ttl)
            elif run.status.HasField("lease"):
                self._leases[run.run_id] = None
            completed = status.state.type == v1.COMPLETED and proposed.decision == v1.ACCEPT
            if completed and run.subject is Subject.TASK_RUN and status.state.details.cache_key:
                self._known.keep_cache_entry(run.run_id, status.state)
            run.status = status
            if status.state.type in TERMINAL:
                self._known.ended(run)
        record = self._append(append, run.run_id, "state_proposed", event, command, seq)
        uses_slots = self._slots.any_set or run.spec.slots
        if uses_slots and proposed.HasField("status"):
            self._slots.apply(run.run_id, run.subject, run.status)
        return answers.proposed(self._journal_id, record, proposed)

    def _mirror(
        self, append: Append, caller: Caller, request_id: bytes | None, run: Run, before: int, seq: int
    ) -> None:
        """Give the state that a subflow run has come to since revision `before` to the task run that tracks it."""
        spec, state = run.spec, run.status.state
        if not isinstance(spec, v1.FlowRunSpec) or not spec.parent_task_run_id or state.revision <= before:
            return
        tracking = self._known.run(append, Subject.TASK_RUN, bytes_of(spec.parent_task_run_id))
        if tracking is None:
            return
        request = v1.ProposeStateRequest(task_run_id=spec.parent_task_run_id, state=answers.mirrored(run), force=True)
        request.state.details.arguments_digest = tracking.status.state.details.arguments_digest
        mirror = Propose(request_id, caller, request, Subject.TASK_RUN, tracking.run_id, None)
        event = v1.Event()
        self._decide(append, mirror, tracking, event.state_proposed)
        event.state_proposed.mirrors = state.revision
        self._append_proposed(append, mirror, tracking, event, seq)

    def _serve(self, append: Append, caller: Caller, cause: int) -> None:
        """Give slots that the event of revision `cause` has freed to those who wait for them, in the order of arrival;
        refuse those who wait for more than there is.
        """
        if not self._slots.any_to_serve:
            return
        for waiter in self._slots.next_served():
            run = self._known.existing(append, waiter.subject, waiter.run_id, "run_id")
            facts = v1.Facts(status=run.status)
            stamp(facts.now, append.now)
            self._slots.describe(run.run_id, waiter.needs, facts)
            is_task = waiter.subject is Subject.TASK_RUN
            told: dict[str, Any] = {"policy_id": self._policy.id, "task_run": is_task, "facts": facts}
            if (after := refused(facts)) is not None:
                told |= {"rule": REFUSE_SLOTS, "set_by": cause, "status": after}
                self._append_served(append, caller, run, v1.Event(slots_refused=v1.SlotsRefused(**told)))
            elif (after := granted(facts)) is not None:
                told |= {"rule": GRANT_SLOTS, "freed_by": cause, "status": after}
                self._append_served(append, caller, run, v1.Event(slots_granted=v1.SlotsGranted(**told)))

    def _append_served(self, append: Append, caller: Caller, run: Run, event: v1.Event) -> None:
        kind = str(event.WhichOneof("what"))
        status: v1.RunStatus = getattr(event, kind).status
        before = append.revision
        if status.HasField("state") and not status.state.revision:
            status.state.revision = before + 1
        status.version = append.version(run.run_id) + 1
        self._fold.apply(append.append(run.run_id, kind, event, caller), event)
        run.status = status
        self._slots.apply(run.run_id, run.subject, status)
        self._mirror(append, caller, None, run, before, 0)

    def _set_limit(self, append: Append, command: SetLimit) -> v1.SetConcurrencyLimitResponse:
        request = command.request
        if not request.HasField("slots") and self._slots.limit(request.limit) is None:
            raise NotFound(f"limit: no concurrency limit {request.limit!r}.", field="limit", limit=request.limit)
        event = v1.Event()
        changed = event.concurrency_limit_set
        changed.command.CopyFrom(request)
        changed.command.ClearField("request_id")
        if request.HasField("slots"):
            changed.limit.limit, changed.limit.slots = request.limit, request.slots
            changed.limit.on_full = request.on_full or v1.ENQUEUE
        record = self._append(append, command.stream, "concurrency_limit_set", event, command, 0)
        self._slots.set(request.limit, changed.limit if changed.HasField("limit") else None)
        self._serve(append, command.caller, record.revision)
        return answers.limit_set(self._journal_id, record, event)

    def _create(self, append: Append, command: CreateRun) -> object:
        run = self._found(append, command)
        if run is not None:
            if isinstance(run.spec, v1.FlowRunSpec) and run.run_id == command.run_id:
                raise AlreadyExists(
                    f"Flow run {text_of(run.run_id)} exists: make a new id.", flow_run_id=text_of(run.run_id)
                )
            return answers.existing(self._journal_id, append.revision, run, flow_name(append, run.spec, self._known))
        run = imagine(append, command, self._known, self._policy)
        before = append.revision
        record, event = self._append_created(append, command, run)
        self._mirror(append, command.caller, command.request_id, run, before, 1)
        self._serve(append, command.caller, record.revision)
        return answers.created(self._journal_id, record, event)

    def _found(self, append: Append, command: Propose | CreateRun) -> Run | None:
        """The run of a command, by its id or its idempotency key, if it exists."""
        run = self._known.run(append, command.subject, command.run_id)
        spec = command.spec
        if run is None and isinstance(spec, v1.FlowRunSpec) and spec.idempotency_key:
            run = self._known.run_by_key(append, bytes_of(spec.flow_id), spec.idempotency_key)
        return run

    def _append_created(self, append: Append, command: Propose | CreateRun, run: Run) -> tuple[Record, v1.Event]:
        event = v1.Event()
        status = run.status
        status.version = 1
        if status.HasField("state"):
            status.state.revision = append.revision + 1
        spec = run.spec
        if isinstance(spec, v1.FlowRunSpec):
            event.flow_run_created.spec.CopyFrom(spec)
            event.flow_run_created.flow_name = flow_name(append, spec, self._known)
            event.flow_run_created.status.CopyFrom(status)
            record = self._append(append, run.run_id, "flow_run_created", event, command, 0)
            # What is kept must not change with the caller's message.
            run.spec = event.flow_run_created.spec
            if spec.idempotency_key:
                self._known.keep_key(bytes_of(spec.flow_id), spec.idempotency_key, run.run_id)
        else:
            event.task_run_created.spec.CopyFrom(spec)
            event.task_run_created.spec.id = text_of(run.run_id)
            event.task_run_created.status.CopyFrom(status)
            record = self._append(append, run.run_id, "task_run_created", event, command, 0)
            run.spec = event.task_run_created.spec
        self._known.keep(run)
        return record, event

    def _register(self, append: Append, command: RegisterFlow) -> v1.RegisterFlowResponse:
        flow = self._known.flow(append, command.name)
        if flow is None:
            if append.version(command.flow_id):
                raise AlreadyExists(f"The id {text_of(command.flow_id)} belongs to something else.", field="flow_id")
            event = v1.Event(flow_registered=v1.FlowRegistered(flow_id=text_of(command.flow_id), name=command.name))
            record = self._append(append, command.flow_id, "flow_registered", event, command, 0)
            flow = answers.flow(record, event)
            self._known.keep_flow(flow)
        return v1.RegisterFlowResponse(meta=answers.meta(self._journal_id, append.revision), flow=flow)

    def _update(self, append: Append, command: UpdateRun) -> v1.UpdateRunResponse:
        request = command.request
        run = self._known.existing(append, command.subject, command.run_id, str(request.WhichOneof("run")))
        if request.HasField("expected_version"):
            _expect(run, request.expected_version, run.status.version)
        event = v1.Event()
        status = event.run_updated.status
        status.CopyFrom(run.status)
        if request.HasField("name"):
            status.name = request.name
        if request.HasField("tags"):
            del status.tags[:]
            status.tags.extend(request.tags.tags)
            self._slots.follow_tags(run, event.run_updated)
        status.version = append.version(run.run_id) + 1
        event.run_updated.command.CopyFrom(request)
        event.run_updated.command.ClearField("request_id")
        record = self._append(append, run.run_id, "run_updated", event, command, 0)
        run.status = status
        if event.run_updated.waited_for:
            self._slots.look_at(run)
            self._serve(append, command.caller, record.revision)
        return answers.updated(self._journal_id, record, event)

    def _resume(self, append: Append, command: Resume) -> v1.ProposeStateResponse:
        run = self._known.existing(append, Subject.FLOW_RUN, command.run_id, "flow_run_id")
        before = run.status.state
        request = answers.resumption(command, before.details.pause_reschedule)
        propose = Propose(command.request_id, command.caller, request, Subject.FLOW_RUN, run.run_id, None)
        event, head = v1.Event(), append.revision
        if before.type == v1.PAUSED:
            self._decide(append, propose, run, event.state_proposed)
        else:
            reason = "The flow run is not paused."
            refused = event.state_proposed
            refused.command.CopyFrom(request)
            gather(append, propose, run, self._known, self._slots, refused.facts)
            refused.decision, refused.rule, refused.reason = v1.ABORT, RESUME_NEEDS_PAUSE, reason
            refused.rules.add(rule=RESUME_NEEDS_PAUSE, effect=v1.RULE_ABORTED, reason=reason)
            refused.policy_id = self._policy.id
        response = self._append_proposed(append, command, run, event, 0)
        self._mirror(append, command.caller, command.request_id, run, head, 1)
        self._serve(append, command.caller, response.meta.revision)
        return response

    def _change_input(self, append: Append, command: ChangeInput) -> object:
        run = self._known.existing(append, Subject.FLOW_RUN, command.run_id, "flow_run_id")
        event = self._inputs.event(append, command, run)
        record = self._append(append, command.stream, str(event.WhichOneof("what")), event, command, 0)
        return answers.input_changed(self._journal_id, record, event)

    def _renew(self, append: Append, command: RenewLease) -> v1.RenewLeaseResponse:
        kind = "flow run" if command.subject is Subject.FLOW_RUN else "task run"
        run = self._known.existing(append, command.subject, command.run_id, f"{kind.replace(' ', '_')}_id")
        lease = run.status.lease
        if not lease.token or lease.token != command.token:
            raise NotFound(
                f"Lease {command.token} of {kind} {text_of(run.run_id)} is gone: stop working on the run.",
                field="lease_token",
                state=v1.StateType.Name(run.status.state.type),
            )
        append.write(sql.SAVE_LEASE, [(run.run_id, lease.token, append.now + micros_of(lease.ttl))])
        return v1.RenewLeaseResponse(meta=answers.meta(self._journal_id, append.revision), state=run.status.state)

    def _append(
        self, append: Append, stream: bytes, kind: str, event: v1.Event, command: AnyCommand, seq: int
    ) -> Record:
        caller: Caller = command.caller
        if caller.client:
            event.client = caller.client
        if caller.traceparent:
            event.traceparent = caller.traceparent
        record = append.append(stream, kind, event, caller, command.request_id, seq)
        self._fold.apply(record, event)
        return record


def _check_same(run: Run, command: Propose) -> None:
    """Refuse a proposal for a run that is to be created, where its id is another run's.

    A flow run's spec is what was recorded, but for one that is found by its idempotency key. The spec of a task run may
    change from one attempt of its flow run to the next; its keys are those of the run that its id follows from.
    """
    recorded, spec = run.spec, command.spec
    if isinstance(recorded, v1.TaskRunSpec) and isinstance(spec, v1.TaskRunSpec):
        same = (recorded.flow_run_id, recorded.task_key) == (spec.flow_run_id, spec.task_key)
    else:
        same = recorded == spec or run.run_id != command.run_id
    if not same:
        raise AlreadyExists(
            f"Run {text_of(run.run_id)} exists, with another spec: make a new id, or send the run's id alone.",
            id=text_of(run.run_id),
        )


def _check_pause(details: v1.StateDetails, now: int) -> None:
    """Refuse a pause that is over before it begins. Asked here, not when the request arrives: one that is sent again is
    answered as it was, however late it comes.
    """
    if details.HasField("pause_timeout") and micros_of(details.pause_timeout) <= now:
        raise BadRequest("must be later than now", field="state.details.pause_timeout")


def _expect(run: Run, expected: int, actual: int) -> None:
    """Refuse a command made for another version of the run."""
    if expected != actual:
        kind = "Flow run" if run.subject is Subject.FLOW_RUN else "Task run"
        what = f"is at version {actual}, not {expected}: read it, decide again"
        if not actual:
            what = f"does not exist yet, which is version 0, not {expected}"
        raise VersionMismatch(
            f"{kind} {text_of(run.run_id)} {what}.",
            expected=expected,
            actual=actual,
        )
