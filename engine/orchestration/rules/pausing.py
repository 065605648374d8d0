"""Pausing flow runs and resuming them, with input if the pause asks for it. Pause keys and the `resuming` mark are
bookkeeping.
"""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration import run_input
from playhead.engine.orchestration.rules.effects import Effect, abort, reject, replace
from playhead.engine.orchestration.rules.moments import micros
from playhead.engine.orchestration.rules.rule import STATES, TERMINAL, Rule

RESUME_STATES = TERMINAL | {v1.RUNNING, v1.SCHEDULED}
"""Where a paused run may go."""


class HandlePausingFlows(Rule):
    """any -> PAUSED: ABORT for a run without a state; REJECT unless RUNNING; REJECT when the pause key was used in this
    attempt, so a replayed flow passes the pauses it has passed. Suspending: ABORT a subflow, ABORT without a
    deployment.
    """

    to_states = frozenset({v1.PAUSED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        status, details = facts.status, proposed.details
        if not status.HasField("state"):
            return abort("A run that has no state yet cannot pause.")
        if status.state.type != v1.RUNNING:
            return reject("Only a RUNNING run can pause.")
        if details.pause_key and details.pause_key in status.pause_keys:
            return reject("This pause has been passed already.")
        return suspension_refused(facts) if details.pause_reschedule else None


class HandleResumingPausedFlows(Rule):
    """PAUSED -> PENDING, PAUSED: REJECT. Suspended without a deployment -> any but CANCELLING: REJECT. Past
    pause_timeout -> any but CANCELLING: REJECT > Failed. PAUSED -> RUNNING with a lease asked for: REJECT, since a
    process that begins to work on a run is nobody's word that it may go on.

    Differs: a paused run that is executed stays paused until it is resumed; in Prefect that resumes it, and its pause
    has been passed without anybody's approval. A blocking pause can be cancelled, and the process that waits in it ends
    the run as CANCELLED; Prefect refuses, so that only a resume or the timeout ends the pause. A refused resume leaves
    no trace; Prefect marked the run as resuming and so lost the count of its next attempt.
    """

    from_states = frozenset({v1.PAUSED})
    to_states = STATES - {v1.CANCELLING}
    version = 3

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        details = facts.status.state.details
        if proposed.type not in RESUME_STATES:
            return reject("A paused run can only run, be scheduled or end.")
        if details.pause_reschedule and not facts.has_deployment:
            return reject("A suspended run without a deployment cannot be resumed: nothing would start it.")
        if details.HasField("pause_timeout") and micros(details.pause_timeout) <= micros(facts.now):
            failed = v1.State(type=v1.FAILED, name="Failed", message="The flow was paused and never resumed.")
            return replace(failed, "The pause has timed out.")
        if proposed.type == v1.RUNNING and command.HasField("lease_ttl"):
            return reject("A paused run is to be resumed before a process can work on it.")
        return None


class ValidateRunInput(Rule):
    """PAUSED with a run_input_schema -> RUNNING, SCHEDULED: REJECT without run_input, or with one that does not fit,
    each misfit with its place; -> COMPLETED: REJECT, since the run has not had what it asked for. any -> RUNNING,
    SCHEDULED with a run_input that no pause asked for: REJECT. Force lets any input pass, and none.

    Differs: it is a rule, so the refusal is on record and can be decided again; in Prefect the endpoint checks, and a
    RUNNING or COMPLETED that is proposed directly brings no input and needs none.
    """

    to_states = frozenset({v1.RUNNING, v1.SCHEDULED, v1.COMPLETED})
    version = 3

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        schema, given = facts.status.state.details.run_input_schema, proposed.details.run_input
        if not schema:
            return reject("run_input: nobody asked for it.") if given else None
        if not given:
            return reject("run_input: the pause asks for it, and there is none.")
        misfits = run_input.misfits(schema, given)
        return reject("; ".join(misfits)) if misfits else None


def suspension_refused(facts: v1.Facts) -> Effect | None:
    """Suspending ends the process, so there must be something that starts the run again."""
    if facts.is_subflow:
        return abort("A subflow cannot be suspended: it has no process of its own to end.")
    if not facts.has_deployment:
        return abort("A run without a deployment cannot be suspended: nothing would start it again.")
    return None
