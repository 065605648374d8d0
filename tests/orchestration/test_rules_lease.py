"""Leases: who may work on a flow run, and whose word counts."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from tests.orchestration.given import FLOW, TASK, at, decided, facts, leased, short, state

HELD = 3
"""The token of the lease that `leased` gives."""


def test_running_with_a_length_takes_a_lease_for_the_caller_to_stamp() -> None:
    status = decided(FLOW, facts(), state(v1.RUNNING), lease_ttl_s=60).status
    assert status.lease == v1.Lease(ttl=Duration(seconds=60))


def test_running_without_a_length_takes_none_and_keeps_the_one_there_is() -> None:
    assert not decided(FLOW, facts(), state(v1.RUNNING)).status.HasField("lease")
    assert decided(FLOW, leased(facts(state(v1.RUNNING)), 30), state(v1.RUNNING)).status.lease.token == HELD


def test_another_state_than_running_takes_no_lease() -> None:
    assert not decided(FLOW, facts(), state(v1.PENDING), lease_ttl_s=60).status.HasField("lease")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("token", "expected"), [(HELD, v1.ACCEPT), (0, v1.ACCEPT), (HELD - 1, v1.REJECT), (HELD + 1, v1.REJECT)]
)
def test_a_report_under_another_lease_is_refused(token: int, expected: v1.Decision.ValueType, force: bool) -> None:
    run = leased(facts(state(v1.RUNNING)), 30)
    answer = decided(FLOW, run, state(v1.COMPLETED), lease_token=token, force=force)
    assert (answer.decision, answer.rule) == (expected, "" if expected == v1.ACCEPT else "FenceLateReports")


def test_a_report_of_a_process_that_was_given_up_is_refused() -> None:
    """CRASHED has ended the lease; the process that was thought dead reports."""
    crashed = decided(FLOW, leased(facts(state(v1.RUNNING)), -1), state(v1.CRASHED), if_lease_expired=True).status
    assert not crashed.HasField("lease")
    late = decided(FLOW, facts(crashed.state), state(v1.COMPLETED), lease_token=HELD)
    assert (short(late), late.rule) == ("R", "FenceLateReports")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(("expires_s", "expected"), [(-1, "A"), (0, "A"), (0.000001, "R"), (30, "R")])
def test_a_run_is_given_up_only_when_its_lease_has_lapsed(expires_s: float, expected: str, force: bool) -> None:
    run = leased(facts(state(v1.RUNNING)), expires_s)
    assert short(decided(FLOW, run, state(v1.CRASHED), if_lease_expired=True, force=force)) == expected


def test_what_has_no_lease_has_none_that_lapsed() -> None:
    for subject in (FLOW, TASK):
        answer = decided(subject, facts(state(v1.RUNNING)), state(v1.CRASHED), if_lease_expired=True)
        assert (short(answer), answer.rule) == ("R", "OnlyLapsedLeases")


@pytest.mark.parametrize("before", [v1.RUNNING, v1.PAUSED])
@pytest.mark.parametrize(("expires_s", "expected"), [(30, "W30"), (0.2, "W1"), (29.1, "W30"), (0, "A"), (-5, "A")])
def test_a_second_process_waits_until_the_lease_lapses_then_takes_over(
    before: v1.StateType.ValueType, expires_s: float, expected: str
) -> None:
    answer = decided(FLOW, leased(facts(state(before), run_count=1), expires_s), state(v1.RUNNING), lease_ttl_s=60)
    assert short(answer) == expected
    if expected == "A":
        assert (answer.status.lease.token, answer.status.lease.holder) == (0, "")
        assert answer.status.run_count == 2


def test_the_holder_itself_does_not_wait() -> None:
    run = leased(facts(state(v1.RUNNING)), 30)
    assert short(decided(FLOW, run, state(v1.RUNNING), lease_ttl_s=60, lease_token=HELD)) == "A"


def test_force_takes_a_live_lease_over() -> None:
    answer = decided(FLOW, leased(facts(state(v1.RUNNING)), 30), state(v1.RUNNING), lease_ttl_s=60, force=True)
    assert (short(answer), answer.status.lease.token) == ("A", 0)


@pytest.mark.parametrize(
    ("proposed", "kept"),
    [
        (state(v1.COMPLETED), False),
        (state(v1.CRASHED), False),
        (state(v1.CANCELLED), False),
        (state(v1.SCHEDULED), False),
        (state(v1.PAUSED, "Suspended", pause_reschedule=True), False),
        (state(v1.PAUSED), True),
        (state(v1.CANCELLING), True),
        (state(v1.FAILED), True),
    ],
)
def test_the_lease_ends_when_its_holder_stops_working_on_the_run(proposed: v1.State, kept: bool) -> None:
    """A blocking pause, a cancellation not yet carried out and a retry to come are still the holder's."""
    run = leased(facts(state(v1.RUNNING), run_count=1), 30)
    run.has_deployment = True
    run.retry.retries = 1
    status = decided(FLOW, run, proposed, lease_token=HELD).status
    assert status.HasField("lease") == kept


def test_the_holder_can_report_that_it_has_cancelled_itself() -> None:
    asked = decided(FLOW, leased(facts(state(v1.RUNNING)), 30), state(v1.CANCELLING)).status
    run = facts(asked.state)
    run.status.lease.CopyFrom(asked.lease)
    done = decided(FLOW, run, state(v1.CANCELLED), lease_token=HELD)
    assert short(done) == "A"
    assert not done.status.HasField("lease")


def test_a_run_cancelled_while_it_awaits_a_retry_is_not_started_by_its_old_holder() -> None:
    run = leased(facts(state(v1.SCHEDULED, "AwaitingRetry", scheduled_time=at(5)), run_count=1), 30)
    cancelled = decided(FLOW, run, state(v1.CANCELLING)).status
    assert cancelled.state.type == v1.CANCELLED
    again = decided(FLOW, facts(cancelled.state), state(v1.RUNNING), lease_ttl_s=60, lease_token=HELD)
    assert (short(again), again.rule) == ("R", "FenceLateReports")
