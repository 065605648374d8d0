"""What falls due by itself: why it may be decided, and what is left when all of it has been.

Written from the contract's table of what falls due. A timer is somebody like anybody else: what it proposes is decided
by rules; here is said that it had a cause, and that it overlooks nothing.
"""

from __future__ import annotations

from playhead import v1
from playhead.journal.encoding import SECOND_US, micros_of
from tests.simulation.broken import hold, same
from tests.simulation.model import TERMINAL, Model, Run

LATE_US = 15 * SECOND_US
CANCELLING_US = 300 * SECOND_US

STOPPED = frozenset({v1.CANCELLING, v1.CANCELLED, v1.CRASHED})


def lapsed(run: Run, now_us: int) -> bool:
    """Nobody has renewed its lease in time."""
    return bool(run.status.lease.token) and run.lease_expires_us <= now_us


def overdue(run: Run, now_us: int) -> str:
    """What of a flow run's own has fallen due, if anything has."""
    status, state = run.status, run.status.state
    if state.type == v1.PAUSED and state.details.HasField("pause_timeout") and not stranded(run):
        return "a pause that timed out" if micros_of(state.details.pause_timeout) <= now_us else ""
    if state.type == v1.SCHEDULED and state.name == "Scheduled":
        return "a late run" if micros_of(status.next_scheduled_start_time) + LATE_US <= now_us else ""
    if state.type == v1.CANCELLING and not status.HasField("lease"):
        return "a cancellation that nobody ends" if micros_of(state.timestamp) + CANCELLING_US <= now_us else ""
    return ""


def stranded(run: Run) -> bool:
    """It was suspended, by force, though nothing would start it again: it can only be cancelled."""
    state = run.status.state
    suspended = state.type == v1.PAUSED and state.details.pause_reschedule
    return suspended and isinstance(run.spec, v1.FlowRunSpec) and not run.spec.deployment_id


def unclaimed(run: Run, now_us: int) -> bool:
    """It was given slots in line and has not gone on with them in time."""
    return any(held.HasField("claim_by") and micros_of(held.claim_by) <= now_us for held in run.status.slots)


def caller_of(model: Model, run: Run) -> Run | None:
    """The flow run that a task run is in, or that a subflow run was called by."""
    if isinstance(run.spec, v1.TaskRunSpec):
        return model.runs.get(run.parent_id)
    tracking = model.runs.get(run.spec.parent_task_run_id)
    return model.runs.get(tracking.parent_id) if tracking is not None else None


def left_over(model: Model, run: Run) -> bool:
    """It has not ended, and the flow run around it was stopped; it is to end, or to be told."""
    caller = caller_of(model, run)
    stopped = caller.status.state.type if caller is not None else 0
    if run.status.state.type in TERMINAL or stopped not in STOPPED:
        return False
    if run.is_task:
        return stopped != v1.CANCELLING and not _stands_for_one_that_goes_on(model, run)
    if run.status.state.type == v1.CANCELLING:
        return False
    return stopped != v1.CRASHED or not (run.status.HasField("lease") or stranded(run))


def check_cause(model: Model, run: Run, proposed: v1.StateProposed, now_us: int) -> None:
    """What a timer has changed had fallen due."""
    if proposed.HasField("status"):
        cause = lapsed(run, now_us) or unclaimed(run, now_us) or overdue(run, now_us) or left_over(model, run)
        hold(cause, "nothing is decided by a timer that has not fallen due", proposed)


def check_at_rest(model: Model, now_us: int) -> None:
    """Once nothing more happens by itself, nothing is left to happen."""
    same(
        sorted(model.users), sorted(run.id for run in model.runs.values() if run.uses_slots), "who uses slots is known"
    )
    for run in model.runs.values():
        same(lapsed(run, now_us), False, f"a lapsed lease is given up: {run.id}")
        same(unclaimed(run, now_us), False, f"slots that nobody claims are given on: {run.id}")
        same("" if run.is_task else overdue(run, now_us), "", f"what is overdue is decided: {run.id}")
        same(left_over(model, run), False, f"what a stopped flow run leaves is ended: {run.id} in {run.status.state}")


def _stands_for_one_that_goes_on(model: Model, task_run: Run) -> bool:
    """It tracks a subflow run that has not ended: it will be told what becomes of that."""
    return any(
        isinstance(run.spec, v1.FlowRunSpec)
        and run.spec.parent_task_run_id == task_run.id
        and run.status.state.type not in TERMINAL
        for run in model.runs.values()
    )
