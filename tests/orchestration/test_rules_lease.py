"""Leases: who may work on a flow run, and whose word counts. A table for each rule, then what they are for."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.engine.orchestration.policy import Subject
from playhead.engine.orchestration.rules.bookkeeping import EndLease, GrantLease
from playhead.engine.orchestration.rules.lease import FenceLateReports, OnlyLapsedLeases, WaitForLiveLease
from tests.orchestration.given import FLOW, TASK, at, decided, deployed, facts, inside, leased, retried, short, state
from tests.orchestration.rule_cases import (
    REJECTS,
    WAITS,
    Case,
    keeps,
    keeps_nothing,
    passes,
    row,
    table,
)

HELD = 3
"""The token of the lease that `leased` gives."""

LEASE = v1.Lease(token=HELD, holder="somebody", ttl=Duration(seconds=60))
NEW_LEASE = v1.Lease(ttl=Duration(seconds=60))


def running(expires_s: float, run_count: int = 1) -> v1.Facts:
    """A flow run that runs under a lease which lapses so many seconds from now."""
    return leased(facts(state(v1.RUNNING), run_count=run_count), expires_s)


def in_flow_run(token: int) -> v1.Facts:
    """A task run that runs in a flow run which is worked on under a lease; 0: under none."""
    run = inside(facts(state(v1.RUNNING)), v1.RUNNING)
    run.flow_run.lease_token = token
    return run


FENCE = table(
    FenceLateReports,
    "",
    (FLOW, TASK),
    *(
        one
        for force in (False, True)
        for one in (
            row(running(30), state(v1.COMPLETED), REJECTS, "R", lease_token=HELD - 1, force=force),
            row(running(30), state(v1.COMPLETED), REJECTS, "R", lease_token=HELD + 1, force=force),
            row(facts(state(v1.CRASHED)), state(v1.COMPLETED), REJECTS, "R", lease_token=HELD, force=force),
            passes(running(30), state(v1.COMPLETED), lease_token=HELD, force=force),
            passes(running(30), state(v1.COMPLETED), force=force),
        )
    ),
)

FENCE_INSIDE = table(
    FenceLateReports,
    "",
    TASK,
    *(
        one
        for force in (False, True)
        for one in (
            row(in_flow_run(HELD + 1), state(v1.COMPLETED), REJECTS, "R", lease_token=HELD, force=force),
            row(in_flow_run(0), state(v1.COMPLETED), REJECTS, "R", lease_token=HELD, force=force),
            passes(in_flow_run(HELD), state(v1.COMPLETED), lease_token=HELD, force=force),
            passes(in_flow_run(HELD), state(v1.COMPLETED), force=force),
        )
    ),
)

ONLY_LAPSED = table(
    OnlyLapsedLeases,
    "",
    (FLOW, TASK),
    *(
        one
        for force in (False, True)
        for one in (
            row(facts(state(v1.RUNNING)), state(v1.CRASHED), REJECTS, "R", if_lease_expired=True, force=force),
            row(running(30), state(v1.CRASHED), REJECTS, "R", if_lease_expired=True, force=force),
            row(running(0.000001), state(v1.CRASHED), REJECTS, "R", if_lease_expired=True, force=force),
            passes(running(0), state(v1.CRASHED), if_lease_expired=True, force=force),
            passes(running(-1), state(v1.CRASHED), if_lease_expired=True, force=force),
            passes(running(30), state(v1.CRASHED), force=force),
        )
    ),
)


def while_it_lives(before: v1.StateType.ValueType) -> list[Case]:
    """Rows of a run in a state under a lease, which a process proposes to run."""
    return [
        row(leased(facts(state(before)), 30), state(v1.RUNNING), WAITS, "W30", lease_ttl_s=60),
        row(leased(facts(state(before)), 29.1), state(v1.RUNNING), WAITS, "W30", lease_ttl_s=60),
        row(leased(facts(state(before)), 0.2), state(v1.RUNNING), WAITS, "W1", lease_ttl_s=60),
        passes(leased(facts(state(before)), 0), state(v1.RUNNING), lease_ttl_s=60),
        passes(leased(facts(state(before)), -5), state(v1.RUNNING), lease_ttl_s=60),
        passes(leased(facts(state(before)), 30), state(v1.RUNNING), lease_ttl_s=60, lease_token=HELD),
        passes(leased(facts(state(before)), 30), state(v1.RUNNING)),
        passes(facts(state(before)), state(v1.RUNNING), lease_ttl_s=60),
    ]


LIVE = [
    *table(WaitForLiveLease, "", (FLOW, TASK), *while_it_lives(v1.RUNNING)),
    # A paused flow run is not waited for: it is to be resumed first.
    *table(WaitForLiveLease, "", TASK, *while_it_lives(v1.PAUSED)),
    *table(
        WaitForLiveLease, "", FLOW, passes(leased(facts(state(v1.PAUSED)), 30), state(v1.RUNNING), "R", lease_ttl_s=60)
    ),
]

GRANT = table(
    GrantLease,
    "",
    (FLOW, TASK),
    keeps(facts(), state(v1.RUNNING), {"lease": NEW_LEASE}, lease_ttl_s=60),
    keeps(running(-5), state(v1.RUNNING), {"lease": NEW_LEASE}, lease_ttl_s=60),
    keeps(running(30), state(v1.RUNNING), {"lease": NEW_LEASE}, lease_ttl_s=60, force=True),
    keeps_nothing(facts(), state(v1.RUNNING)),
    keeps_nothing(running(30), state(v1.RUNNING)),
    keeps_nothing(facts(), state(v1.PENDING), lease_ttl_s=60),
)

SUSPENDED = state(v1.PAUSED, "Suspended", pause_reschedule=True)
END = table(
    EndLease,
    "RemoveDeploymentConcurrencyLeaseForOldClientVersions",
    (FLOW, TASK),
    *(
        keeps(deployed(running(30)), proposed, {"lease": None}, lease_token=HELD)
        for proposed in (
            state(v1.COMPLETED),
            state(v1.FAILED),
            state(v1.CRASHED),
            state(v1.CANCELLED),
            state(v1.SCHEDULED),
            SUSPENDED,
        )
    ),
    *(
        keeps(run, proposed, {"lease": None}, lease_token=HELD, release_lease=True)
        for run, proposed in (
            (running(30), state(v1.PAUSED)),
            (running(30), state(v1.CANCELLING)),
            (retried(running(30), 1), state(v1.FAILED)),
        )
    ),
    # A blocking pause, a cancellation not yet carried out and a retry to come are still the holder's.
    keeps_nothing(running(30), state(v1.PAUSED), lease_token=HELD),
    keeps_nothing(running(30), state(v1.CANCELLING), lease_token=HELD),
    keeps_nothing(retried(running(30), 1), state(v1.FAILED), lease_token=HELD),
    keeps_nothing(running(30), state(v1.RUNNING), lease_token=HELD),
)

CASES: list[Case] = [*FENCE, *FENCE_INSIDE, *ONLY_LAPSED, *LIVE, *GRANT, *END]


def test_a_report_of_a_process_that_was_given_up_is_refused() -> None:
    """CRASHED has ended the lease; the process that was thought dead reports."""
    crashed = decided(FLOW, leased(facts(state(v1.RUNNING)), -1), state(v1.CRASHED), if_lease_expired=True).status
    assert not crashed.HasField("lease")
    late = decided(FLOW, facts(crashed.state), state(v1.COMPLETED), lease_token=HELD)
    assert (short(late), late.rule) == ("R", "FenceLateReports")


def test_the_holder_can_report_that_it_has_cancelled_itself() -> None:
    asked = decided(FLOW, leased(facts(state(v1.RUNNING)), 30), state(v1.CANCELLING)).status
    run = facts(asked.state)
    run.status.lease.CopyFrom(asked.lease)
    done = decided(FLOW, run, state(v1.CANCELLED), lease_token=HELD)
    assert short(done) == "A"
    assert not done.status.HasField("lease")


def test_a_run_cancelled_while_it_awaits_a_retry_is_its_holder_s_to_end() -> None:
    run = leased(facts(state(v1.SCHEDULED, "AwaitingRetry", scheduled_time=at(5)), run_count=1), 30)
    cancelled = decided(FLOW, run, state(v1.CANCELLING)).status
    assert (cancelled.state.type, cancelled.lease.token) == (v1.CANCELLING, HELD)
    told = leased(facts(cancelled.state), 30)
    again = decided(FLOW, told, state(v1.RUNNING), lease_ttl_s=60, lease_token=HELD)
    assert (short(again), again.rule) == ("R", "EnforceCancellingToCancelledTransition")
    assert short(decided(FLOW, told, state(v1.CANCELLED), lease_token=HELD)) == "A"


@pytest.mark.parametrize(
    ("subject", "given", "why"),
    [
        (FLOW, facts(state(v1.COMPLETED)), "this run's lease: the run is COMPLETED, and under no lease."),
        (FLOW, running(30), "this run's lease: lease 3, of somebody, is."),
        (TASK, in_flow_run(HELD), "the flow run's lease: lease 3 is."),
        (TASK, in_flow_run(0), "the flow run's lease: the flow run is RUNNING, and under no lease."),
    ],
)
def test_who_reports_late_is_told_what_the_run_is_now(subject: Subject, given: v1.Facts, why: str) -> None:
    for token in (HELD - 1, HELD + 1_000):
        late = decided(subject, given, state(v1.COMPLETED), lease_token=token)
        assert late.reason == f"Lease {token} is not {why}"


def test_who_waits_for_a_lease_is_told_whose_it_is() -> None:
    asked = decided(FLOW, running(30), state(v1.RUNNING), lease_ttl_s=60)
    assert short(asked) == "W30"
    assert asked.reason == "somebody holds the run's lease: it lapses then, unless it is renewed."
