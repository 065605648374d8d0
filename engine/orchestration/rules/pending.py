"""Who may start a flow run."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, abort
from playhead.engine.orchestration.rules.rule import Rule


class PreventPendingTransitions(Rule):
    """PENDING, RUNNING, CANCELLING, CANCELLED -> PENDING: ABORT, so of two workers that race for a run the second
    stops. PENDING -> PENDING under a new name other than "Pending" passes: progress of the same start ("Submitting").
    """

    from_states = frozenset({v1.PENDING, v1.RUNNING, v1.CANCELLING, v1.CANCELLED})
    to_states = frozenset({v1.PENDING})
    version = 2

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        state = facts.status.state
        if state.type == v1.PENDING and proposed.name not in (state.name, "Pending"):
            return None
        if state.type == v1.CANCELLED:
            return abort("The run is CANCELLED: it starts again as RUNNING, not as PENDING.")
        return abort(f"The run is {v1.StateType.Name(state.type)}: another process may have it.")
