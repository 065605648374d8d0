"""Cases: a row, a column and one choice of every circumstance that applies to them; and what `decide` answers.

docs/generate_transitions.py folds the answers of all cases into docs/transitions.md, and test_transition_tables.py asks
the same cases through the public API.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from playhead import v1
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.policy import Policy, Subject
from tests.orchestration.circumstances import (
    CACHED_KEY,
    CIRCUMSTANCES,
    COLUMNS,
    LIMITS,
    ROWS,
    START_S,
    TOKEN,
    Choice,
    Run,
)
from tests.orchestration.given import FLOW, POLICY, STORED, TASK, at, state


@dataclass(frozen=True)
class Case:
    """A row, a column, and a choice of every circumstance."""

    subject: Subject
    row: str
    column: str
    choices: tuple[Choice, ...]
    force: bool

    def run(self) -> Run:
        """The run before the proposal."""
        made = ROWS[self.subject][self.row]()
        for choice in self.choices:
            if choice.run is not None:
                choice.run(made)
        return made

    def run_key(self) -> tuple[object, ...]:
        """Equal for cases whose runs are."""
        return self.subject, self.row, tuple(choice for choice in self.choices if choice.run is not None)

    def proposal(self) -> v1.ProposeStateRequest:
        """The proposal, without a request id and without the run."""
        request = v1.ProposeStateRequest(force=self.force)
        request.state.CopyFrom(COLUMNS[self.subject][self.column])
        for choice in self.choices:
            if choice.proposal is not None:
                choice.proposal(request)
        return request


@dataclass(frozen=True)
class Answer:
    """What was answered: all that a client sees of it, but for texts and revisions."""

    decision: v1.Decision.ValueType
    rule: str
    rules: tuple[tuple[str, v1.RuleEffect.ValueType], ...]
    delay_s: int
    type: v1.StateType.ValueType
    """The run's state afterwards, and its name."""
    name: str
    run_count: int

    @property
    def moved(self) -> bool:
        """Whether a refused run was moved to another state."""
        return (self.rule, v1.RULE_REPLACED) in self.rules


def cases(subject: Subject, force: bool) -> Iterator[Case]:
    """The whole cross product."""
    for row, column in itertools.product(ROWS[subject], COLUMNS[subject]):
        for choices in itertools.product(*(one.chosen(row, column) for one in CIRCUMSTANCES[subject])):
            yield Case(subject, row, column, choices, force)


def answer(case: Case, facts: v1.Facts, policy: Policy = POLICY) -> Answer:
    """What `decide` answers, given `facts_of(case.run())`."""
    command = case.proposal()
    told = v1.Facts()
    told.CopyFrom(facts)
    if command.lease_token == TOKEN:
        command.lease_token = facts.status.lease.token
    details = command.state.details
    if case.subject is TASK and command.state.type == v1.RUNNING and details.cache_key == CACHED_KEY:
        told.cache_entry.state.CopyFrom(state(v1.COMPLETED, "Completed", result=STORED))
    made = decide(case.subject, told, command, policy)
    after = made.status if made.HasField("status") else facts.status
    return Answer(
        made.decision,
        made.rule,
        tuple((outcome.rule, outcome.effect) for outcome in made.rules),
        made.delay.seconds,
        after.state.type,
        after.state.name,
        after.run_count,
    )


def facts_of(run: Run, policy: Policy = POLICY) -> v1.Facts:
    """What the rules are told of a run, made by deciding its steps one after another."""
    facts = _facts(run, v1.RunStatus(), v1.RunStatus(), START_S)
    flow_run = v1.RunStatus()
    for step in run.steps:
        before = flow_run if step.of_flow_run else facts.status
        told = _facts(run, before, flow_run, START_S)
        made = decide(FLOW if step.of_flow_run else run.subject, told, step.request, policy)
        assert made.HasField("status"), f"{step.request} was refused: {made.reason}"
        before.CopyFrom(made.status)
        if before.HasField("lease") and not before.lease.token:
            before.lease.token = TOKEN
    facts = _facts(run, facts.status, flow_run, 0)
    if facts.status.HasField("lease"):
        facts.lease_expires.CopyFrom(at(START_S + facts.status.lease.ttl.seconds))
    return facts


def _facts(run: Run, status: v1.RunStatus, flow_run: v1.RunStatus, now_s: int) -> v1.Facts:
    facts = v1.Facts(now=at(now_s), status=status)
    facts.retry.retries, facts.retry.on_crash = run.retries, run.on_crash
    if run.limit:
        limit = LIMITS[run.limit]
        held = 1 if limit.slots == 1 else 0
        facts.limits.add(limit=limit.limit, slots=limit.slots, held=held, needed=1, on_full=limit.on_full)
    if run.subject is FLOW:
        facts.has_deployment, facts.is_subflow = run.deployment, run.subflow
    elif run.in_flow_run:
        facts.flow_run.state_type, facts.flow_run.run_count = flow_run.state.type, flow_run.run_count
        facts.flow_run.lease_token = flow_run.lease.token
    return facts
