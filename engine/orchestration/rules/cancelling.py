"""Cancelling flow runs."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, reject, replace
from playhead.engine.orchestration.rules.rule import NO_STATE, STATES, Rule


class EnforceCancellingToCancelledTransition(Rule):
    """CANCELLING -> anything but CANCELLED: REJECT. A run that is to be cancelled ends so."""

    from_states = frozenset({v1.CANCELLING})
    to_states = STATES - {v1.CANCELLED}

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return reject("The run is being cancelled and can only become CANCELLED.")


class BypassCancellingFlowRunsWithNoInfra(Rule):
    """no state, SCHEDULED, PENDING, suspended PAUSED -> CANCELLING without a lease: REJECT > Cancelled, since no
    process is there to cancel itself. Force keeps it.

    Differs: a run that has no state, or is PENDING, is cancelled at once too; Prefect waits for a process that may
    never be. What tells that a process works on a run is its lease: one that awaits a retry under it is CANCELLING.
    """

    from_states = frozenset({NO_STATE, v1.SCHEDULED, v1.PENDING, v1.PAUSED})
    to_states = frozenset({v1.CANCELLING})
    version = 2

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        state = facts.status.state
        if facts.status.HasField("lease") or (state.type == v1.PAUSED and not state.details.pause_reschedule):
            return None
        cancelled = v1.State(type=v1.CANCELLED, name="Cancelled", message=proposed.message)
        return replace(cancelled, "No process works on the run: it is cancelled at once.")
