"""What is checked after each step: the promises, against the model and against the events themselves."""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playhead import v1
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.handler import RESUME_NEEDS_PAUSE
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Policy, Subject
from playhead.engine.orchestration.rules.slots import granted, refused
from playhead.exceptions import PlayheadError
from playhead.journal.encoding import bytes_of, text_of, timestamp
from playhead.journal.payload import event_of
from playhead.journal.record import Caller, Record, record_of
from playhead.journal.sql import SELECT_RANGE
from playhead.projector.sql import OPEN
from playhead.replay.rebuild import compare_views
from playhead.replay.verify import verify_journal
from tests.plain_runs import PlainRuns
from tests.promises.test_p7_decisions_are_pure import stamped
from tests.simulation import due, slots
from tests.simulation.broken import hold, same
from tests.simulation.laws import Decided, check_laws
from tests.simulation.model import Model, Run, id_of, spec_of, status_after

PAGE = 1_000

ENDS_WITH = {v1.CANCELLING: v1.CANCELLED, v1.CANCELLED: v1.CANCELLED, v1.CRASHED: v1.CRASHED}
"""A flow run that was stopped: what a task run ends as, at once, that is made in it."""


SHOWN = [
    f"SELECT valid_from, status FROM {table} WHERE run_id = ? AND valid_to = {OPEN}"
    for table in ("flow_run_versions", "task_run_versions")
]
SHOWN_AS_OF = [
    f"SELECT run_id, valid_from, status FROM {table} WHERE valid_from <= ? AND ? < valid_to"
    for table in ("flow_run_versions", "task_run_versions")
]


@dataclass(frozen=True)
class Sent:
    """A request as a client sends it."""

    method: str
    request: Any
    caller: Caller


class Checks:
    """Follows a journal, event by event, and holds it and every answer to what was promised.

    `reader` is a process that has the same database open, and decides nothing.
    """

    def __init__(self, database: str, reader: Orchestrator, policy: Policy) -> None:
        self.model = Model()
        self.records: list[Record] = []
        self._events: dict[int, v1.Event] = {}
        self.answers: dict[str, tuple[Sent, Any]] = {}
        """What was recorded and how it was answered, by request id."""
        self._policy = policy
        # A connection of its own: what is seen here is what is committed.
        self._database = sqlite3.connect(database)
        self._reader = reader
        self._journal_id = reader.journal_id
        self._plain_runs, self._plain_until = PlainRuns(), 0
        self._versions: Counter[bytes] = Counter()
        for records in reader.journal.pages(1, reader.journal.head()[0]):
            for record in records:
                self._take(record)

    def close(self) -> None:
        """Look no more."""
        self._database.close()

    @property
    def head(self) -> int:
        """The last revision that was seen."""
        return len(self.records)

    def now(self, clock_us: int) -> int:
        """The time that is recorded when a server's clock says this one."""
        return max(clock_us, self.records[-1].recorded_at)

    def new(self, clock_us: int) -> deque[Record]:
        """The events that were not seen yet, held to their order (P2)."""
        now = self.now(clock_us)
        records = [record_of(row) for row in self._database.execute(SELECT_RANGE, (self.head + 1, 1 << 62, PAGE))]
        for revision, record in enumerate(records, self.head + 1):
            same(record.revision, revision, "P2: revisions are gapless")
            same(record.recorded_at, now, "P2: what is recorded has the time of its decision, never an earlier one")
        return deque(records)

    def _event(self, record: Record) -> v1.Event:
        """The event of a record, read once."""
        event = self._events.get(record.revision)
        if event is None:
            event = self._events[record.revision] = event_of(record)
        return event

    def answered(self, sent: Sent, outcome: Any, new: deque[Record], now_us: int) -> None:
        """One request was answered, or refused with an error's reason; its events are the first of `new`."""
        request_id = getattr(sent.request, "request_id", "")
        if request_id in self.answers:
            self._again(sent, outcome)
            return
        if sent.method == "propose_states":
            self._batch(sent, outcome, new, now_us)
            return
        refusal = self.model.refusal(sent.method, sent.request, now_us)
        found = outcome.reason if isinstance(outcome, PlayheadError) else None
        if found != refusal:
            is_, should = (v1.Reason.Name(reason) if reason else "an answer" for reason in (found, refusal))
            hold(False, f"the outcome is {is_}, and should be {should}", outcome)
        if refusal is not None:
            return
        caused: list[Record] = []
        while new and (not new[0].request_id or (request_id and new[0].request_id == bytes_of(request_id))):
            caused.append(new.popleft())
            self._take(caused[-1])
        self._served([record for record in caused if not record.request_id])
        asked = [record for record in caused if record.request_id]
        self._of_one_request(sent, asked)
        mine = [record for record in asked if record.stream == asked[0].stream]
        self._mirrored(mine, asked[len(mine) :])
        if caused:
            slots.check_nobody_waits_in_vain(self.model)
        same(outcome.meta.journal_id, self._journal_id, "an answer names the journal")
        getattr(self, f"_{sent.method}", self._proposal)(sent.request, outcome, mine, now_us)
        if mine:
            self.answers[request_id] = (sent, outcome)

    def _again(self, sent: Sent, outcome: Any) -> None:
        first, answer = self.answers[sent.request.request_id]
        if (first.method, first.request) == (sent.method, sent.request):
            same(outcome, answer, "P4: the same request has the same answer")
        else:
            reused = isinstance(outcome, PlayheadError) and outcome.reason == v1.REQUEST_ID_REUSED
            hold(reused, "P4: a request id belongs to one command", sent.request, outcome)

    def _batch(self, sent: Sent, outcome: v1.ProposeStatesResponse, new: deque[Record], now_us: int) -> None:
        same(len(outcome.answers), len(sent.request.items), "a batch has an answer for each item")
        for item, answer in zip(sent.request.items, outcome.answers, strict=True):
            same(answer.correlation_id, item.correlation_id, "answers come in the order of their items")
            one: Any = answer.response
            if answer.HasField("error"):
                one = PlayheadError(answer.error.message)
                one.reason = answer.error.code
            self.answered(Sent("propose_state", item.request, sent.caller), one, new, now_us)

    def _of_one_request(self, sent: Sent, mine: list[Record]) -> None:
        same([record.request_seq for record in mine], list(range(len(mine))), "P4: a request's events are numbered")
        for record in mine:
            same(record.actor, sent.caller.actor, "P1: the actor is on record")
            same(self._event(record).client, sent.caller.client, "P1: the client is on record")

    def _served(self, served: list[Record]) -> None:
        """Nobody asked for these: runs that waited were given slots, or refused, and each new state was mirrored."""
        while served:
            one = served.pop(0)
            hold(one.kind in ("slots_granted", "slots_refused"), "nothing is recorded but what was asked for", one)
            self._mirrored([one], [served.pop(0)] if served and served[0].kind == "state_proposed" else [])

    def _mirrored(self, mine: list[Record], others: list[Record]) -> None:
        """What a subflow run has come to is told to the task run that tracks it, and nothing else to anybody."""
        run = self.model.runs.get(text_of(mine[0].stream)) if mine else None
        changed = run is not None and run.status.state.revision >= mine[0].revision
        tracked = isinstance(run.spec, v1.FlowRunSpec) and run.spec.parent_task_run_id if run and changed else ""
        same([text_of(record.stream) for record in others], [tracked] if tracked else [], "a subflow is mirrored")
        if run is not None and tracked:
            mirror = self._event(others[0]).state_proposed
            same(mirror.mirrors, run.status.state.revision, "a mirror names what it mirrors")
            state, of = mirror.command.state, run.status.state
            told = (state.type, state.name, state.message, state.result, state.details.child_flow_run_id)
            same(told, (of.type, of.name, of.message, of.result, run.id), "a mirror shows the subflow run's state")

    # The answers, by method.

    def _proposal(self, request: Any, answer: v1.ProposeStateResponse, mine: list[Record], now_us: int) -> None:
        if getattr(request, "validate_only", False):
            same((answer.meta.revision, mine), (self.head, []), "what is only validated leaves no trace")
            return
        decisions = [record for record in mine if record.kind == "state_proposed"]
        same(len(decisions), 1, "P1: a proposal leaves one decision")
        decided = self._event(decisions[0]).state_proposed
        spec = spec_of(request)
        asked = id_of(spec) if spec else getattr(request, "flow_run_id", "") or request.task_run_id
        found = self.model.found(spec).id if spec and self.model.found(spec) else asked  # type: ignore[union-attr] # just found
        same(text_of(decisions[0].stream), found, "P1: the decision is about the run that was asked about")
        same(len(mine) - 1, int(mine[0].kind.endswith("_created")), "P1: nothing else is recorded with it")
        status = decided.status if decided.HasField("status") else decided.facts.status
        expected = v1.ProposeStateResponse(
            decision=decided.decision,
            reason=decided.reason,
            rule=decided.rule,
            rules=decided.rules,
            policy_id=self._policy.id,
            version=status.version,
            run_id=text_of(decisions[0].stream),
            lease_token=mine[-1].revision if status.lease.token == mine[-1].revision else 0,
            run_count=status.run_count,
            run_name=status.name,
            waits_for_slots=status.HasField("slot_wait"),
        )
        expected.meta.journal_id, expected.meta.revision = self._journal_id, decisions[0].revision
        if status.HasField("state"):
            expected.state.CopyFrom(status.state)
        if decided.HasField("delay"):
            expected.delay.CopyFrom(decided.delay)
        same(answer, expected, "the answer says what is on record")

    def _create_flow_run(self, request: Any, answer: v1.CreateFlowRunResponse, mine: list[Record], now_us: int) -> None:
        run = self.model.found(request.spec)
        assert run is not None
        revision = mine[0].revision if mine else self.head
        same((answer.created, answer.meta.revision), (bool(mine), revision), "created, or found")
        same((answer.flow_run.spec, answer.flow_run.status), (run.spec, run.status), "the run as it is")

    def _create_task_run(self, request: Any, answer: v1.CreateTaskRunResponse, mine: list[Record], now_us: int) -> None:
        run = self.model.found(request.spec)
        assert run is not None
        same((answer.created, answer.meta.revision), (bool(mine), self.head), "created, or found")
        same((answer.task_run.spec, answer.task_run.status), (run.spec, run.status), "the run as it is")

    def _register_flow(self, request: Any, answer: v1.RegisterFlowResponse, mine: list[Record], now_us: int) -> None:
        flow_id = self.model.flows[request.name]
        record = next(one for one in self.records if one.stream == bytes_of(flow_id))
        flow = v1.Flow(id=flow_id, name=request.name, created_revision=record.revision)
        flow.created.CopyFrom(timestamp(record.recorded_at))
        same(answer.flow, flow, "the flow as it was registered")
        same(answer.meta.revision, self.head, "every answer has the revision that it reflects")

    def _update_run(self, request: Any, answer: v1.UpdateRunResponse, mine: list[Record], now_us: int) -> None:
        same(len(mine), 1, "an update is one event")
        run = self.model.runs[request.flow_run_id or request.task_run_id]
        changed = self._event(mine[0]).run_updated.status
        same((answer.status, answer.meta.revision), (changed, mine[0].revision), "the run as it is")
        hold(run.status.version >= changed.version, "what follows an update comes after it")

    def _set_concurrency_limit(
        self, request: Any, answer: v1.SetConcurrencyLimitResponse, mine: list[Record], now_us: int
    ) -> None:
        same((len(mine), answer.meta.revision), (1, mine[-1].revision), "a limit that is set is one event")
        limit = v1.ConcurrencyLimit(limit=request.limit, slots=request.slots, on_full=request.on_full or v1.ENQUEUE)
        same(answer.limit, limit if request.HasField("slots") else v1.ConcurrencyLimit(), "the limit as it is")

    def _renew_lease(self, request: Any, answer: v1.RenewLeaseResponse, mine: list[Record], now_us: int) -> None:
        run_id = request.flow_run_id or request.task_run_id
        self.model.renewed(run_id, now_us)
        run = self.model.runs[run_id]
        same((answer.state, answer.meta.revision), (run.status.state, self.head), "the run as it is")

    def rehearsed(self, said: Any, done: Any) -> None:
        """What `validate_only` said is what the proposal then did."""
        if isinstance(said, PlayheadError) or isinstance(done, PlayheadError):
            same(type(said), type(done), "P7: validate_only says what happens")
            return
        said_of, done_of = (
            (one.decision, one.rule, one.reason, list(one.rules), one.run_id, one.state.type, one.state.name)
            for one in (said, done)
        )
        same(said_of, done_of, "P7: validate_only says what happens")

    # The events.

    def ticked(self, new: deque[Record], clock_us: int) -> None:
        """A server looked for what is due: what it found is proposed like anything else, and had a cause."""
        changed = bool(new)
        while new:
            record = new.popleft()
            proposed = self._event(record).state_proposed
            if record.kind == "state_proposed" and not proposed.mirrors:
                due.check_cause(self.model, self.model.runs[text_of(record.stream)], proposed, record.recorded_at)
            self._take(record)
        left = [run.id for run in self.model.runs.values() if due.lapsed(run, clock_us)]
        same(left, [], "a lapsed lease is given up")
        if changed:
            slots.check_nobody_waits_in_vain(self.model)

    def at_rest(self, clock_us: int) -> None:
        """Nobody asks for anything, and the servers have found all that is due: nothing is left that should be."""
        due.check_at_rest(self.model, clock_us)

    def settled(self, new: deque[Record], since: int) -> None:
        """Nothing is on record that nobody asked for, and the views show what became of the runs (P5, P6)."""
        hold(not new, "nothing is recorded but what was asked for", *(self._event(record) for record in new))
        for run_id in {record.stream for record in self.records[since:]}:
            run = self.model.runs.get(text_of(run_id))
            if run is not None:
                rows = self._database.execute(SHOWN[run.is_task], (run_id,)).fetchall()
                shown = [(revision, v1.RunStatus.FromString(status)) for revision, status in rows]
                same(shown, run.history[-1:], "P6: a run, as the view shows it now")

    def _take(self, record: Record) -> None:
        event = self._event(record)
        same(record.stream_version, self._versions[record.stream] + 1, "P2: a stream is gapless")
        self._versions[record.stream] += 1
        if record.kind == "state_proposed":
            self._decision(record, event.state_proposed)
        elif record.kind == "slots_granted":
            self._serve(record, event.slots_granted, event.slots_granted.freed_by, granted)
            slots.check_granted(event.slots_granted.status, record.recorded_at)
        elif record.kind == "slots_refused":
            self._serve(record, event.slots_refused, event.slots_refused.set_by, refused)
        elif record.kind == "run_updated":
            self._update(record, event.run_updated)
        elif record.kind in ("flow_run_created", "task_run_created"):
            self._creation(record, event)
        self.records.append(record)
        self.model.add(record, event)

    def _decision(self, record: Record, proposed: v1.StateProposed) -> None:
        run, policy_id = self.model.runs[text_of(record.stream)], self._policy.id
        same((proposed.policy_id, proposed.command.request_id), (policy_id, ""), "P1: the policy is on record")
        hold(proposed.decision and proposed.command.state.type, "P1: what was proposed and decided is on record")
        reasoned = proposed.rule and proposed.reason and proposed.rule in [one.rule for one in proposed.rules]
        hold(proposed.decision == v1.ACCEPT or reasoned, "P1: who refused, and why, is on record", proposed)
        same(proposed.command.WhichOneof("run"), "task_run_id" if run.is_task else "flow_run_id", "P1: the run's kind")
        self.model.check_facts(record, proposed)
        self._decide_again(record, proposed)
        check_laws(Decided(self.model, run, proposed, record.revision, record.recorded_at))
        told = slots.limit_facts(self.model, run, proposed.command.state)
        same(list(proposed.facts.limits), told, "P7: the limits, as the decision was told")
        slots.check_running(run, proposed, told)
        if proposed.HasField("status"):
            slots.check_taking(self.model, run, proposed.status)
            slots.check_claimed(proposed.status)
            parent = self.model.runs[run.parent_id] if run.parent_id else None
            same(proposed.status, status_after(run, record, proposed, parent), "what is kept about the run")

    def _decide_again(self, record: Record, proposed: v1.StateProposed) -> None:
        if proposed.rule == RESUME_NEEDS_PAUSE:
            hold(proposed.facts.status.state.type != v1.PAUSED, "only what is not paused can not be resumed")
            return
        subject = Subject.TASK_RUN if proposed.command.WhichOneof("run") == "task_run_id" else Subject.FLOW_RUN
        again = decide(subject, proposed.facts, proposed.command, self._policy)
        same(stamped(again, record, proposed), proposed, "P7: decided again, the decision is the same")

    def _serve(
        self,
        record: Record,
        served: v1.SlotsGranted | v1.SlotsRefused,
        cause: int,
        serve: Callable[[v1.Facts], v1.RunStatus | None],
    ) -> None:
        run = self.model.runs[text_of(record.stream)]
        told = (served.policy_id, served.facts.status)
        same(told, (self._policy.id, run.status), "P7: what a grant was told of the run")
        limits = slots.described(self.model, run, slots.waits_for(run))
        same(list(served.facts.limits), limits, "P7: the limits, as a grant was told")
        asked = (one for one in reversed(self.records) if one.request_id)
        freed = next(one for one in asked if not self._event(one).state_proposed.mirrors)
        same(cause, freed.revision, "P1: what freed the slots, or set the limit, is on record")
        slots.check_taking(self.model, run, served.status)
        again = serve(served.facts)
        assert again is not None
        again.version = record.stream_version
        if again.HasField("state") and not again.state.revision:
            again.state.revision = record.revision
        same(served.status, again, "P7: served again, the outcome is the same")

    def _update(self, record: Record, updated: v1.RunUpdated) -> None:
        command, status = updated.command, v1.RunStatus()
        status.CopyFrom(self.model.runs[text_of(record.stream)].status)
        status.version = record.stream_version
        if command.HasField("name"):
            status.name = command.name
        if command.HasField("tags"):
            status.ClearField("tags")
            status.tags.extend(command.tags.tags)
        run = Run(text_of(record.stream), self.model.runs[text_of(record.stream)].spec, [(record.revision, status)])
        waits = slots.waits_for(run)
        if waits and command.HasField("tags"):
            needs = slots.needed(self.model, run)
            del status.slot_wait.slots[:]
            status.slot_wait.slots.extend(v1.HeldSlots(limit=key, count=needs[key]) for key in needs)
        told = waits if waits != slots.waits_for(run) else {}
        same({held.limit: held.count for held in updated.waited_for}, told, "an update says what was waited for")
        same(updated.status, status, "an update changes what it says, and nothing else")

    def _creation(self, record: Record, event: v1.Event) -> None:
        created = event.flow_run_created if record.kind == "flow_run_created" else event.task_run_created
        spec, status = created.spec, created.status
        same((spec.id, status.version), (text_of(record.stream), 1), "a run is created once")
        same(list(status.tags), list(spec.tags), "a run begins with the tags of its spec")
        hold(status.name and status.name == (spec.name or status.name), "a run begins with a name")
        parent = self.model.runs.get(spec.flow_run_id) if isinstance(spec, v1.TaskRunSpec) else None
        ended = ENDS_WITH.get(parent.status.state.type) if parent is not None else None
        same((status.run_count, status.state.type), (0, ended or spec.state.type), "a run begins as its spec says")
        stated = ended or spec.HasField("state")
        same(status.state.revision, record.revision if stated else 0, "a state is known by its event")

    # The views.

    def as_of(self, revision: int) -> None:
        """P5, P6: every run in the views, as of a revision, is as it was."""
        for is_task in (False, True):
            rows = self._database.execute(SHOWN_AS_OF[is_task], (revision, revision))
            shown = {run_id: (since, v1.RunStatus.FromString(status)) for run_id, since, status in rows}
            runs = [run for run in self.model.runs.values() if run.is_task is is_task]
            then = {bytes_of(run.id): was for run in runs if (was := run.as_of(revision))}
            same(shown, then, f"P6: the runs as of revision {revision}")

    def reads_now(self) -> None:
        """P5: what is listed now is a fold of the events."""
        self._reads(v1.ReadAt(), self._plain())

    def _plain(self) -> PlainRuns:
        """The runs as all events so far say that they are listed."""
        for record in self.records[self._plain_until :]:
            self._plain_runs.add(record, self._event(record))
        self._plain_until = self.head
        return self._plain_runs

    def reads_as_of(self, revision: int) -> None:
        """P5: what is listed as of a revision is a fold of the events up to it; decisions and states of runs too."""
        at, plain = v1.ReadAt(revision=revision), PlainRuns()
        for record in self.records[:revision]:
            plain.add(record, self._event(record))
        self._reads(at, plain)
        runs = self._reader.runs
        for run_id in plain.flow_runs:
            decided = runs.list_decisions(v1.ListDecisionsRequest(flow_run_id=run_id, read_at=at, page_size=PAGE))
            same([one.revision for one in decided.decisions], plain.decisions.get(run_id, []), "P1: decisions listed")
            states = runs.list_states(v1.ListStatesRequest(flow_run_id=run_id, read_at=at, page_size=PAGE)).states
            same(list(states), plain.states.get(run_id, []), "P5: states listed")

    def _reads(self, at: v1.ReadAt, plain: PlainRuns) -> None:
        runs = self._reader.runs
        flow_runs = runs.list_flow_runs(v1.ListFlowRunsRequest(read_at=at, page_size=PAGE))
        same(list(flow_runs.flow_runs), list(plain.flow_runs.values())[::-1], "P5: flow runs listed")
        task_runs = runs.list_task_runs(v1.ListTaskRunsRequest(read_at=at, page_size=PAGE))
        same(list(task_runs.task_runs), list(plain.task_runs.values())[::-1], "P5: task runs listed")
        same(task_runs.meta.revision, at.revision or self.head, "every answer has the revision that it reflects")

    def whole(self) -> None:
        """P8: the journal proves itself."""
        same(verify_journal(self._reader.journal).revision, self.head, "P8: the journal is whole")

    def rebuilt(self, revision: int) -> None:
        """P6: views made anew, as of any revision, are the live ones."""
        same(compare_views(self._reader.journal, revision).differences, [], "P6: rebuilt views are the live ones")
