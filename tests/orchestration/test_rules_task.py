"""The rules of task runs, one table for each: when they speak, what they say, when they pass and when they fizzle."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.caching import CacheRetrieval, LimitCacheKeys
from playhead.engine.orchestration.rules.retrying import RenameReruns, RetryCrashedTasks, RetryFailedTasks
from playhead.engine.orchestration.rules.rule import NO_STATE
from playhead.engine.orchestration.rules.scheduling import CopyScheduledTime, WaitForScheduledTime
from playhead.engine.orchestration.rules.slots import SecureTaskConcurrencySlots
from playhead.engine.orchestration.rules.stopping import PreventRunningTasksFromStoppedFlows
from playhead.engine.orchestration.rules.terminal import HandleTaskTerminalStateTransitions, digest_of
from tests.orchestration.given import (
    STORED,
    TASK,
    at,
    cached,
    decided,
    facts,
    inside,
    limited,
    retried,
    short,
    spoke,
    state,
)
from tests.orchestration.rule_cases import (
    ABORTS,
    FIZZLES,
    RECORDS,
    REJECTS,
    RENAMES,
    REPLACES,
    WAITS,
    Case,
    passes,
    row,
    table,
)

WITH_KEY = state(v1.RUNNING, cache_key="k")
OTHER = v1.Result(reference=v1.ResultReference(url="file:///r", sha256=b"7" * 32), media_type="text/plain")
DUE_LATER = state(v1.SCHEDULED, "AwaitingRetry", scheduled_time=at(60))
HELD = state(v1.PAUSED, "NotReady", scheduled_time=at(60))
BOOM = state(v1.FAILED, message="boom", result=STORED)


def paused(**details: object) -> v1.Facts:
    """A task run that is due later, whose flow run is paused on these terms."""
    run = inside(facts(DUE_LATER), v1.PAUSED)
    run.flow_run.MergeFrom(v1.FlowRunFacts(**details))  # type: ignore[arg-type]  # Checked at run time.
    return run


def undone(given: v1.Facts) -> v1.Facts:
    """The same, where what the entry is of was rolled back."""
    given.cache_entry.state.details.rolled_back = True
    return given


def found_damaged(result: v1.Result) -> v1.State:
    """RUNNING with the key, of a process that could not read this result."""
    return state(v1.RUNNING, cache_key="k", damaged_result=digest_of(result))


def completed_with(digest: bytes) -> v1.Facts:
    """A task run that completed with arguments of this digest."""
    return facts(state(v1.COMPLETED, result=STORED, arguments_digest=digest), run_count=4)


def running_with(digest: bytes, cache_key: str = "") -> v1.State:
    """RUNNING with arguments of this digest."""
    return state(v1.RUNNING, arguments_digest=digest, cache_key=cache_key)


def failed(run_count: int) -> v1.Facts:
    """A task run that failed in that attempt."""
    return facts(state(v1.FAILED), run_count=run_count)


KEYS = table(
    LimitCacheKeys,
    "CacheInsertion",
    TASK,
    *(
        one
        for force in (False, True)
        for before, target in ((v1.PENDING, v1.RUNNING), (v1.RUNNING, v1.COMPLETED))
        for one in (
            row(facts(state(before)), state(target, cache_key="k" * 2001), REJECTS, "R", force=force),
            row(facts(state(before)), state(target, cache_key="ü" * 1001), REJECTS, "R", force=force),
            passes(facts(state(before)), state(target, cache_key="k" * 2000), force=force),
            passes(facts(state(before)), state(target, cache_key="ü" * 1000), force=force),
        )
    ),
)

FROM_CACHE = {
    "state.type": v1.COMPLETED,
    "state.message": "done",
    "state.result": STORED,
    "state.details": v1.StateDetails(cache_key="k", cache_expiration=at(60)),
    "state.revision": 0,
    "state.timestamp": at(0),
    "start_time": at(0),
    "end_time": at(0),
    "run_count": 0,
    "next_scheduled_start_time": None,
}
CACHE = table(
    CacheRetrieval,
    "CacheRetrieval",
    TASK,
    row(cached(facts()), WITH_KEY, REPLACES, "R>Cached", FROM_CACHE),
    # Even a run that is not due, of a flow run that is paused.
    row(inside(cached(facts(DUE_LATER)), v1.PAUSED), WITH_KEY, REPLACES, "R>Cached", FROM_CACHE),
    row(limited(cached(facts()), 0), WITH_KEY, REPLACES, "R>Cached"),
    row(cached(facts(state(v1.COMPLETED))), WITH_KEY, REPLACES, "R>Cached"),
    passes(cached(facts()), state(v1.RUNNING, cache_key="k", refresh_cache=True)),
    passes(cached(facts()), state(v1.RUNNING)),
    passes(facts(), WITH_KEY),
    passes(cached(facts(state(v1.RUNNING))), state(v1.COMPLETED, cache_key="k")),
    passes(cached(facts(state(v1.COMPLETED, result=STORED))), WITH_KEY, "R"),
    passes(undone(cached(facts())), WITH_KEY),
    # A damaged result answers nobody, be it the run's own or an entry's.
    row(cached(facts(state(v1.COMPLETED, result=OTHER))), found_damaged(OTHER), REPLACES, "R>Cached"),
    row(cached(facts()), found_damaged(OTHER), REPLACES, "R>Cached"),
    passes(cached(facts()), found_damaged(STORED)),
    passes(cached(facts(state(v1.COMPLETED, result=STORED))), found_damaged(STORED), "A=Rerunning"),
    # A result of other arguments is not this call's; one that the key finds is.
    row(cached(completed_with(b"1" * 32)), running_with(b"2" * 32, "k"), REPLACES, "R>Cached"),
    passes(cached(completed_with(b"1" * 32)), running_with(b"1" * 32, "k"), "R"),
)

TERMINAL = table(
    HandleTaskTerminalStateTransitions,
    "HandleTaskTerminalStateTransitions",
    TASK,
    row(facts(state(v1.COMPLETED)), state(v1.CRASHED), ABORTS, "X"),
    row(facts(state(v1.FAILED)), state(v1.PAUSED), ABORTS, "X"),
    row(facts(state(v1.COMPLETED, result=STORED)), state(v1.CANCELLING), ABORTS, "X"),
    *(
        row(facts(state(v1.COMPLETED, result=STORED)), state(target, result=STORED), REJECTS, "R")
        for target in (v1.SCHEDULED, v1.RUNNING, v1.COMPLETED, v1.FAILED, v1.CANCELLED)
    ),
    row(
        facts(state(v1.FAILED), run_count=4, end_time=at(-10)),
        state(v1.SCHEDULED),
        RECORDS,
        "A",
        {"run_count": 0, "end_time": None},
    ),
    row(failed(4), state(v1.RUNNING), RECORDS, "A", {"run_count": 1}),
    *(
        row(
            facts(state(v1.COMPLETED, result=result), run_count=4),
            found_damaged(result),
            RECORDS,
            "A=Rerunning",
            {"run_count": 1},
        )
        for result in (STORED, OTHER)
    ),
    row(facts(state(v1.COMPLETED, result=STORED)), found_damaged(OTHER), REJECTS, "R"),
    row(completed_with(b"1" * 32), running_with(b"2" * 32), RECORDS, "A=Rerunning", {"run_count": 1}),
    row(completed_with(b"1" * 32), running_with(b"1" * 32), REJECTS, "R"),
    row(completed_with(b""), running_with(b"1" * 32), REJECTS, "R"),
    row(completed_with(b"1" * 32), running_with(b""), REJECTS, "R"),
    row(
        inside(failed(4), v1.PAUSED),
        state(v1.RUNNING),
        FIZZLES,
        "R>NotReady",
        {"run_count": 4},
    ),
    row(inside(failed(4), v1.FAILED), state(v1.RUNNING), FIZZLES, "X"),
    row(limited(failed(4), 1, held=1), state(v1.RUNNING), FIZZLES, "W30", {"run_count": 4}),
    passes(failed(4), state(v1.CANCELLED)),
    passes(facts(state(v1.RUNNING)), state(v1.CRASHED)),
)

STOPPED = table(
    PreventRunningTasksFromStoppedFlows,
    "PreventRunningTasksFromStoppedFlows",
    TASK,
    row(
        paused(pause_timeout=at(90), pause_reschedule=True),
        state(v1.RUNNING),
        REPLACES,
        "R>NotReady",
        {
            "state.type": v1.PAUSED,
            "state.details": v1.StateDetails(pause_timeout=at(90), pause_reschedule=True, scheduled_time=at(60)),
        },
    ),
    *(
        row(inside(facts(state(v1.PENDING)), flow_run), state(v1.RUNNING), ABORTS, "X")
        for flow_run in (NO_STATE, v1.SCHEDULED, v1.PENDING, v1.COMPLETED, v1.CANCELLING, v1.CANCELLED)
    ),
    passes(inside(facts(state(v1.PENDING)), v1.RUNNING), state(v1.RUNNING)),
    passes(inside(facts(state(v1.PENDING)), v1.CANCELLING), state(v1.COMPLETED)),
    passes(facts(state(v1.PENDING)), state(v1.RUNNING)),
)

COPYING = table(
    CopyScheduledTime,
    "CopyScheduledTime",
    TASK,
    row(facts(DUE_LATER), state(v1.PENDING), RECORDS, "A", {"state.details.scheduled_time": at(60)}),
    row(facts(HELD), state(v1.PENDING), RECORDS, "A", {"state.details.scheduled_time": at(60)}),
    passes(facts(DUE_LATER), state(v1.PENDING, scheduled_time=at(5))),
    passes(facts(state(v1.PENDING)), state(v1.PENDING)),
)

WAITING = table(
    WaitForScheduledTime,
    "WaitForScheduledTime",
    TASK,
    row(facts(DUE_LATER), state(v1.RUNNING), WAITS, "W60"),
    row(inside(facts(HELD, run_count=1), v1.RUNNING), state(v1.RUNNING), WAITS, "W60"),
    passes(facts(state(v1.SCHEDULED, scheduled_time=at(-1))), state(v1.RUNNING)),
    passes(facts(state(v1.PENDING)), state(v1.RUNNING)),
)

TAKEN = [v1.HeldSlots(limit="tag:etl", count=1)]
SLOTS = table(
    SecureTaskConcurrencySlots,
    "SecureTaskConcurrencySlots",
    TASK,
    row(limited(facts(state(v1.PENDING)), 2, held=1), state(v1.RUNNING), RECORDS, "A", {"slots": TAKEN}),
    row(
        limited(facts(state(v1.PENDING)), 1, held=1),
        state(v1.RUNNING),
        WAITS,
        "W30",
        {"slots": [], "slot_wait.slots": TAKEN, "state.type": v1.PENDING},
    ),
    row(limited(facts(state(v1.PENDING)), 2, ahead=1), state(v1.RUNNING), WAITS, "W30", {"slot_wait.slots": TAKEN}),
    # It has a place in line already, and there is none left.
    row(limited(facts(state(v1.PENDING), slot_wait=v1.SlotWait(since=3)), 1, held=1), state(v1.RUNNING), WAITS, "W30"),
    row(limited(facts(state(v1.PENDING)), 1, held=1, ahead=10_000), state(v1.RUNNING), WAITS, "W30"),
    row(
        limited(facts(state(v1.PENDING)), 1, held=1, on_full=v1.CANCEL_NEW),
        state(v1.RUNNING),
        REPLACES,
        "R>Cancelled",
        {"slots": [], "slot_wait": None},
    ),
    row(
        limited(facts(state(v1.PENDING), slot_wait=v1.SlotWait(since=3)), 1, held=1, on_full=v1.CANCEL_NEW),
        state(v1.RUNNING),
        WAITS,
        "W30",
    ),
    row(limited(facts(state(v1.PENDING)), 0), state(v1.RUNNING), ABORTS, "X"),
    passes(facts(state(v1.PENDING)), state(v1.RUNNING)),
    passes(limited(facts(state(v1.RUNNING), run_count=1), 1, held=1), state(v1.RUNNING), "A=Rerunning"),
    passes(limited(facts(DUE_LATER), 1, held=1), state(v1.RUNNING), "W60"),
)

TRIED_AGAIN = {"state.type": v1.SCHEDULED, "state.message": "boom", "state.result": STORED, "end_time": None}
RETRYING = table(
    RetryFailedTasks,
    "RetryFailedTasks",
    TASK,
    row(retried(facts(state(v1.RUNNING), run_count=1), 2), BOOM, REPLACES, "R>AwaitingRetry", TRIED_AGAIN),
    row(
        retried(facts(state(v1.RUNNING), run_count=2), 2),
        state(v1.FAILED, message="boom", result=STORED, retriable=True),
        REPLACES,
        "R>AwaitingRetry",
        TRIED_AGAIN,
    ),
    passes(retried(facts(state(v1.RUNNING), run_count=3), 2), BOOM),
    passes(facts(state(v1.RUNNING), run_count=1), BOOM),
    passes(retried(facts(state(v1.RUNNING), run_count=1), 2), state(v1.FAILED, retriable=False)),
    passes(retried(facts(state(v1.RUNNING), run_count=1), 2), state(v1.CRASHED)),
)
LOST = state(v1.CRASHED, message="boom", result=STORED, retriable=True)
LOST_WORKERS = table(
    RetryCrashedTasks,
    "RetryCrashedTasks",
    TASK,
    row(retried(facts(state(v1.RUNNING), run_count=1), 2), LOST, REPLACES, "R>AwaitingRetry", TRIED_AGAIN),
    row(retried(facts(state(v1.RUNNING), run_count=2), 2), LOST, REPLACES, "R>AwaitingRetry", TRIED_AGAIN),
    passes(retried(facts(state(v1.RUNNING), run_count=3), 2), LOST),
    passes(facts(state(v1.RUNNING), run_count=1), LOST),
    passes(retried(facts(state(v1.RUNNING), run_count=1), 2), state(v1.CRASHED, retriable=False)),
    passes(retried(facts(state(v1.RUNNING), run_count=1), 2), state(v1.CRASHED)),
    passes(retried(facts(state(v1.PENDING)), 2), LOST),
)


def runs_again(before: v1.State, run_count: int, flow_run_run_count: int, flow_run_count: int) -> v1.Facts:
    """A task run that ran so often, the last time in that attempt of its flow run, which is in this one now."""
    run = facts(before, run_count=run_count, flow_run_run_count=flow_run_run_count)
    return inside(run, v1.RUNNING, flow_run_count)


MINE = state(v1.RUNNING, "Mine")
RERUNS = table(
    RenameReruns,
    "RenameReruns, HandleTaskTerminalStateTransitions",
    TASK,
    row(runs_again(state(v1.SCHEDULED, "AwaitingRetry"), 1, 1, 1), MINE, RENAMES, "A=Retrying"),
    row(runs_again(state(v1.PENDING), 1, 1, 1), MINE, RENAMES, "A=Rerunning"),
    row(runs_again(state(v1.RUNNING), 1, 1, 1), MINE, RENAMES, "A=Rerunning"),
    row(runs_again(state(v1.FAILED), 1, 1, 2), MINE, RENAMES, "A=Retrying", {"flow_run_run_count": 2}),
    row(facts(state(v1.COMPLETED, result=STORED)), found_damaged(STORED), RENAMES, "A=Rerunning"),
    row(completed_with(b"1" * 32), running_with(b"2" * 32), RENAMES, "A=Rerunning"),
    passes(runs_again(state(v1.PENDING), 0, 0, 1), MINE, "A=Mine"),
    passes(runs_again(state(v1.FAILED), 1, 1, 1), MINE, "A=Mine"),
    passes(limited(runs_again(state(v1.PENDING), 1, 1, 1), 1, held=1), MINE, "W30"),
)

CASES: list[Case] = [
    *KEYS,
    *CACHE,
    *TERMINAL,
    *STOPPED,
    *COPYING,
    *WAITING,
    *SLOTS,
    *RETRYING,
    *LOST_WORKERS,
    *RERUNS,
]


def test_force_runs_a_task_of_a_flow_run_that_does_not_run() -> None:
    run = inside(facts(state(v1.PENDING)), v1.CANCELLING)
    assert short(decided(TASK, run, state(v1.RUNNING), force=True)) == "A"


def test_a_held_run_goes_on_where_it_was() -> None:
    """Held back by a paused flow run, it still awaits its retry, then runs."""
    run = inside(facts(DUE_LATER, run_count=1), v1.PAUSED)
    held = decided(TASK, run, state(v1.RUNNING)).status
    resumed = inside(facts(held.state, run_count=1), v1.RUNNING)
    assert short(decided(TASK, resumed, state(v1.RUNNING))) == "W60"
    resumed.now.CopyFrom(at(60))
    assert short(decided(TASK, resumed, state(v1.RUNNING))) == "A=Rerunning"


def test_all_that_fizzles_is_on_record_with_what_undid_it() -> None:
    run = inside(failed(4), v1.PAUSED)
    assert spoke(decided(TASK, run, state(v1.RUNNING))) == [
        ("HandleTaskTerminalStateTransitions", FIZZLES),
        ("PreventRunningTasksFromStoppedFlows", REPLACES),
    ]
