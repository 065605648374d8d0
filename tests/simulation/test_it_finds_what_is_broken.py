"""The simulation can fail: each of these defects is found within a few seeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from playhead import v1
from playhead.engine.orchestration import answers, json_schema, timers
from playhead.engine.orchestration.handler import Orchestrating
from playhead.engine.orchestration.known import Known
from playhead.engine.orchestration.policy import Policy, core_policy
from playhead.engine.orchestration.rules import bookkeeping, slots
from playhead.engine.orchestration.rules.rule import Rule
from playhead.engine.orchestration.timers import Timers
from playhead.journal.writer import Writer
from playhead.projector.fold import FOLDINGS
from tests.simulation.conftest import Simulate
from tests.simulation.world import LONG_EVERY, SimulationFailed

SEEDS_MAX = 400
"""Within so many seeds a defect is found; most in the first ten."""


RARE_FROM = 250
"""Where to begin to look for a defect that one seed in some hundreds shows."""


def found(simulate: Simulate, policy: Policy, first: int = 0) -> str:
    """What the simulation says of the first seed, from one on, that shows the defect."""
    for seed in range(first, first + SEEDS_MAX):
        if seed % LONG_EVERY != LONG_EVERY - 1:
            try:
                simulate(seed, policy)
            except SimulationFailed as failed:
                return str(failed)
    raise AssertionError(f"{SEEDS_MAX} seeds did not find it")


def without(rule: str) -> Policy:
    """The core policy without a rule."""
    core = core_policy()

    def kept(rules: Iterable[Rule]) -> tuple[Rule, ...]:
        return tuple(one for one in rules if one.name != rule)

    return Policy(
        core_flow=kept(core.core_flow),
        core_task=kept(core.core_task),
        minimal_flow=kept(core.minimal_flow),
        minimal_task=kept(core.minimal_task),
        flow_bookkeeping=kept(core.flow_bookkeeping),
        task_bookkeeping=kept(core.task_bookkeeping),
    )


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("FenceLateReports", "a late report changes nothing"),
        ("OnlyLapsedLeases", "a lease is given up only when it has lapsed"),
        ("WaitForLiveLease", "a run has one holder"),
        ("EnforceCancellingToCancelledTransition", "nothing leaves CANCELLING but to CANCELLED"),
        ("BypassCancellingFlowRunsWithNoInfra", "what nobody runs is cancelled at once"),
        ("HandleFlowTerminalStateTransitions", ""),
        ("HandleTaskTerminalStateTransitions", ""),
        ("PreventRunningTasksFromStoppedFlows", "no task run starts in a flow run that does not run"),
        ("PreventPendingTransitions", ""),
        ("HandlePausingFlows", ""),
        ("HandleResumingPausedFlows", ""),
        ("ValidateRunInput", "input"),
        ("WaitForScheduledTime", "nothing runs before it is due"),
        ("RetryFailedFlows", "what failed is tried again while a retry is left"),
        ("RetryFailedTasks", "what failed is tried again while a retry is left"),
        ("RetryCrashedTasks", "what failed is tried again while a retry is left"),
        ("CacheRetrieval", "what is cached is found, and nothing else"),
        ("EnsureOnlyScheduledFlowsMarkedLate", "late"),
        ("SetEndTime", "end_time"),
        ("ClearEndTime", "end_time"),
        ("CountTaskRuns", "run_count"),
        ("EndLease", "lease"),
        ("GrantLease", "lease"),
        ("StartResuming", "resuming"),
    ],
)
def test_a_policy_that_lacks_a_rule(simulate: Simulate, rule: str, broken: str) -> None:
    assert broken in found(simulate, without(rule))


class CountsWhatItRemembers(bookkeeping.CountTaskRuns):
    """A rule that is not pure: it counts on what it remembers."""

    def __init__(self) -> None:
        self._calls = itertools.count(1)

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.run_count = next(self._calls)


def test_a_rule_that_remembers(simulate: Simulate) -> None:
    core = core_policy()
    rules = tuple(rule for rule in core.task_bookkeeping if rule.name != "CountTaskRuns")
    told = found(simulate, replace(core, task_bookkeeping=(*rules, CountsWhatItRemembers())))
    assert "P7: decided again, the decision is the same" in told


def nothing(*_: object) -> Any:
    """What a method does that was forgotten."""


def no_rows(*_: object) -> Iterator[Any]:
    """What a look finds that does not look."""
    return iter(())


def refused_as_accepted(decided: Callable[[v1.StateProposed], Any]) -> Callable[[v1.StateProposed], Any]:
    """Answers that do not say who decided."""

    def answer(event: v1.StateProposed) -> Any:
        response = decided(event)
        response.ClearField("rule")
        return response

    return answer


@pytest.mark.parametrize(
    ("where", "method", "instead", "broken"),
    [
        (Writer, "_recorded", lambda *_: {}, ""),
        (Orchestrating, "catch_up", nothing, ""),
        (Known, "written", nothing, "P7: the cache"),
        (answers, "_decided", refused_as_accepted(answers._decided), "the answer says what is on record"),
        (Orchestrating, "_mirror", nothing, "a subflow is mirrored"),
        (Timers, "_due_flow_runs", no_rows, "what is overdue is decided"),
        (Timers, "_due_task_runs", no_rows, "slots that nobody claims are given on"),
        (Timers, "_left", no_rows, "what a stopped flow run leaves is ended"),
        (timers, "_left_subflow_run", nothing, "what a stopped flow run leaves is ended"),
        (slots, "CLAIM_S", 60, "for a while"),
        (json_schema, "failures", lambda *_: [], "a run goes on with the input that was asked for, and with no other"),
        (json_schema, "failures", lambda *_: ["run_input: no"], "what fits is not refused for what it is"),
    ],
    ids=[
        "request ids",
        "others' events",
        "what is in the tables",
        "who decided",
        "those who call subflows",
        "flow runs that are due",
        "slots that are not claimed",
        "what was left over",
        "subflows of what was stopped",
        "how long a grant lasts",
        "what does not fit",
        "what fits",
    ],
)
def test_a_program_that_forgets(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch, where: Any, method: str, instead: Any, broken: str
) -> None:
    monkeypatch.setattr(where, method, instead)
    assert broken in found(simulate, core_policy(), RARE_FROM if where is Known else 0)


def test_a_view_that_does_not_follow(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FOLDINGS, "run_updated", nothing)
    assert "P6: a run, as the view shows it now" in found(simulate, core_policy())
