"""Pausing flow runs and resuming them.

from its own code     PAUSED, and the code waits here; or, suspended, the process leaves the run
from anywhere else    PAUSED, and the run notices at its next call of a task or flow: see `proposals.until_resumed`
the same pause again  of a run that is executed again and has passed it: nothing happens, its input is read again
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from playhead import v1
from playhead.client.interface import GET_FLOW_RUN, LIST_STATES, PAUSE_FLOW_RUN, RESUME_FLOW_RUN
from playhead.context import FlowRunContext
from playhead.engine.execution.effects import Ask, AwaitState, Loop
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.options import check_options
from playhead.engine.execution.proposals import answer_to, until_goes_on, until_resumed
from playhead.engine.execution.translation import TYPE_OF, state_of
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import FlowPauseTimeout, FlowRunWaitTimeout, NotPausedError
from playhead.logging.loggers import flow_run_logger, get_logger
from playhead.state import TERMINAL_STATES

STATES_PAGE = 1_000


def pause_here(
    context: FlowRunContext, timeout_s: float | None, key: str | None, reschedule: bool, schema: bytes = b""
) -> Loop[bytes]:
    """Pause the flow run that the code is in, until it is resumed; the input that it was resumed with, JSON.

    `timeout_s` None: for ever. `schema` is the JSON Schema of the input that is asked for; empty: none is. With
    `reschedule`, after the calls that were submitted have ended, raises `Pause`, which leaves the run. Raises
    `FlowPauseTimeout` when nobody has resumed it in time, RuntimeError when it can not be paused.
    """
    run, progress = context.flow_run, context.progress
    progress.check()
    context.observed_flow_pauses["counter"] += 1
    key = key or f"{context.branch}{context.observed_flow_pauses['counter']}"
    logger = flow_run_logger(run)
    if reschedule:
        logger.info("Suspending flow run, execution will be rescheduled when this flow run is resumed.")
        yield from progress.drain()
    else:
        logger.info("Pausing flow, execution will continue when this flow run is resumed.")
    request = _request(run.run_id, timeout_s, key, reschedule, schema)
    response = yield from _paused(request)
    if response.state.type != v1.RUNNING:
        if reschedule:
            raise Pause("The flow run was suspended.", state=state_of(response.state, flow_run_id=run.run_id))
        yield from until_goes_on(run.run_id, response)
        logger.info("Resuming flow run execution!")
    return (yield from input_of(run.run_id, lambda state: state.details.pause_key == key)) if schema else b""


def pause_elsewhere(
    flow_run_id: str, timeout_s: float | None, key: str | None, reschedule: bool, schema: bytes = b""
) -> Loop[None]:
    """Pause a flow run by its id: it notices at its next call. Raises RuntimeError when it can not be paused."""
    request = _request(flow_run_id, timeout_s, key, reschedule, schema)
    request.request_id = new_id()
    response = yield from answer_to(PAUSE_FLOW_RUN, request)
    if response.decision != v1.ACCEPT:
        raise RuntimeError(response.reason)


def resume(flow_run_id: str, run_input: bytes) -> Loop[None]:
    """Let a paused flow run go on.

    Raises `NotPausedError`; `FlowPauseTimeout` when it was not resumed in time, and has failed; RuntimeError when it is
    refused for another reason, as for input that does not fit.
    """
    request = v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=flow_run_id, run_input=run_input)
    response = yield from answer_to(RESUME_FLOW_RUN, request)
    if response.decision == v1.ABORT:
        raise NotPausedError("Cannot resume a run that isn't paused!")
    if response.decision == v1.REJECT and response.state.type == v1.FAILED:
        raise FlowPauseTimeout("Flow run can no longer be resumed.")
    if response.decision == v1.REJECT:
        raise RuntimeError(f"Cannot resume this run: {response.reason}")


def wait_for_end(flow_run_id: str, timeout_s: float | None, log_states: bool) -> Loop[v1.FlowRun]:
    """Wait for the end of a flow run. Raises `FlowRunWaitTimeout`."""
    seen = 0
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left_s = None if end is None else max(end - time.monotonic(), 0.0)
        wanted = partial(_is_news, seen, log_states)
        state: v1.State | None = yield AwaitState(flow_run_id, wanted, left_s)
        if state is None:
            raise FlowRunWaitTimeout(f"Flow run with ID {flow_run_id} exceeded watch timeout of {timeout_s} seconds")
        if log_states:
            get_logger("flow_runs").info("Flow run %s is in state %r", flow_run_id, state.name)
        if _is_terminal(state):
            answer: v1.GetFlowRunResponse = yield Ask(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=flow_run_id))
            return answer.flow_run
        seen = state.revision


def _request(
    flow_run_id: str, timeout_s: float | None, key: str | None, reschedule: bool, schema: bytes
) -> v1.PauseFlowRunRequest:
    check_options({"timeout": timeout_s, "key": key})
    request = v1.PauseFlowRunRequest(
        flow_run_id=flow_run_id, reschedule=reschedule, pause_key=key or "", run_input_schema=schema
    )
    if timeout_s is not None:
        request.timeout.FromMicroseconds(round(timeout_s * 1e6))
    return request


def _paused(request: v1.PauseFlowRunRequest) -> Loop[v1.ProposeStateResponse]:
    """Ask for a pause until it is this one; RUNNING: it has been passed before."""
    what = "suspended" if request.reschedule else "paused"
    while True:
        request.request_id = new_id()
        response = yield from answer_to(PAUSE_FLOW_RUN, request)
        state = response.state
        if response.decision == v1.ABORT:
            raise RuntimeError(f"Flow run cannot be {what}: {response.reason}")
        if response.decision == v1.ACCEPT or state.type == v1.RUNNING:
            return response
        if state.type == v1.CANCELLING:
            raise Abort(response.reason)
        if state.type != v1.PAUSED:
            raise RuntimeError(f"Flow run cannot be {what}. Received unexpected state {state.name}: {response.reason}")
        # Somebody else has paused it a moment before.
        yield from until_resumed(request.flow_run_id, response)


def input_of(flow_run_id: str, is_asked_for: Callable[[v1.State], bool]) -> Loop[bytes]:
    """The input that the last pause that is asked for was resumed with: it stands in the state that followed."""
    request = v1.ListStatesRequest(flow_run_id=flow_run_id, page_size=STATES_PAGE)
    found, follows = b"", False
    while True:
        page: v1.ListStatesResponse = yield Ask(LIST_STATES, request)
        for state in page.states:
            if follows:
                found = state.details.run_input
            follows = state.type == v1.PAUSED and is_asked_for(state)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def _is_news(seen: int, log_states: bool, state: v1.State) -> bool:
    return state.revision > seen and (log_states or _is_terminal(state))


def _is_terminal(state: v1.State) -> bool:
    return TYPE_OF[state.type] in TERMINAL_STATES
