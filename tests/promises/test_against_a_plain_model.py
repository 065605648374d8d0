"""Journal and decisions against a plain model, step by step: a dict of runs, a list of decisions, and the head.

Two orchestrators have the same database open, as two processes have. A step goes through either; either can be closed
and opened again at any time. The model knows no rule: it takes a decision as it comes, and then holds everything else
to it, which is what is answered, recorded, shown and repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from playhead import v1
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.exceptions import VersionMismatch
from playhead.replay.verify import verify_journal
from tests.clocks import ManualClock
from tests.histories import CALLERS, an_id
from tests.stores import NewStore

FLOW = an_id(1)
RUNS = 4
state_types = st.sampled_from(
    [v1.SCHEDULED, v1.PENDING, v1.RUNNING, v1.RUNNING, v1.COMPLETED, v1.FAILED, v1.CANCELLING]
)
either = st.integers(0, 1)
runs = st.integers(0, RUNS - 1)


@dataclass
class PlainRun:
    """What the model holds of a run."""

    state: v1.State
    version: int


class Machine(RuleBasedStateMachine):
    """The rules. Subclasses say where databases come from."""

    new_store: NewStore

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = self.new_store()
        self.open = [self._open(), self._open()]
        self.runs: dict[str, PlainRun] = {}
        self.decisions: list[tuple[int, str, int]] = []
        self.answered: list[tuple[v1.ProposeStateRequest, v1.ProposeStateResponse]] = []
        self.numbers = iter(range(1_000, 1_000_000))
        register = v1.RegisterFlowRequest(request_id=an_id(2), flow_id=FLOW, name="etl")
        self.open[0].orchestration.register_flow(register, CALLERS[0]).result(60)
        self.head = 2

    def _open(self) -> Orchestrator:
        return Orchestrator.open(self.store, clock=self.clock, timers=False)

    def teardown(self) -> None:
        for orchestrator in self.open:
            orchestrator.close()

    @rule(which=either, run=runs, type=state_types, force=st.booleans())
    def propose(self, which: int, run: int, type: v1.StateType.ValueType, force: bool) -> None:
        """A proposal: it is answered, decided once, and the model takes its word."""
        request = self._request(run, type)
        request.force = force
        self._decided(request, self._send(which, request))

    @rule(which=either, run=runs, type=state_types, off=st.sampled_from([0, 0, 1, 7]))
    def propose_for_a_version(self, which: int, run: int, type: v1.StateType.ValueType, off: int) -> None:
        """A proposal for a version: decided if it is the run's, refused without a trace if it is not."""
        request = self._request(run, type)
        known = self.runs.get(an_id(10 + run))
        request.expected_version = (known.version if known else 0) + off
        if off:
            with pytest.raises(VersionMismatch):
                self._send(which, request)
        else:
            self._decided(request, self._send(which, request))

    @rule(which=either, run=runs, type=state_types)
    def validate(self, which: int, run: int, type: v1.StateType.ValueType) -> None:
        """Asking what would happen leaves no trace, and is what then happens."""
        request = self._request(run, type)
        request.validate_only = True
        said = self._send(which, request)
        assert self.open[which].journal.head()[0] == self.head
        request.validate_only = False
        request.request_id = an_id(next(self.numbers))
        done = self._send(1 - which, request)
        assert (said.decision, said.rule, said.reason, said.state.type) == (
            done.decision,
            done.rule,
            done.reason,
            done.state.type,
        )
        self._decided(request, done)

    @precondition(lambda self: self.answered)
    @rule(which=either, data=st.data())
    def repeat(self, which: int, data: st.DataObject) -> None:
        """An answered request sent again is answered the same, and nothing is appended."""
        request, answer = data.draw(st.sampled_from(self.answered))
        assert self._send(which, request) == answer

    @rule(first=runs, second=runs, type=state_types)
    def propose_through_both_at_once(self, first: int, second: int, type: v1.StateType.ValueType) -> None:
        """Two proposals race: both are decided, one after the other."""
        requests = [self._request(first, type), self._request(second, type)]
        futures = [
            orchestrator.orchestration.propose_state(request, CALLERS[0])
            for orchestrator, request in zip(self.open, requests, strict=True)
        ]
        answers = [future.result(60) for future in futures]
        for request, answer in sorted(zip(requests, answers, strict=True), key=lambda pair: pair[1].meta.revision):
            self._decided(request, answer)

    @rule(which=either)
    def reopen(self, which: int) -> None:
        """Close and open again: nothing was only in memory."""
        self.open[which].close()
        self.open[which] = self._open()

    @rule(micros=st.sampled_from([1, 1_000_000, -5_000_000, 3_600_000_000]))
    def time_passes(self, micros: int) -> None:
        """Time passes, or the clock is set back."""
        self.clock.advance(micros)

    @invariant()
    def both_show_what_the_model_holds(self) -> None:
        """The head, every run and every decision, through either orchestrator."""
        for orchestrator in self.open:
            assert orchestrator.journal.head()[0] == self.head
            listed = orchestrator.runs.list_flow_runs(v1.ListFlowRunsRequest()).flow_runs
            assert {run.spec.id: (run.status.state, run.status.version) for run in listed} == {
                run_id: (run.state, run.version) for run_id, run in self.runs.items()
            }
        assert decisions_of(self.open[0]) == self.decisions

    def _request(self, run: int, type: v1.StateType.ValueType) -> v1.ProposeStateRequest:
        spec = v1.FlowRunSpec(id=an_id(10 + run), flow_id=FLOW, retry=v1.RetryPolicy(retries=1, delays_s=[2]))
        state = v1.State(type=type)
        return v1.ProposeStateRequest(request_id=an_id(next(self.numbers)), create_flow_run=spec, state=state)

    def _send(self, which: int, request: v1.ProposeStateRequest) -> v1.ProposeStateResponse:
        answer: v1.ProposeStateResponse = self.open[which].orchestration.propose_state(request, CALLERS[0]).result(60)
        return answer

    def _decided(self, request: v1.ProposeStateRequest, answer: v1.ProposeStateResponse) -> None:
        run_id = request.create_flow_run.id
        created = run_id not in self.runs
        self.head += 2 if created else 1
        assert answer.meta.revision == self.head
        run = self.runs.setdefault(run_id, PlainRun(v1.State(), 1))
        changed = answer.state != run.state
        if answer.decision == v1.ACCEPT:
            assert answer.state.type == request.state.type
            assert changed
        if answer.decision in (v1.WAIT, v1.ABORT):
            assert not changed
        if changed:
            assert answer.state.revision == self.head
            assert answer.version > run.version
        else:
            assert answer.version == run.version
        run.state, run.version = answer.state, answer.version
        self.decisions.append((answer.meta.revision, run_id, answer.decision))
        self.answered.append((request, answer))


def decisions_of(orchestrator: Orchestrator) -> list[tuple[int, str, int]]:
    """What is on record, in order."""
    found: list[Any] = []
    for run in orchestrator.runs.list_flow_runs(v1.ListFlowRunsRequest()).flow_runs:
        request = v1.ListDecisionsRequest(flow_run_id=run.spec.id, page_size=1_000)
        found += orchestrator.runs.list_decisions(request).decisions
    return sorted((decision.revision, decision.run_id, decision.decision) for decision in found)


def test_any_order_of_steps_agrees_with_the_model(new_store: NewStore) -> None:
    class OnStore(Machine):
        def teardown(self) -> None:
            assert verify_journal(self.open[0].journal).revision == self.head
            super().teardown()

    OnStore.new_store = new_store
    few = new_store.kind == "postgres"
    run_state_machine_as_test(OnStore, settings=settings(max_examples=3 if few else 12, stateful_step_count=25))
