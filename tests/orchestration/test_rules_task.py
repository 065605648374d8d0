"""The rules of task runs, one by one: when they speak, what they say, and when they keep silent."""

from __future__ import annotations

import pytest

from playhead import v1
from tests.orchestration.given import STORED, TASK, at, decided, facts, inside, short, spoke, state

STOPPED_RULE = "PreventRunningTasksFromStoppedFlows"
TERMINAL_RULE = "HandleTaskTerminalStateTransitions"


def cached(run: v1.Facts) -> v1.Facts:
    """The same run, with an entry in the cache for the key that is proposed."""
    entry = state(v1.COMPLETED, "Completed", message="done", result=STORED, cache_key="k", cache_expiration=at(60))
    entry.revision = 3
    entry.timestamp.CopyFrom(at(-1000))
    run.cache_entry.MergeFrom(v1.CacheEntry(state=entry, task_run_id="t1"))
    return run


def test_a_cached_result_answers_before_anything_else() -> None:
    """Even a run that is not due, of a flow run that is paused, is answered from the cache."""
    run = inside(cached(facts(state(v1.SCHEDULED, scheduled_time=at(60)))), v1.PAUSED)
    answer = decided(TASK, run, state(v1.RUNNING, cache_key="k"))
    assert (short(answer), answer.rule) == ("R>Cached", "CacheRetrieval")
    result = answer.status.state
    assert (result.type, result.message, result.result) == (v1.COMPLETED, "done", STORED)
    assert result.details == v1.StateDetails(cache_key="k", cache_expiration=at(60))
    assert (result.revision, result.timestamp) == (0, at(0))
    assert answer.status.end_time == answer.status.start_time == at(0)
    assert answer.status.run_count == 0
    assert not answer.status.HasField("next_scheduled_start_time")


@pytest.mark.parametrize(
    ("run", "proposed", "expected"),
    [
        (cached(facts()), state(v1.RUNNING, cache_key="k", refresh_cache=True), "A"),
        (cached(facts()), state(v1.RUNNING), "A"),
        (facts(), state(v1.RUNNING, cache_key="k"), "A"),
        (cached(facts(state(v1.RUNNING))), state(v1.COMPLETED, cache_key="k"), "A"),
        (cached(facts(state(v1.COMPLETED, result=STORED))), state(v1.RUNNING, cache_key="k"), "R"),
        (cached(facts(state(v1.COMPLETED))), state(v1.RUNNING, cache_key="k"), "R>Cached"),
    ],
)
def test_the_cache_answers_only_what_asks_it_and_has_no_result_of_its_own(
    run: v1.Facts, proposed: v1.State, expected: str
) -> None:
    assert short(decided(TASK, run, proposed)) == expected


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("key", "fits"), [("k" * 2000, True), ("k" * 2001, False), ("ü" * 1000, True), ("ü" * 1001, False)]
)
def test_a_cache_key_that_is_too_long_is_refused_and_nothing_is_written(key: str, fits: bool, force: bool) -> None:
    for before, proposed in ((v1.PENDING, v1.RUNNING), (v1.RUNNING, v1.COMPLETED)):
        answer = decided(TASK, facts(state(before)), state(proposed, cache_key=key), force=force)
        assert answer.decision == (v1.ACCEPT if fits else v1.REJECT)
        assert answer.HasField("status") == fits
        assert answer.rule == ("" if fits else "LimitCacheKeys")


def test_a_run_that_starts_again_has_all_its_retries() -> None:
    answer = decided(TASK, facts(state(v1.FAILED), run_count=4), state(v1.SCHEDULED))
    assert answer.status.run_count == 0
    assert not answer.status.HasField("end_time")
    assert decided(TASK, facts(state(v1.FAILED), run_count=4), state(v1.RUNNING)).status.run_count == 1
    assert decided(TASK, facts(state(v1.FAILED), run_count=4), state(v1.CANCELLED)).status.run_count == 4


def test_a_restart_that_a_paused_flow_run_prevents_fizzles() -> None:
    """The terminal rule had counted from 0 for a RUNNING that did not come to be."""
    run = inside(facts(state(v1.FAILED), run_count=4), v1.PAUSED)
    answer = decided(TASK, run, state(v1.RUNNING))
    assert short(answer) == "R>NotReady"
    assert spoke(answer) == [(TERMINAL_RULE, v1.RULE_FIZZLED), (STOPPED_RULE, v1.RULE_REPLACED)]
    assert answer.status.run_count == 4


def test_a_restart_that_a_stopped_flow_run_aborts_fizzles() -> None:
    answer = decided(TASK, inside(facts(state(v1.FAILED), run_count=4), v1.FAILED), state(v1.RUNNING))
    assert short(answer) == "X"
    assert spoke(answer) == [(TERMINAL_RULE, v1.RULE_FIZZLED), (STOPPED_RULE, v1.RULE_ABORTED)]


def test_what_is_completed_and_stored_stays() -> None:
    run = facts(state(v1.COMPLETED, result=STORED))
    for target in (v1.SCHEDULED, v1.RUNNING, v1.COMPLETED, v1.FAILED, v1.CANCELLED):
        assert short(decided(TASK, run, state(target, result=STORED))) == "R"


def test_a_paused_flow_run_holds_its_tasks_on_its_own_terms() -> None:
    run = inside(facts(state(v1.PENDING)), v1.PAUSED)
    run.flow_run.MergeFrom(v1.FlowRunFacts(pause_timeout=at(90), pause_reschedule=True))
    held = decided(TASK, run, state(v1.RUNNING)).status.state
    assert (held.type, held.name) == (v1.PAUSED, "NotReady")
    assert held.details == v1.StateDetails(pause_timeout=at(90), pause_reschedule=True)


def test_a_held_run_keeps_its_due_time() -> None:
    run = inside(facts(state(v1.SCHEDULED, "AwaitingRetry", scheduled_time=at(60)), run_count=1), v1.PAUSED)
    held = decided(TASK, run, state(v1.RUNNING)).status
    assert held.state.details.scheduled_time == at(60)

    resumed = inside(facts(held.state, run_count=1), v1.RUNNING)
    assert short(decided(TASK, resumed, state(v1.RUNNING))) == "W60"
    assert decided(TASK, resumed, state(v1.PENDING)).status.state.details.scheduled_time == at(60)


@pytest.mark.parametrize("flow_run", [v1.STATE_TYPE_UNSPECIFIED, v1.SCHEDULED, v1.COMPLETED, v1.CANCELLING])
def test_no_task_runs_under_a_flow_run_that_does_not(flow_run: v1.StateType.ValueType) -> None:
    run = inside(facts(state(v1.PENDING)), flow_run)
    answer = decided(TASK, run, state(v1.RUNNING))
    assert (short(answer), answer.rule) == ("X", STOPPED_RULE)
    assert short(decided(TASK, run, state(v1.COMPLETED))) == "A"
    assert short(decided(TASK, run, state(v1.RUNNING), force=True)) == "A"


def test_a_task_run_outside_a_flow_run_runs() -> None:
    assert short(decided(TASK, facts(state(v1.PENDING)), state(v1.RUNNING))) == "A"


@pytest.mark.parametrize(
    ("before", "counts", "expected"),
    [
        (state(v1.PENDING), (0, 0, 1), "A"),
        (state(v1.SCHEDULED, "AwaitingRetry"), (1, 1, 1), "A=Retrying"),
        (state(v1.PENDING), (1, 1, 1), "A=Rerunning"),
        (state(v1.RUNNING), (1, 1, 1), "A=Rerunning"),
        (state(v1.FAILED), (1, 1, 2), "A=Retrying"),
        (state(v1.FAILED), (1, 1, 1), "A"),
    ],
)
def test_what_runs_again_is_called_so(before: v1.State, counts: tuple[int, int, int], expected: str) -> None:
    run_count, flow_run_run_count, flow_runs = counts
    run = inside(facts(before, run_count=run_count, flow_run_run_count=flow_run_run_count), v1.RUNNING, flow_runs)
    answer = decided(TASK, run, state(v1.RUNNING, "Mine"))
    assert short(answer) == ("A=Mine" if expected == "A" else expected)
    assert answer.status.flow_run_run_count == flow_runs


@pytest.mark.parametrize(
    ("run_count", "proposed", "expected"),
    [
        (1, state(v1.FAILED, message="boom", result=STORED), "R>AwaitingRetry"),
        (2, state(v1.FAILED, message="boom", result=STORED, retriable=True), "R>AwaitingRetry"),
        (3, state(v1.FAILED, message="boom", result=STORED), "A"),
        (1, state(v1.FAILED, message="boom", result=STORED, retriable=False), "A"),
    ],
)
def test_a_failed_task_is_tried_again_while_it_may(run_count: int, proposed: v1.State, expected: str) -> None:
    run = facts(state(v1.RUNNING), run_count=run_count)
    run.retry.retries = 2
    answer = decided(TASK, run, proposed)
    assert short(answer) == expected
    assert (answer.status.state.message, answer.status.state.result) == ("boom", STORED)
    assert answer.rule == ("" if expected == "A" else "RetryFailedTasks")
