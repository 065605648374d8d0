"""Runs that are due later."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, amend, reject, wait
from playhead.engine.orchestration.rules.moments import micros, nearest_seconds_until
from playhead.engine.orchestration.rules.rule import Rule

LATE = "Late"
"""What a flow run is named that did not start in time."""


class EnsureOnlyScheduledFlowsMarkedLate(Rule):
    """any -> SCHEDULED named "Late": REJECT unless the run is SCHEDULED, named "Scheduled" and due; it keeps its due
    time.

    Differs: Prefect 3.7 accepts a second Late and leaves name and due time to the one service that looks for late runs.
    Here any number of processes look, so the rule is what keeps a run from becoming Late twice, or after it was put
    off.
    """

    to_states = frozenset({v1.SCHEDULED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if proposed.name != LATE:
            return None
        state = facts.status.state
        if state.type != v1.SCHEDULED or state.name != "Scheduled":
            return reject('Only a run that is SCHEDULED and named "Scheduled" becomes late.')
        if micros(state.details.scheduled_time) > micros(facts.now):
            return reject("The run is not due yet.")
        return None if proposed.details.HasField("scheduled_time") else carry_due_time(state, proposed)


class CopyScheduledTime(Rule):
    """SCHEDULED, PENDING, PAUSED -> PENDING: passes and carries the due time on, unless the proposal has one.

    Differs: from PENDING and PAUSED too, so that neither a new name nor a task run held as NotReady forgets when it is
    due.
    """

    from_states = frozenset({v1.SCHEDULED, v1.PENDING, v1.PAUSED})
    to_states = frozenset({v1.PENDING})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        state = facts.status.state
        if not state.details.HasField("scheduled_time") or proposed.details.HasField("scheduled_time"):
            return None
        return carry_due_time(state, proposed)


class WaitForScheduledTime(Rule):
    """SCHEDULED, PENDING, PAUSED -> RUNNING: WAIT until the run is due, whole seconds by the journal's clock.

    The seconds are rounded to the nearest, so a run less than half a second early may start. One that stands in line
    for slots passes: it waits for them, and is told so by the rule that gives them. Differs: from PAUSED too, for task
    runs held as NotReady, which keep their due time here.
    """

    from_states = frozenset({v1.SCHEDULED, v1.PENDING, v1.PAUSED})
    to_states = frozenset({v1.RUNNING})
    version = 2

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if facts.status.HasField("slot_wait"):
            return None
        delay_s = nearest_seconds_until(facts.status.state.details.scheduled_time, facts.now)
        return wait(delay_s, "The run is not due yet.") if delay_s > 0 else None


def carry_due_time(state: v1.State, proposed: v1.State) -> Effect:
    """The proposal with the due time of the run's state."""
    amended = v1.State()
    amended.CopyFrom(proposed)
    amended.details.scheduled_time.CopyFrom(state.details.scheduled_time)
    return amend(amended, "scheduled_time is carried on.")
