"""How a flow run ends, or is left: what is proposed then, who is told, and what its log says."""

from __future__ import annotations

from uuid import UUID

from playhead import v1
from playhead.client.interface import GET_FLOW_RUN
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.effects import Ask, Loop
from playhead.engine.execution.hooks import run_hooks
from playhead.engine.execution.outcomes import stored
from playhead.engine.execution.proposals import FLOW_STOPPED, propose
from playhead.engine.execution.translation import TYPE_OF, datetime_of, message_of, state_of
from playhead.engine.signals import Abort
from playhead.exceptions import RunRefused
from playhead.logging.loggers import RunLogger
from playhead.runs import FlowRun
from playhead.states import Cancelled, State, StateType, exception_to_failed_state


def finish(
    call: FlowCall, run: FlowRun, state: State[object], response: v1.ProposeStateResponse, logger: RunLogger
) -> Loop[State[object]]:
    """A state was accepted, or another one put in its place: it is the run's, and its hooks are called."""
    if state.type != TYPE_OF[response.state.type]:
        state = state_of(response.state)
    state.name, state.message = response.state.name or state.name, response.state.message or state.message
    state.timestamp = datetime_of(response.state.timestamp)
    state.state_details.flow_run_id = UUID(run.run_id)
    run.state = state
    yield from run_hooks(call.flow, run, state, logger)
    log_end(state, logger)
    return state


def stop(call: FlowCall, run: FlowRun, abort: Abort, logger: RunLogger) -> Loop[State[object]]:
    """The service refused to let the run go on: end it as was asked for, or take the state it is in."""
    answer: v1.GetFlowRunResponse = yield Ask(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=run.run_id))
    if answer.flow_run.status.state.type == v1.CANCELLING:
        return (yield from cancel(call, run, logger))
    state = state_of(answer.flow_run.status.state, flow_run_id=run.run_id)
    if state.state_details.pause_reschedule or state.name == "Resuming":
        # Its lease has ended because it was suspended.
        return _leave(run, state, logger)
    if not state.is_final():
        ours = call.existing is None or answer.flow_run.status.lease.token == run.lease_token != 0
        if call.begun and call.parent is None and state.is_scheduled():
            return _left_to_others(run, state, abort, logger)
        if not ours or not abort.rule or abort.rule in FLOW_STOPPED:
            raise abort
        return (yield from _refused(call, run, abort, logger))
    logger.warning("The flow run has ended meanwhile, in state %s: %s", state, abort)
    run.state = state
    return state


def is_ours_to_retry(caller: FlowRun, run: FlowRun) -> Loop[bool]:
    """Whether a subflow run was given up and scheduled again while its caller was not: nobody else takes it up."""
    answer: v1.GetFlowRunResponse = yield Ask(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=run.run_id))
    if answer.flow_run.status.state.type != v1.SCHEDULED:
        return False
    answer = yield Ask(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=caller.run_id))
    return answer.flow_run.status.lease.token == caller.lease_token != 0


def _left_to_others(run: FlowRun, state: State[object], abort: Abort, logger: RunLogger) -> State[object]:
    """The run was given up, and is scheduled again: whoever takes it up goes on with it."""
    how = f"To go on with it: python -m playhead.engine {run.run_id}"
    logger.warning("The flow run was given up here and is in state %r: %s %s", state.name, abort, how)
    run.state = state
    return state


def _refused(call: FlowCall, run: FlowRun, abort: Abort, logger: RunLogger) -> Loop[State[object]]:
    """A rule speaks against a run of this process's own: it has failed. Raises `Abort` when not even that may be."""
    error = RunRefused(f"{abort.rule}: {abort}")
    state = exception_to_failed_state(error, "Flow run was refused")
    state, message = stored(state, call.flow, logger)
    message.details.retriable = False
    request = v1.ProposeStateRequest(flow_run_id=run.run_id, state=message, lease_token=run.lease_token)
    response = yield from propose(request)
    return (yield from finish(call, run, state, response, logger))


def cancel(call: FlowCall, run: FlowRun, logger: RunLogger) -> Loop[State[object]]:
    """The run was asked to cancel: it ends as CANCELLED."""
    logger.info("The flow run was asked to cancel from outside, and ends.")
    state = Cancelled()
    message = message_of(state)
    request = v1.ProposeStateRequest(flow_run_id=run.run_id, state=message, lease_token=run.lease_token)
    response = yield from propose(request)
    return (yield from finish(call, run, state, response, logger))


def suspend(run: FlowRun, logger: RunLogger) -> Loop[State[object]]:
    """The run is paused and is executed again later: leave it in its state."""
    answer: v1.GetFlowRunResponse = yield Ask(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=run.run_id))
    return _leave(run, state_of(answer.flow_run.status.state, flow_run_id=run.run_id), logger)


def _leave(run: FlowRun, state: State[object], logger: RunLogger) -> State[object]:
    run.state = state
    _log_pause(state, logger)
    return state


def log_end(state: State[object], logger: RunLogger) -> None:
    """Say how the run has ended, or that it is paused."""
    if state.type == StateType.PAUSED:
        _log_pause(state, logger)
    elif state.type == StateType.COMPLETED:
        logger.info("Finished in state %s", state)
    else:
        logger.error("Finished in state %s", state)


def _log_pause(state: State[object], logger: RunLogger) -> None:
    until = state.state_details.pause_timeout
    in_time = f" Resume before {until.isoformat()} to finish execution." if until else ""
    logger.info("Currently paused and suspending execution.%s", in_time)
