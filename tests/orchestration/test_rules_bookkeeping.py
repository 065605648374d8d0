"""What is kept about a run beside its state, under force as well as without: a table for each, then whole lives."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.engine.orchestration.policy import Subject
from playhead.engine.orchestration.rules import bookkeeping as keep
from playhead.engine.orchestration.rules.rule import STATES, TERMINAL
from playhead.engine.orchestration.rules.slots import KeepFlowSlots, KeepTaskSlots
from tests.orchestration.given import (
    FLOW,
    STORED,
    TASK,
    at,
    decided,
    deployed,
    facts,
    inside,
    leased,
    limited,
    retried,
    state,
)
from tests.orchestration.rule_cases import Case, keeps, keeps_nothing, table

both_subjects = pytest.mark.parametrize("subject", [FLOW, TASK])
forced_or_not = pytest.mark.parametrize("force", [False, True])

BOTH = (FLOW, TASK)
WHEREVER = sorted(STATES)
DUE_NOW = {"expected_start_time": at(0), "next_scheduled_start_time": at(0)}
ENDS = sorted(TERMINAL)
GOES_ON = sorted(STATES - TERMINAL)


def stamped() -> v1.State:
    """A state that has all that is stamped on states."""
    proposed = state(v1.RUNNING, "Running")
    proposed.timestamp.CopyFrom(at(0))
    return proposed


def with_old_stamps() -> v1.State:
    """A state with a time and a revision of the proposer's own."""
    proposed = state(v1.RUNNING)
    proposed.revision = 99
    proposed.timestamp.CopyFrom(at(500))
    return proposed


def crashing_in_a_pause() -> v1.Facts:
    """A run that is tried again when the process that waits in its pause dies."""
    run = leased(facts(state(v1.PAUSED), run_count=1), -1)
    run.retry.MergeFrom(v1.RetryPolicy(retries=1, on_crash=True))
    return run


def ran(nanos: int = 0, **status: object) -> v1.Facts:
    """A run that has been RUNNING for ten seconds and some, after five and some before."""
    total = Duration(seconds=5, nanos=999_999_000)
    run = facts(state(v1.RUNNING), total_run_time=total, start_time=at(-10), **status)
    run.now.CopyFrom(at(nanos / 1e9))
    return run


STAMP = [
    *table(
        keep.StampState,
        "SetRunStateType, SetRunStateName, SetRunStateTimestamp, EnsureFlowRunStateTimestampIsUnique",
        BOTH,
        keeps(facts(), with_old_stamps(), {"state.revision": 0, "state.timestamp": at(0)}),
        keeps(facts(), with_old_stamps(), {"state.revision": 0, "state.timestamp": at(0)}, force=True),
        # What is kept of the due time follows.
        keeps(facts(), state(v1.SCHEDULED), {"state.details.scheduled_time": at(0), **DUE_NOW}),
        keeps_nothing(facts(), stamped()),
    ),
    *table(
        keep.StampState,
        "",
        FLOW,
        keeps(
            limited(facts(state(v1.SCHEDULED)), 1, held=1, on_full=v1.CANCEL_NEW),
            state(v1.PENDING),
            {"state.name": "Cancelled", "state.timestamp": at(0)},
        ),
    ),
]

START = table(
    keep.SetStartTime,
    "SetStartTime, SetEndTime",
    BOTH,
    keeps(facts(state(v1.PENDING)), state(v1.RUNNING), {"start_time": at(0)}),
    keeps(facts(state(v1.PENDING)), state(v1.CANCELLED), {"start_time": at(0)}),
    keeps_nothing(facts(state(v1.PENDING), start_time=at(-9)), state(v1.RUNNING)),
    keeps_nothing(facts(), state(v1.PENDING)),
)

END = table(
    keep.SetEndTime,
    "SetEndTime",
    BOTH,
    *(keeps(facts(state(v1.RUNNING)), state(to), {"end_time": at(0)}, force=True) for to in ENDS),
    *(keeps_nothing(facts(state(v1.FAILED), end_time=at(-5)), state(to), force=True) for to in ENDS),
    keeps_nothing(facts(), state(v1.RUNNING)),
)

CLEAR_END = table(
    keep.ClearEndTime,
    "SetEndTime",
    BOTH,
    *(keeps(facts(state(v1.FAILED), end_time=at(-5)), state(to), {"end_time": None}, force=True) for to in GOES_ON),
    *(keeps_nothing(facts(state(v1.FAILED), end_time=at(-5)), state(to), force=True) for to in ENDS),
)

RUN_TIME = table(
    keep.AddRunTime,
    "IncrementRunTime",
    BOTH,
    *(
        keeps(ran(nanos=2000), state(to), {"total_run_time": Duration(seconds=16, nanos=1_000)}, force=True)
        for to in WHEREVER
    ),
    keeps_nothing(facts(state(v1.PENDING)), state(v1.RUNNING)),
    # The clock went back.
    keeps_nothing(ran(nanos=-20_000_000_000), state(v1.COMPLETED)),
)

EXPECTED = table(
    keep.SetExpectedStartTime,
    "SetExpectedStartTime",
    BOTH,
    keeps(facts(), state(v1.SCHEDULED, scheduled_time=at(60)), {"expected_start_time": at(60)}),
    keeps(facts(), state(v1.SCHEDULED), {"expected_start_time": at(0)}),
    keeps(facts(), state(v1.RUNNING), {"expected_start_time": at(0)}),
    keeps_nothing(facts(state(v1.PENDING), expected_start_time=at(-8)), state(v1.RUNNING)),
)

NEXT = table(
    keep.SetNextScheduledStartTime,
    "SetNextScheduledStartTime",
    BOTH,
    keeps(facts(), state(v1.SCHEDULED), {"next_scheduled_start_time": at(0)}),
    keeps(
        facts(state(v1.SCHEDULED), next_scheduled_start_time=at(5)),
        state(v1.SCHEDULED, scheduled_time=at(60)),
        {"next_scheduled_start_time": at(60)},
    ),
    keeps_nothing(facts(), state(v1.RUNNING)),
)

NO_NEXT = table(
    keep.ClearNextScheduledStartTime,
    "SetNextScheduledStartTime",
    BOTH,
    keeps(
        facts(state(v1.SCHEDULED), next_scheduled_start_time=at(-1)),
        state(v1.PENDING),
        {"next_scheduled_start_time": None},
    ),
    keeps_nothing(facts(state(v1.SCHEDULED), next_scheduled_start_time=at(-1)), state(v1.SCHEDULED)),
)

COUNT_FLOW = table(
    keep.CountFlowRuns,
    "IncrementFlowRunCount",
    FLOW,
    keeps(facts(state(v1.PENDING)), state(v1.RUNNING), {"run_count": 1}),
    keeps(facts(state(v1.RUNNING), run_count=1), state(v1.RUNNING), {"run_count": 2}),
    *(keeps_nothing(facts(state(v1.PAUSED), run_count=1), state(v1.RUNNING), force=force) for force in (False, True)),
    keeps(facts(state(v1.PAUSED)), state(v1.RUNNING), {"run_count": 1}),
    keeps(facts(state(v1.PAUSED), run_count=1), state(v1.RUNNING), {"run_count": 2}, lease_ttl_s=60, force=True),
    keeps_nothing(facts(state(v1.SCHEDULED, "Resuming"), run_count=1, resuming=True), state(v1.RUNNING)),
    keeps_nothing(facts(state(v1.RUNNING), run_count=1), state(v1.COMPLETED)),
)

COUNT_TASK = table(
    keep.CountTaskRuns,
    "IncrementTaskRunCount, UpdateFlowRunTrackerOnTasks",
    TASK,
    *(
        keeps(
            inside(facts(state(v1.PENDING), flow_run_run_count=1), v1.RUNNING, run_count=3),
            state(v1.RUNNING),
            {"run_count": 1, "flow_run_run_count": 3},
            force=force,
        )
        for force in (False, True)
    ),
    keeps(facts(state(v1.PENDING), run_count=1), state(v1.RUNNING), {"run_count": 2}),
    # The subflow that a task run stands for begins to run too, or goes on: it is the same start.
    *(
        keeps_nothing(facts(state(before), run_count=1), state(v1.RUNNING, child_flow_run_id="c1"), force=True)
        for before in (v1.RUNNING, v1.PAUSED)
    ),
    keeps_nothing(inside(facts(state(v1.PENDING)), v1.RUNNING, run_count=3), state(v1.FAILED)),
)

START_RESUMING = table(
    keep.StartResuming,
    "HandleResumingPausedFlows",
    FLOW,
    keeps(facts(state(v1.PAUSED)), state(v1.SCHEDULED, "Resuming"), {"resuming": True}),
    # A resume that has to wait for its slots.
    keeps(limited(facts(state(v1.PAUSED)), 1, held=1), state(v1.RUNNING), {"resuming": True}),
    keeps_nothing(facts(state(v1.PAUSED), run_count=1), state(v1.RUNNING)),
    keeps_nothing(facts(state(v1.RUNNING)), state(v1.SCHEDULED)),
    keeps_nothing(crashing_in_a_pause(), state(v1.CRASHED), if_lease_expired=True),
)

END_RESUMING = table(
    keep.EndResuming,
    "RemoveResumingIndicator",
    FLOW,
    *(
        keeps(facts(state(v1.SCHEDULED, "Resuming"), resuming=True), state(to), {"resuming": False}, force=True)
        for to in (v1.RUNNING, *ENDS)
    ),
    keeps_nothing(facts(state(v1.SCHEDULED, "Resuming"), resuming=True), state(v1.PENDING)),
    keeps_nothing(facts(), state(v1.RUNNING)),
)

KEYS = table(
    keep.KeepPauseKeys,
    "HandlePausingFlows",
    FLOW,
    *(
        keeps(
            facts(state(v1.RUNNING), pause_keys=["a"]),
            state(v1.PAUSED, pause_key="b"),
            {"pause_keys": ["a", "b"]},
            force=force,
        )
        for force in (False, True)
    ),
    keeps_nothing(facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.PAUSED)),
    keeps_nothing(facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.PAUSED, pause_key="a"), force=True),
    # What an earlier attempt used is forgotten first.
    keeps(facts(state(v1.FAILED)), state(v1.PAUSED, pause_key="b"), {"pause_keys": ["b"]}, force=True),
)

NO_KEYS = table(
    keep.ForgetPauseKeys,
    "HandleFlowTerminalStateTransitions",
    FLOW,
    *(
        keeps(facts(state(v1.FAILED), pause_keys=["a"]), state(v1.RUNNING), {"pause_keys": []}, force=force)
        for force in (False, True)
    ),
    keeps_nothing(facts(state(v1.PAUSED), pause_keys=["a"]), state(v1.RUNNING)),
    keeps_nothing(facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.FAILED)),
)

SLOT = v1.HeldSlots(limit="tag:etl", count=1)
CLAIMED_BY = v1.HeldSlots(limit="tag:etl", count=1, claim_by=at(30))
IN_LINE = v1.SlotWait(since=3, slots=[SLOT])

FLOW_SLOTS = table(
    KeepFlowSlots,
    "ReleaseFlowConcurrencySlots",
    FLOW,
    *(
        keeps(facts(state(v1.RUNNING), slots=[SLOT]), state(to), {"slots": []}, force=True)
        for to in (*ENDS, v1.SCHEDULED)
    ),
    keeps(
        deployed(facts(state(v1.RUNNING), slots=[SLOT])),
        state(v1.PAUSED, "Suspended", pause_reschedule=True),
        {"slots": []},
    ),
    keeps(facts(state(v1.SCHEDULED), slots=[CLAIMED_BY]), state(v1.PENDING), {"slots": [SLOT]}),
    keeps(
        facts(state(v1.SCHEDULED, "AwaitingConcurrencySlot"), slot_wait=IN_LINE),
        state(v1.CANCELLED),
        {"slot_wait": None},
    ),
    keeps_nothing(facts(state(v1.PENDING), slots=[SLOT]), state(v1.RUNNING)),
    keeps_nothing(facts(state(v1.RUNNING), slots=[SLOT]), state(v1.CANCELLING)),
    keeps_nothing(facts(state(v1.RUNNING), slots=[SLOT]), state(v1.PAUSED)),
    keeps(facts(state(v1.RUNNING), slots=[SLOT]), state(v1.PAUSED), {"slots": []}, release_lease=True),
    keeps_nothing(retried(leased(facts(state(v1.RUNNING), slots=[SLOT]), 30), 1), state(v1.FAILED)),
    keeps_nothing(facts(state(v1.RUNNING)), state(v1.COMPLETED)),
)

TASK_SLOTS = table(
    KeepTaskSlots,
    "ReleaseTaskConcurrencySlots",
    TASK,
    *(
        keeps(facts(state(v1.RUNNING), slots=[SLOT]), state(to), {"slots": []}, force=True)
        for to in (*ENDS, v1.SCHEDULED, v1.PENDING, v1.PAUSED)
    ),
    keeps(retried(facts(state(v1.RUNNING), slots=[SLOT]), 1), state(v1.FAILED), {"slots": []}),
    keeps(facts(state(v1.PENDING), slots=[CLAIMED_BY]), state(v1.RUNNING), {"slots": [SLOT]}),
    keeps(facts(state(v1.PENDING), slot_wait=IN_LINE), state(v1.CANCELLED), {"slot_wait": None}),
    keeps_nothing(facts(state(v1.RUNNING), slots=[SLOT]), state(v1.CANCELLING)),
    keeps_nothing(facts(state(v1.RUNNING), slots=[SLOT]), state(v1.RUNNING)),
    keeps_nothing(facts(state(v1.RUNNING)), state(v1.COMPLETED)),
)

CASES: list[Case] = [
    *STAMP,
    *START,
    *END,
    *CLEAR_END,
    *RUN_TIME,
    *EXPECTED,
    *NEXT,
    *NO_NEXT,
    *COUNT_FLOW,
    *COUNT_TASK,
    *START_RESUMING,
    *END_RESUMING,
    *KEYS,
    *NO_KEYS,
    *FLOW_SLOTS,
    *TASK_SLOTS,
]


def test_the_rest_of_the_run_and_of_the_state_is_kept() -> None:
    run = facts(state(v1.PENDING), tags=["a", "b"])
    status = decided(FLOW, run, state(v1.COMPLETED, "Mine", message="well", result=STORED)).status
    assert (status.name, list(status.tags), status.version) == ("swift-fox", ["a", "b"], 7)
    assert (status.state.name, status.state.message, status.state.result) == ("Mine", "well", STORED)


@both_subjects
@forced_or_not
def test_a_first_run_from_schedule_to_end(subject: Subject, force: bool) -> None:
    """The life of a run, each status the facts of the next proposal."""
    run = facts()
    for second, proposed in enumerate(
        (state(v1.SCHEDULED, scheduled_time=at(1)), state(v1.PENDING), state(v1.RUNNING), state(v1.COMPLETED))
    ):
        run.now.CopyFrom(at(second))
        run.status.CopyFrom(decided(subject, run, proposed, force=force).status)
        assert run.status.HasField("next_scheduled_start_time") == (proposed.type == v1.SCHEDULED)
    assert run.status.expected_start_time == at(1)
    assert (run.status.start_time, run.status.end_time) == (at(2), at(3))
    assert (run.status.run_count, run.status.total_run_time) == (1, Duration(seconds=1))


def test_a_suspended_run_resumed_does_not_count_as_a_run() -> None:
    run = facts(state(v1.PAUSED, "Suspended", pause_reschedule=True), run_count=1)
    run.has_deployment = True
    for proposed in (state(v1.SCHEDULED, "Resuming"), state(v1.PENDING)):
        run.status.CopyFrom(decided(FLOW, run, proposed).status)
        assert run.status.resuming
    running = decided(FLOW, run, state(v1.RUNNING)).status
    assert (running.run_count, running.resuming) == (1, False)
