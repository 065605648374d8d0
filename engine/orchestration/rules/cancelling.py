"""Cancelling flow runs."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, reject, replace
from playhead.engine.orchestration.rules.rule import STATES, Rule


class EnforceCancellingToCancelledTransition(Rule):
    """CANCELLING -> anything but CANCELLED: REJECT. A run that is to be cancelled ends so."""

    from_states = frozenset({v1.CANCELLING})
    to_states = STATES - {v1.CANCELLED}

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return reject("The run is being cancelled and can only become CANCELLED.")


class BypassCancellingFlowRunsWithNoInfra(Rule):
    """SCHEDULED, suspended PAUSED -> CANCELLING: REJECT > Cancelled, since no process is there to cancel itself. Force
    keeps it.

    Differs: a run that awaits a retry is cancelled at once too. The process that was to try again is refused.
    """

    from_states = frozenset({v1.SCHEDULED, v1.PAUSED})
    to_states = frozenset({v1.CANCELLING})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        state = facts.status.state
        if state.type == v1.PAUSED and not state.details.pause_reschedule:
            return None
        cancelled = v1.State(type=v1.CANCELLED, name="Cancelled", message=proposed.message)
        return replace(cancelled, "No process works on the run: it is cancelled at once.")
