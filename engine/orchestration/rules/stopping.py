"""Tasks of flow runs that do not run."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, abort, replace
from playhead.engine.orchestration.rules.rule import Rule, StateType


class PreventRunningTasksFromStoppedFlows(Rule):
    """any -> RUNNING while the flow run is PAUSED: REJECT > PAUSED "NotReady"; while it is in any other state than
    RUNNING, or in none: ABORT. Task runs outside a flow run pass.

    Differs: NotReady keeps the due time of a run that was scheduled or awaits a retry, and it is waited for after the
    pause.
    """

    to_states = frozenset({v1.RUNNING})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        flow_run = facts.flow_run
        if flow_run.state_type == v1.RUNNING or not facts.HasField("flow_run"):
            return None
        if flow_run.state_type == v1.PAUSED:
            return replace(not_ready(facts), "The flow run is paused.")
        return abort("The flow run is not running.")


def not_ready(facts: v1.Facts) -> v1.State:
    """PAUSED with the terms of the flow run's pause and the task run's own due time."""
    state = v1.State(type=v1.PAUSED, name="NotReady", message="The flow run is paused.")
    state.details.pause_reschedule = facts.flow_run.pause_reschedule
    if facts.flow_run.HasField("pause_timeout"):
        state.details.pause_timeout.CopyFrom(facts.flow_run.pause_timeout)
    if facts.status.state.details.HasField("scheduled_time"):
        state.details.scheduled_time.CopyFrom(facts.status.state.details.scheduled_time)
    return state


def left_by(flow_run_type: StateType) -> v1.State | None:
    """What a task run ends as that its flow run leaves unfinished, or never began, when stopped; None: it is not."""
    if flow_run_type == v1.CRASHED:
        return v1.State(type=v1.CRASHED, message="The flow run that it belongs to has crashed.")
    if flow_run_type in (v1.CANCELLING, v1.CANCELLED):
        return v1.State(type=v1.CANCELLED, message="The flow run that it belongs to was cancelled.")
    return None
