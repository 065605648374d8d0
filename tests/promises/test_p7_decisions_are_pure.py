"""P7: decisions are pure. Every decision on record, made again of its facts and its command alone, is the same."""

from __future__ import annotations

import datetime
import time
from dataclasses import replace

import pytest

from examples.business_hours import BusinessHours
from playhead import v1
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.handler import RESUME_NEEDS_PAUSE
from playhead.engine.orchestration.policy import Policy, Subject, core_policy
from playhead.engine.orchestration.rules import effects
from playhead.engine.orchestration.rules.effects import Effect
from playhead.engine.orchestration.rules.rule import Rule
from playhead.journal.record import Record
from tests.histories import FLOW_RUNS, TASK_RUNS, Life, over_histories
from tests.stores import NewStore


class ReplacesFailures(Rule):
    """any -> FAILED: every other time it is CRASHED."""

    to_states = frozenset({v1.FAILED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if facts.status.run_count % 2 == 0:
            return None
        return effects.replace(v1.State(type=v1.CRASHED, message=proposed.message), "an odd one")


class TagsRuns(Rule):
    """any -> RUNNING: tagged with the second of the recorded clock."""

    to_states = frozenset({v1.RUNNING})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return effects.record("tagged")

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.tags.append(f"at-{facts.now.seconds % 60}")


class LooksAtTheClock(Rule):
    """any -> COMPLETED with a result of an even length: what no rule may do."""

    to_states = frozenset({v1.COMPLETED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return None if len(proposed.result.inline) % 2 else effects.reject(f"It is {time.time()}.")


def policy_of_a_users() -> Policy:
    """Rules of a user's own around Playhead's. Histories begin ten seconds before its doors close."""
    core = core_policy()
    hours = BusinessHours("America/Los_Angeles", datetime.time(9), datetime.time(14, 13, 30))
    return replace(
        core,
        core_flow=(hours, *core.core_flow, TagsRuns(), LooksAtTheClock()),
        core_task=(TagsRuns(), ReplacesFailures(), *core.core_task, LooksAtTheClock()),
        task_bookkeeping=(*core.task_bookkeeping, TagsRuns()),
    )


def test_p7_every_recorded_decision_is_made_again_the_same(new_store: NewStore) -> None:
    over_histories(new_store, lambda life: check_every_decision(life, core_policy()))


def test_p7_so_is_every_decision_of_a_users_policy(new_store: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_POLICY", f"{__name__}:policy_of_a_users")
    over_histories(new_store, lambda life: check_every_decision(life, policy_of_a_users()))


def test_p7_a_users_rules_decide_and_are_made_again(new_store: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_POLICY", f"{__name__}:policy_of_a_users")
    with Life(new_store()) as life:
        ended = v1.State(type=v1.COMPLETED, result=v1.Result(inline=b"42"))
        propose(life, ended, create_flow_run=FLOW_RUNS[0])
        for state_type in (v1.RUNNING, v1.FAILED):
            propose(life, v1.State(type=state_type), create_task_run=TASK_RUNS[3])
        life.clock.advance(60 * 1_000_000)
        propose(life, v1.State(type=v1.RUNNING), create_flow_run=FLOW_RUNS[1])
        decided_by = check_every_decision(life, policy_of_a_users())
    assert decided_by == {"", "LooksAtTheClock", "ReplacesFailures", "BusinessHours"}


def propose(life: Life, state: v1.State, **run: object) -> None:
    """Propose a state, and wait for the answer."""
    life.send("propose_state", v1.ProposeStateRequest(state=state, **run), life.sent[0][2])  # type: ignore[arg-type]
    life.settle()


def check_every_decision(life: Life, policy: Policy) -> set[str]:
    """Decide again, under a policy made anew, with nothing but what is in the event. Returns the rules that decided."""
    decided_by: set[str] = set()
    for record in life.records():
        event = v1.Event.FromString(record.payload or b"")
        if event.HasField("state_proposed"):
            assert event.state_proposed.policy_id == policy.id
            if event.state_proposed.rule != RESUME_NEEDS_PAUSE:
                compare(record, event.state_proposed, decided_again(event.state_proposed, policy))
            decided_by.add(event.state_proposed.rule)
    return decided_by


def decided_again(on_record: v1.StateProposed, policy: Policy) -> v1.StateProposed:
    """The decision of the facts and the command on record."""
    is_task = on_record.command.WhichOneof("run") == "task_run_id"
    subject = Subject.TASK_RUN if is_task else Subject.FLOW_RUN
    return decide(subject, on_record.facts, on_record.command, policy)


def compare(record: Record, on_record: v1.StateProposed, again: v1.StateProposed) -> None:
    """The same, once stamped."""
    assert stamped(again, record, on_record) == on_record


def stamped(again: v1.StateProposed, record: Record, on_record: v1.StateProposed) -> v1.StateProposed:
    """A decision made again, with what only the journal can know: its revision, and what follows from it."""
    if again.HasField("status"):
        again.status.version = record.stream_version
        if again.decision != v1.WAIT:
            again.status.state.revision = record.revision
        if again.status.HasField("slot_wait") and not again.status.slot_wait.since:
            again.status.slot_wait.since = record.revision
        if again.status.HasField("lease") and not again.status.lease.token:
            again.status.lease.token, again.status.lease.holder = record.revision, record.actor
    again.command.CopyFrom(on_record.command)
    again.mirrors = on_record.mirrors
    again.facts.CopyFrom(on_record.facts)
    return again


def test_p7_validating_a_proposal_says_what_proposing_it_then_does(new_store: NewStore) -> None:
    def check(life: Life) -> None:
        requests = [
            request
            for method, request, _, _ in life.sent
            if method == "propose_state" and not request.HasField("expected_version")
        ]
        for request in requests[-8:]:
            head = life.head()
            request.request_id, request.validate_only = "", True
            life.send("propose_state", request, life.sent[0][2])
            life.settle()
            said = life.sent[-1][3]
            assert life.head() == head
            real = v1.ProposeStateRequest()
            real.CopyFrom(request)
            real.request_id, real.validate_only = "", False
            life.send("propose_state", real, life.sent[0][2])
            life.settle()
            done = life.sent[-1][3]
            if isinstance(done, v1.ProposeStateResponse):
                assert isinstance(said, v1.ProposeStateResponse)
                assert (said.decision, said.rule, said.reason) == (done.decision, done.rule, done.reason)
                assert (said.rules, said.run_id, said.policy_id) == (done.rules, done.run_id, done.policy_id)
                assert (said.state.type, said.state.name) == (done.state.type, done.state.name)
            else:
                assert type(said) is type(done)

    over_histories(new_store, check, examples=10 if new_store.kind == "sqlite" else 3)
