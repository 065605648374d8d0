"""The rules of flow runs, one table for each: when they speak, what they say, and when they pass."""

from __future__ import annotations

import pytest

from playhead import v1
from playhead.engine.orchestration.rules.cancelling import (
    BypassCancellingFlowRunsWithNoInfra,
    EnforceCancellingToCancelledTransition,
)
from playhead.engine.orchestration.rules.pausing import HandlePausingFlows, HandleResumingPausedFlows
from playhead.engine.orchestration.rules.pending import PreventPendingTransitions
from playhead.engine.orchestration.rules.retrying import RetryCrashedFlows, RetryFailedFlows
from playhead.engine.orchestration.rules.scheduling import (
    CopyScheduledTime,
    EnsureOnlyScheduledFlowsMarkedLate,
    WaitForScheduledTime,
)
from playhead.engine.orchestration.rules.slots import EnforceDeploymentConcurrencyOnLate, SecureFlowConcurrencySlots
from playhead.engine.orchestration.rules.terminal import (
    HandleFlowTerminalStateTransitions,
    PreventResultDataLoss,
    digest_of,
)
from tests.orchestration.given import FLOW, STORED, at, decided, deployed, facts, leased, limited, retried, short, state
from tests.orchestration.rule_cases import (
    ABORTS,
    FIZZLES,
    RECORDS,
    REJECTS,
    REPLACES,
    WAITS,
    Case,
    passes,
    row,
    table,
)

UNSTORED = v1.Result(media_type="text/plain")
SUSPENDED = state(v1.PAUSED, "Suspended", pause_reschedule=True)
NEVER_RESUMED = {"state.type": v1.FAILED, "state.message": "The flow was paused and never resumed.", "resuming": False}
DUE_LATER = state(v1.SCHEDULED, scheduled_time=at(30))
AWAITS_SLOT = state(v1.SCHEDULED, "AwaitingConcurrencySlot", scheduled_time=at(30))
AWAITED_SLOT = state(v1.SCHEDULED, "AwaitingConcurrencySlot", scheduled_time=at(0))
BOOM = state(v1.FAILED, message="boom", result=STORED)


def subflow() -> v1.Facts:
    """A subflow that runs, whose flow has a deployment."""
    run = deployed(facts(state(v1.RUNNING)))
    run.is_subflow = True
    return run


TERMINAL = table(
    HandleFlowTerminalStateTransitions,
    "HandleFlowTerminalStateTransitions",
    FLOW,
    row(facts(state(v1.COMPLETED)), state(v1.CRASHED), ABORTS, "X"),
    row(facts(state(v1.FAILED)), state(v1.PAUSED), ABORTS, "X"),
    row(facts(state(v1.CANCELLED)), state(v1.CANCELLING), ABORTS, "X"),
    row(facts(state(v1.FAILED)), state(v1.SCHEDULED), ABORTS, "X"),
    row(facts(state(v1.COMPLETED, result=STORED)), state(v1.RUNNING), REJECTS, "R"),
    row(facts(state(v1.COMPLETED, result=STORED)), state(v1.SCHEDULED), REJECTS, "R"),
    row(facts(state(v1.COMPLETED, result=STORED)), state(v1.COMPLETED), REJECTS, "R"),
    row(facts(state(v1.COMPLETED, result=v1.Result(inline=b""))), state(v1.COMPLETED), REJECTS, "R"),
    passes(facts(state(v1.COMPLETED, result=STORED)), state(v1.COMPLETED, result=STORED)),
    passes(facts(state(v1.COMPLETED, result=STORED)), state(v1.FAILED)),
    passes(facts(state(v1.COMPLETED, result=UNSTORED)), state(v1.RUNNING)),
    passes(facts(state(v1.COMPLETED, result=STORED)), state(v1.RUNNING, damaged_result=digest_of(STORED))),
    row(facts(state(v1.COMPLETED, result=STORED)), state(v1.RUNNING, damaged_result=b"7" * 32), REJECTS, "R"),
    passes(facts(state(v1.FAILED, result=STORED)), state(v1.RUNNING)),
    passes(deployed(facts(state(v1.FAILED))), state(v1.SCHEDULED)),
    passes(facts(state(v1.RUNNING)), state(v1.CRASHED)),
)

RESULT_LOSS = table(
    PreventResultDataLoss,
    "PreventResultDataLoss",
    FLOW,
    row(facts(state(v1.COMPLETED, result=STORED)), state(v1.COMPLETED), REJECTS, "R", force=True),
    passes(facts(state(v1.COMPLETED, result=STORED)), state(v1.COMPLETED, result=STORED), force=True),
    passes(facts(state(v1.COMPLETED, result=STORED)), state(v1.RUNNING), force=True),
    passes(facts(state(v1.COMPLETED)), state(v1.COMPLETED), force=True),
)

CANCELLING = table(
    EnforceCancellingToCancelledTransition,
    "EnforceCancellingToCancelledTransition",
    FLOW,
    row(facts(state(v1.CANCELLING)), state(v1.COMPLETED), REJECTS, "R"),
    row(facts(state(v1.CANCELLING)), state(v1.CRASHED), REJECTS, "R"),
    row(facts(state(v1.CANCELLING)), state(v1.RUNNING), REJECTS, "R"),
    row(facts(state(v1.CANCELLING)), state(v1.CANCELLING), REJECTS, "R"),
    passes(facts(state(v1.CANCELLING)), state(v1.CANCELLED)),
)

AT_ONCE = {"state.type": v1.CANCELLED, "state.message": "stop it", "end_time": at(0)}
STOP_IT = state(v1.CANCELLING, message="stop it")
NO_INFRA = table(
    BypassCancellingFlowRunsWithNoInfra,
    "BypassCancellingFlowRunsWithNoInfra",
    FLOW,
    row(facts(state(v1.SCHEDULED)), STOP_IT, REPLACES, "R>Cancelled", AT_ONCE),
    row(facts(state(v1.SCHEDULED, "Resuming")), STOP_IT, REPLACES, "R>Cancelled", AT_ONCE),
    row(facts(state(v1.SCHEDULED, "AwaitingRetry")), STOP_IT, REPLACES, "R>Cancelled", AT_ONCE),
    row(facts(), STOP_IT, REPLACES, "R>Cancelled", AT_ONCE),
    row(facts(state(v1.PENDING)), STOP_IT, REPLACES, "R>Cancelled", AT_ONCE),
    row(facts(state(v1.PENDING)), STOP_IT, REPLACES, "R>Cancelled", AT_ONCE, force=True),
    passes(leased(facts(state(v1.SCHEDULED, "AwaitingRetry")), 50), STOP_IT),
    passes(leased(facts(state(v1.SCHEDULED, "AwaitingRetry")), 50), STOP_IT, force=True),
    row(facts(SUSPENDED), STOP_IT, REPLACES, "R>Cancelled", AT_ONCE),
    row(facts(SUSPENDED), STOP_IT, REPLACES, "R>Cancelled", AT_ONCE, force=True),
    passes(facts(state(v1.PAUSED)), STOP_IT),
    passes(facts(state(v1.PAUSED)), STOP_IT, force=True),
    passes(facts(state(v1.RUNNING)), STOP_IT),
)

PENDING = table(
    PreventPendingTransitions,
    "PreventPendingTransitions",
    FLOW,
    row(facts(state(v1.PENDING)), state(v1.PENDING), ABORTS, "X"),
    row(facts(state(v1.PENDING)), state(v1.PENDING, "Pending"), ABORTS, "X"),
    row(facts(state(v1.PENDING, "Submitting")), state(v1.PENDING, "Submitting"), ABORTS, "X"),
    row(facts(state(v1.PENDING, "Submitting")), state(v1.PENDING), ABORTS, "X"),
    row(facts(state(v1.RUNNING)), state(v1.PENDING, "Submitting"), ABORTS, "X"),
    row(facts(state(v1.CANCELLED)), state(v1.PENDING), ABORTS, "X"),
    passes(facts(state(v1.PENDING)), state(v1.PENDING, "Submitting"), "A=Submitting"),
    passes(facts(state(v1.FAILED)), state(v1.PENDING)),
    passes(facts(state(v1.SCHEDULED)), state(v1.PENDING)),
)


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (v1.RUNNING, "The run is RUNNING: another process may have it."),
        (v1.CANCELLED, "The run is CANCELLED: it starts again as RUNNING, not as PENDING."),
    ],
)
def test_who_may_not_begin_is_told_what_the_run_is(before: v1.StateType.ValueType, why: str) -> None:
    assert decided(FLOW, facts(state(before)), state(v1.PENDING)).reason == why


AS_LATE = state(v1.SCHEDULED, "Late")
LATE = table(
    EnsureOnlyScheduledFlowsMarkedLate,
    "EnsureOnlyScheduledFlowsMarkedLate",
    FLOW,
    row(
        facts(state(v1.SCHEDULED, scheduled_time=at(-20))),
        AS_LATE,
        RECORDS,
        "A=Late",
        {"next_scheduled_start_time": at(-20)},
    ),
    row(facts(state(v1.SCHEDULED, scheduled_time=at(20))), AS_LATE, REJECTS, "R"),
    row(facts(state(v1.SCHEDULED, "Late", scheduled_time=at(-20))), AS_LATE, REJECTS, "R"),
    row(facts(state(v1.SCHEDULED, "AwaitingRetry", scheduled_time=at(-20))), AS_LATE, REJECTS, "R"),
    row(
        facts(state(v1.SCHEDULED, scheduled_time=at(-20))),
        state(v1.SCHEDULED, "Late", run_input=b"7"),
        FIZZLES,
        "R",
    ),
    row(facts(state(v1.PENDING)), AS_LATE, REJECTS, "R"),
    row(facts(), AS_LATE, REJECTS, "R"),
    passes(
        facts(state(v1.SCHEDULED, scheduled_time=at(0))), state(v1.SCHEDULED, "Late", scheduled_time=at(0)), "A=Late"
    ),
    passes(facts(state(v1.RUNNING)), state(v1.SCHEDULED, "Later"), "A=Later"),
)

DUE = state(v1.SCHEDULED, scheduled_time=at(-20))
LATE_AND_FULL = table(
    EnforceDeploymentConcurrencyOnLate,
    "EnforceDeploymentConcurrencyOnLate",
    FLOW,
    row(
        limited(facts(DUE), 1, held=1, on_full=v1.CANCEL_NEW),
        AS_LATE,
        REPLACES,
        "R>Cancelled",
        {"end_time": at(0), "next_scheduled_start_time": None},
    ),
    row(limited(facts(DUE), 0, on_full=v1.CANCEL_NEW), AS_LATE, REPLACES, "R>Cancelled"),
    passes(limited(facts(DUE), 1, on_full=v1.CANCEL_NEW), AS_LATE, "A=Late"),
    passes(limited(facts(DUE), 1, held=1), AS_LATE, "A=Late"),
    passes(facts(DUE), AS_LATE, "A=Late"),
    passes(limited(facts(DUE), 1, held=1, on_full=v1.CANCEL_NEW), state(v1.SCHEDULED)),
    passes(limited(facts(DUE), 1, held=1, on_full=v1.CANCEL_NEW), AS_LATE, "A=Late", force=True),
)

PAUSING = table(
    HandlePausingFlows,
    "HandlePausingFlows",
    FLOW,
    row(facts(), state(v1.PAUSED), ABORTS, "X"),
    row(facts(state(v1.PENDING)), state(v1.PAUSED), REJECTS, "R"),
    row(facts(state(v1.PAUSED)), state(v1.PAUSED), REJECTS, "R"),
    row(facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.PAUSED, pause_key="a"), REJECTS, "R"),
    row(facts(state(v1.RUNNING)), SUSPENDED, ABORTS, "X"),
    row(subflow(), SUSPENDED, ABORTS, "X"),
    passes(deployed(facts(state(v1.RUNNING))), SUSPENDED, "A=Suspended"),
    passes(subflow(), state(v1.PAUSED)),
    passes(facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.PAUSED, pause_key="b")),
    passes(facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.PAUSED)),
)

RESUMING = table(
    HandleResumingPausedFlows,
    "HandleResumingPausedFlows",
    FLOW,
    row(facts(state(v1.PAUSED)), state(v1.PENDING), REJECTS, "R"),
    row(facts(SUSPENDED), state(v1.SCHEDULED), REJECTS, "R"),
    row(facts(SUSPENDED), state(v1.CANCELLED), REJECTS, "R"),
    # A process that would run it, and has nobody's word that it may go on.
    *(
        row(run, state(v1.RUNNING), REJECTS, "R", lease_ttl_s=60)
        for run in (
            facts(state(v1.PAUSED)),
            deployed(facts(SUSPENDED)),
            leased(facts(state(v1.PAUSED)), 30),
            leased(facts(state(v1.PAUSED)), -5),
        )
    ),
    row(facts(state(v1.PAUSED, pause_timeout=at(0))), state(v1.RUNNING), REPLACES, "R>Failed", lease_ttl_s=60),
    *(
        row(facts(state(v1.PAUSED, pause_timeout=at(0))), state(target), REPLACES, "R>Failed", NEVER_RESUMED)
        for target in (v1.RUNNING, v1.SCHEDULED, v1.COMPLETED, v1.CANCELLED)
    ),
    *(
        passes(facts(state(v1.PAUSED, pause_timeout=at(1))), state(target))
        for target in (v1.RUNNING, v1.SCHEDULED, v1.COMPLETED, v1.CANCELLED)
    ),
    passes(deployed(facts(SUSPENDED)), state(v1.SCHEDULED)),
    passes(facts(SUSPENDED), state(v1.CANCELLING), "R>Cancelled"),
    passes(facts(state(v1.PAUSED)), state(v1.CANCELLING)),
    passes(facts(state(v1.PAUSED, pause_timeout=at(0))), state(v1.CANCELLING)),
    passes(facts(state(v1.PAUSED)), state(v1.PAUSED), "R"),
)

CARRIED = {"state.details.scheduled_time": at(30)}
COPYING = table(
    CopyScheduledTime,
    "CopyScheduledTime",
    FLOW,
    row(facts(DUE_LATER), state(v1.PENDING), RECORDS, "A", CARRIED),
    row(
        facts(state(v1.PENDING, scheduled_time=at(30))),
        state(v1.PENDING, "Submitting"),
        RECORDS,
        "A=Submitting",
        CARRIED,
    ),
    row(limited(facts(DUE_LATER), 1, held=1), state(v1.PENDING), FIZZLES, "R>AwaitingConcurrencySlot"),
    passes(facts(DUE_LATER), state(v1.PENDING, scheduled_time=at(5))),
    passes(facts(state(v1.FAILED)), state(v1.PENDING)),
)

WAITING = table(
    WaitForScheduledTime,
    "WaitForScheduledTime",
    FLOW,
    row(facts(state(v1.SCHEDULED, scheduled_time=at(60))), state(v1.RUNNING), WAITS, "W60"),
    row(facts(state(v1.PENDING, scheduled_time=at(60))), state(v1.RUNNING), WAITS, "W60"),
    row(facts(state(v1.SCHEDULED, scheduled_time=at(1.6))), state(v1.RUNNING), WAITS, "W2"),
    row(facts(state(v1.SCHEDULED, scheduled_time=at(1.4))), state(v1.RUNNING), WAITS, "W1"),
    passes(facts(state(v1.SCHEDULED, scheduled_time=at(0.4))), state(v1.RUNNING)),
    passes(facts(state(v1.SCHEDULED, scheduled_time=at(0))), state(v1.RUNNING)),
    passes(facts(state(v1.SCHEDULED, scheduled_time=at(-60))), state(v1.RUNNING)),
    passes(facts(state(v1.RUNNING, scheduled_time=at(60))), state(v1.RUNNING)),
    passes(limited(facts(AWAITS_SLOT, slot_wait=v1.SlotWait(since=3)), 1, held=1), state(v1.RUNNING), "W30"),
)

TAKEN = [v1.HeldSlots(limit="tag:etl", count=1)]
SLOTS = table(
    SecureFlowConcurrencySlots,
    "SecureFlowConcurrencySlots, ValidateDeploymentConcurrencyAtRunning",
    FLOW,
    row(limited(facts(state(v1.SCHEDULED)), 2, held=1), state(v1.PENDING), RECORDS, "A", {"slots": TAKEN}),
    row(limited(facts(state(v1.PENDING)), 2, held=1), state(v1.RUNNING), RECORDS, "A", {"slots": TAKEN}),
    row(
        limited(facts(state(v1.SCHEDULED)), 1, held=1),
        state(v1.PENDING),
        REPLACES,
        "R>AwaitingConcurrencySlot",
        {"slots": [], "slot_wait.slots": TAKEN, "next_scheduled_start_time": at(30)},
    ),
    row(
        limited(facts(state(v1.SCHEDULED)), 1, ahead=1),
        state(v1.PENDING),
        REPLACES,
        "R>AwaitingConcurrencySlot",
        {"slots": [], "slot_wait.slots": TAKEN},
    ),
    row(
        limited(facts(state(v1.PAUSED, run_input_schema=b"{}")), 1, held=1),
        state(v1.RUNNING, run_input=b"7"),
        REPLACES,
        "R>AwaitingConcurrencySlot",
        {"slot_wait.slots": TAKEN, "state.details.run_input": b"7"},
    ),
    row(
        limited(facts(state(v1.SCHEDULED)), 1, held=1, on_full=v1.CANCEL_NEW),
        state(v1.PENDING),
        REPLACES,
        "R>Cancelled",
        {"slots": [], "slot_wait": None},
    ),
    row(
        limited(facts(state(v1.SCHEDULED), slot_wait=v1.SlotWait(since=3)), 1, held=1, on_full=v1.CANCEL_NEW),
        state(v1.PENDING),
        REPLACES,
        "R>AwaitingConcurrencySlot",
        {"slot_wait.slots": TAKEN},
    ),
    row(limited(facts(AWAITS_SLOT, slot_wait=v1.SlotWait(since=3)), 1, held=1), state(v1.RUNNING), WAITS, "W30"),
    row(
        limited(facts(AWAITED_SLOT, slot_wait=v1.SlotWait(since=3)), 1, held=1),
        state(v1.RUNNING),
        REPLACES,
        "R>AwaitingConcurrencySlot",
        {"slot_wait.slots": TAKEN, "next_scheduled_start_time": at(30)},
    ),
    row(limited(facts(AWAITS_SLOT, slot_wait=v1.SlotWait(since=3)), 0), state(v1.RUNNING), ABORTS, "X"),
    row(limited(facts(state(v1.SCHEDULED)), 0), state(v1.PENDING), ABORTS, "X"),
    passes(facts(state(v1.SCHEDULED)), state(v1.PENDING)),
    passes(limited(facts(state(v1.RUNNING)), 1, held=1), state(v1.RUNNING)),
    passes(limited(facts(DUE_LATER), 1, held=1), state(v1.RUNNING), "W30"),
)

TRIED_AGAIN = {
    "state.type": v1.SCHEDULED,
    "state.message": "boom",
    "state.result": STORED,
    "next_scheduled_start_time": at(10),
    "end_time": None,
    "pause_keys": [],
}


def given_up(before: v1.State, run_count: int = 1, on_crash: bool = True) -> v1.Facts:
    """A flow run with two retries whose process died in that attempt."""
    run = leased(retried(facts(before, run_count=run_count, pause_keys=["a"]), 2, [10]), -1)
    run.retry.on_crash = on_crash
    return run


CRASHED = state(v1.CRASHED, message="boom", result=STORED)
CRASHING = table(
    RetryCrashedFlows,
    "",
    FLOW,
    *(
        row(given_up(before), CRASHED, REPLACES, "R>AwaitingRetry", TRIED_AGAIN, if_lease_expired=True)
        for before in (state(v1.RUNNING), state(v1.PAUSED), state(v1.SCHEDULED, "AwaitingRetry"))
    ),
    row(given_up(state(v1.RUNNING), 2), CRASHED, REPLACES, "R>AwaitingRetry", TRIED_AGAIN, if_lease_expired=True),
    passes(given_up(state(v1.RUNNING), 3), CRASHED, if_lease_expired=True),
    passes(given_up(state(v1.RUNNING), on_crash=False), CRASHED, if_lease_expired=True),
    passes(given_up(state(v1.RUNNING)), CRASHED),
    passes(given_up(state(v1.CANCELLING)), CRASHED, "R", if_lease_expired=True),
)
RETRYING = table(
    RetryFailedFlows,
    "RetryFailedFlows",
    FLOW,
    *(
        row(
            retried(facts(state(v1.RUNNING), run_count=run_count, pause_keys=["a"]), 2, [10]),
            BOOM,
            REPLACES,
            "R>AwaitingRetry",
            {**TRIED_AGAIN, "run_count": run_count},
        )
        for run_count in (1, 2)
    ),
    passes(retried(facts(state(v1.RUNNING), run_count=3), 2, [10]), BOOM),
    passes(facts(state(v1.RUNNING), run_count=1), BOOM),
    passes(facts(state(v1.RUNNING)), BOOM),
    passes(retried(facts(state(v1.RUNNING), run_count=1), 2), state(v1.FAILED, retriable=False)),
    passes(retried(facts(state(v1.PENDING), run_count=1), 2), BOOM),
    passes(retried(facts(state(v1.RUNNING), run_count=1), 5), state(v1.CRASHED)),
)

CASES: list[Case] = [
    *TERMINAL,
    *RESULT_LOSS,
    *CANCELLING,
    *NO_INFRA,
    *PENDING,
    *LATE,
    *LATE_AND_FULL,
    *PAUSING,
    *RESUMING,
    *COPYING,
    *WAITING,
    *SLOTS,
    *RETRYING,
    *CRASHING,
]


def test_a_failure_that_is_not_tried_again_ends_the_run_with_all_it_had() -> None:
    run = retried(facts(state(v1.RUNNING), run_count=3, pause_keys=["a"]), 2)
    status = decided(FLOW, run, BOOM).status
    assert (status.state.message, status.state.result, status.end_time) == ("boom", STORED, at(0))
    assert list(status.pause_keys) == ["a"]


def test_a_retried_flow_run_is_called_running() -> None:
    run = facts(state(v1.SCHEDULED, "AwaitingRetry", scheduled_time=at(-1)), run_count=1)
    assert short(decided(FLOW, run, state(v1.RUNNING))) == "A"
