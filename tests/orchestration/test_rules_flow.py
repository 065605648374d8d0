"""The rules of flow runs, one by one: when they speak, what they say, and when they keep silent."""

from __future__ import annotations

import pytest

from playhead import v1
from tests.orchestration.given import FLOW, NOW_S, STORED, at, decided, facts, short, spoke, state

REJECT, ABORT, ACCEPT = v1.REJECT, v1.ABORT, v1.ACCEPT
TERMINAL_RULE = "HandleFlowTerminalStateTransitions"
RESUMING_RULE = "HandleResumingPausedFlows"
PAUSING_RULE = "HandlePausingFlows"
LATE_RULE = "EnsureOnlyScheduledFlowsMarkedLate"


@pytest.mark.parametrize(
    ("before", "proposed", "decision"),
    [
        (state(v1.COMPLETED), state(v1.CRASHED), ABORT),
        (state(v1.FAILED), state(v1.PAUSED), ABORT),
        (state(v1.CANCELLED), state(v1.CANCELLING), ABORT),
        (state(v1.FAILED), state(v1.SCHEDULED), ABORT),
        (state(v1.COMPLETED, result=STORED), state(v1.RUNNING), REJECT),
        (state(v1.COMPLETED, result=STORED), state(v1.SCHEDULED), REJECT),
        (state(v1.COMPLETED, result=STORED), state(v1.COMPLETED), REJECT),
        (state(v1.COMPLETED, result=v1.Result(inline=b"")), state(v1.COMPLETED), REJECT),
        (state(v1.COMPLETED, result=STORED), state(v1.COMPLETED, result=STORED), ACCEPT),
        (state(v1.COMPLETED, result=STORED), state(v1.FAILED), ACCEPT),
        (state(v1.COMPLETED, result=v1.Result(media_type="text/plain")), state(v1.RUNNING), ACCEPT),
        (state(v1.FAILED, result=STORED), state(v1.RUNNING), ACCEPT),
    ],
)
def test_terminal_states_are_left_only_where_that_makes_sense(
    before: v1.State, proposed: v1.State, decision: v1.Decision.ValueType
) -> None:
    answer = decided(FLOW, facts(before), proposed)
    assert (answer.decision, answer.rule) == (decision, "" if decision == ACCEPT else TERMINAL_RULE)
    assert answer.HasField("status") == (decision == ACCEPT)


def test_force_still_guards_a_stored_result() -> None:
    run = facts(state(v1.COMPLETED, result=STORED))
    assert decided(FLOW, run, state(v1.COMPLETED), force=True).rule == "PreventResultDataLoss"
    assert decided(FLOW, run, state(v1.COMPLETED, result=STORED), force=True).decision == ACCEPT
    assert decided(FLOW, run, state(v1.RUNNING), force=True).decision == ACCEPT


def test_a_run_that_is_cancelling_only_becomes_cancelled() -> None:
    run = facts(state(v1.CANCELLING))
    for late in (v1.COMPLETED, v1.CRASHED, v1.RUNNING, v1.CANCELLING):
        assert decided(FLOW, run, state(late)).rule == "EnforceCancellingToCancelledTransition"
    assert short(decided(FLOW, run, state(v1.CANCELLED))) == "A"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (state(v1.SCHEDULED), "R>Cancelled"),
        (state(v1.PAUSED, "Suspended", pause_reschedule=True), "R>Cancelled"),
        (state(v1.PAUSED), "R"),
        (state(v1.PENDING), "A"),
        (state(v1.RUNNING), "A"),
    ],
)
def test_a_run_without_a_process_is_cancelled_at_once(before: v1.State, expected: str) -> None:
    answer = decided(FLOW, facts(before), state(v1.CANCELLING, message="stop it"))
    assert short(answer) == expected
    if expected == "R>Cancelled":
        assert answer.status.state.message == "stop it"
        assert answer.status.end_time == at(0)
        assert spoke(answer) == [("BypassCancellingFlowRunsWithNoInfra", v1.RULE_REPLACED)]


@pytest.mark.parametrize(
    ("before", "name", "expected"),
    [
        (state(v1.PENDING), "", "X"),
        (state(v1.PENDING), "Pending", "X"),
        (state(v1.PENDING), "Submitting", "A=Submitting"),
        (state(v1.PENDING, "Submitting"), "Submitting", "X"),
        (state(v1.PENDING, "Submitting"), "", "X"),
        (state(v1.RUNNING), "Submitting", "X"),
        (state(v1.CANCELLED), "", "X"),
        (state(v1.FAILED), "", "A"),
        (state(v1.SCHEDULED), "", "A"),
    ],
)
def test_of_two_workers_that_race_for_a_run_the_second_stops(before: v1.State, name: str, expected: str) -> None:
    assert short(decided(FLOW, facts(before), state(v1.PENDING, name))) == expected


def test_a_new_name_for_pending_keeps_the_due_time() -> None:
    answer = decided(FLOW, facts(state(v1.PENDING, scheduled_time=at(30))), state(v1.PENDING, "Submitting"))
    assert answer.status.state.details.scheduled_time == at(30)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (state(v1.SCHEDULED, scheduled_time=at(-20)), "A=Late"),
        (state(v1.SCHEDULED, scheduled_time=at(0)), "A=Late"),
        (state(v1.SCHEDULED, scheduled_time=at(20)), "R"),
        (state(v1.SCHEDULED, "Late", scheduled_time=at(-20)), "R"),
        (state(v1.SCHEDULED, "AwaitingRetry", scheduled_time=at(-20)), "R"),
        (state(v1.PENDING), "R"),
        (None, "R"),
    ],
)
def test_only_a_due_run_named_scheduled_becomes_late_and_keeps_its_due_time(
    before: v1.State | None, expected: str
) -> None:
    answer = decided(FLOW, facts(before), state(v1.SCHEDULED, "Late"))
    assert short(answer) == expected
    if before is not None and expected == "A=Late":
        assert answer.status.next_scheduled_start_time == before.details.scheduled_time
    else:
        assert answer.rule == LATE_RULE


def test_another_name_than_late_is_not_looked_at() -> None:
    assert short(decided(FLOW, facts(state(v1.RUNNING)), state(v1.SCHEDULED, "Later"))) == "A=Later"


@pytest.mark.parametrize(
    ("run", "proposed", "decision"),
    [
        (facts(), state(v1.PAUSED), ABORT),
        (facts(state(v1.PENDING)), state(v1.PAUSED), REJECT),
        (facts(state(v1.RUNNING)), state(v1.PAUSED), ACCEPT),
        (facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.PAUSED, pause_key="a"), REJECT),
        (facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.PAUSED, pause_key="b"), ACCEPT),
        (facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.PAUSED), ACCEPT),
        (facts(state(v1.RUNNING)), state(v1.PAUSED, pause_reschedule=True), ABORT),
    ],
)
def test_a_running_run_pauses_once_for_each_key(
    run: v1.Facts, proposed: v1.State, decision: v1.Decision.ValueType
) -> None:
    answer = decided(FLOW, run, proposed)
    assert (answer.decision, answer.rule) == (decision, "" if decision == ACCEPT else PAUSING_RULE)


@pytest.mark.parametrize(("is_subflow", "expected"), [(False, "A=Suspended"), (True, "X")])
def test_a_subflow_cannot_be_suspended(is_subflow: bool, expected: str) -> None:
    run = facts(state(v1.RUNNING))
    run.has_deployment, run.is_subflow = True, is_subflow
    assert short(decided(FLOW, run, state(v1.PAUSED, "Suspended", pause_reschedule=True))) == expected


@pytest.mark.parametrize("target", [v1.RUNNING, v1.SCHEDULED, v1.COMPLETED, v1.FAILED, v1.CANCELLED])
def test_a_pause_that_timed_out_fails_the_run_whatever_is_proposed(target: v1.StateType.ValueType) -> None:
    answer = decided(FLOW, facts(state(v1.PAUSED, pause_timeout=at(0))), state(target))
    assert (short(answer), answer.rule) == ("R>Failed", RESUMING_RULE)
    assert answer.status.state.message == "The flow was paused and never resumed."
    assert not answer.status.resuming
    assert short(decided(FLOW, facts(state(v1.PAUSED, pause_timeout=at(1))), state(target))) == "A"


@pytest.mark.parametrize("target", [v1.PENDING, v1.PAUSED, v1.CANCELLING])
def test_a_refused_resume_leaves_no_trace(target: v1.StateType.ValueType) -> None:
    answer = decided(FLOW, facts(state(v1.PAUSED)), state(target))
    assert short(answer) == "R"
    assert not answer.HasField("status")


@pytest.mark.parametrize(
    ("before", "due_s", "expected"),
    [
        (v1.SCHEDULED, 60, "W60"),
        (v1.PENDING, 60, "W60"),
        (v1.SCHEDULED, 1.6, "W2"),
        (v1.SCHEDULED, 1.4, "W1"),
        (v1.SCHEDULED, 0.4, "A"),
        (v1.SCHEDULED, 0, "A"),
        (v1.SCHEDULED, -60, "A"),
        (v1.RUNNING, 60, "A"),
    ],
)
def test_a_run_waits_whole_seconds_until_it_is_due(before: v1.StateType.ValueType, due_s: float, expected: str) -> None:
    assert short(decided(FLOW, facts(state(before, scheduled_time=at(due_s))), state(v1.RUNNING))) == expected


def test_pending_carries_the_due_time_on_unless_it_has_its_own() -> None:
    run = facts(state(v1.SCHEDULED, scheduled_time=at(30)))
    assert decided(FLOW, run, state(v1.PENDING)).status.state.details.scheduled_time == at(30)
    own = decided(FLOW, run, state(v1.PENDING, scheduled_time=at(5)))
    assert own.status.state.details.scheduled_time == at(5)
    assert spoke(own) == []


@pytest.mark.parametrize(
    ("run_count", "retries", "expected"),
    [(1, 2, "R>AwaitingRetry"), (2, 2, "R>AwaitingRetry"), (3, 2, "A"), (1, 0, "A"), (0, 0, "A")],
)
def test_a_failed_flow_is_tried_again_while_it_has_retries(run_count: int, retries: int, expected: str) -> None:
    run = facts(state(v1.RUNNING), run_count=run_count, pause_keys=["a"])
    run.retry.MergeFrom(v1.RetryPolicy(retries=retries, delays_s=[10]))
    answer = decided(FLOW, run, state(v1.FAILED, message="boom", result=STORED))
    assert short(answer) == expected
    assert (answer.status.state.message, answer.status.state.result) == ("boom", STORED)
    if expected == "A":
        assert answer.status.end_time == at(0)
        assert list(answer.status.pause_keys) == ["a"]
    else:
        assert answer.status.state.details.scheduled_time.seconds == NOW_S + 10
        assert answer.status.run_count == run_count
        assert not answer.status.HasField("end_time")
        assert not answer.status.pause_keys


def test_a_crash_is_never_tried_again() -> None:
    run = facts(state(v1.RUNNING), run_count=1)
    run.retry.retries = 5
    assert short(decided(FLOW, run, state(v1.CRASHED))) == "A"


def test_a_retried_flow_run_is_called_running() -> None:
    run = facts(state(v1.SCHEDULED, "AwaitingRetry", scheduled_time=at(-1)), run_count=1)
    assert short(decided(FLOW, run, state(v1.RUNNING))) == "A"
