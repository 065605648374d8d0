"""Proposing states: the four answers, as the loops need them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from playhead import v1
from playhead.client.interface import GET_FLOW_RUN, PROPOSE_STATE, Response, Unary
from playhead.context import FlowRunContext
from playhead.engine.execution.effects import Ask, AwaitState, AwaitTurn, Loop, Sleep
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.translation import TYPE_OF, state_of
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import FlowPauseTimeout, QueueFull, is_unanswered
from playhead.logging.loggers import RunLogger, flow_run_logger, get_logger
from playhead.state import TERMINAL_STATES, State

QUEUE_PAUSE_S_MIN = 0.01
QUEUE_PAUSE_S_MAX = 1.0

LEASE_LOST = "FenceLateReports"
"""The rule that refuses what a process proposes that was given up."""

LEASE_LIVES = "WaitForLiveLease"
"""The rule that lets a flow run wait while another process works on it, or has died and its lease has not lapsed."""

FLOW_STOPPED = frozenset({LEASE_LOST, "PreventRunningTasksFromStoppedFlows"})
"""Rules whose refusal of a task run says that its flow run must not go on."""

ASK_AGAIN_S = 30.0
"""How long a run in line relies on being told of its turn."""


LAST_WORD_S = 2.0
"""How long a run's end is proposed that came because nobody answers: that was waited for already."""

WAIT_UNTOLD_S = 1.0
"""A run's log is told of every wait that is longer."""


class Line:
    """A run's place in a line for slots, told in its log once: for what it waits, and when it has it."""

    def __init__(self, logger: RunLogger | None) -> None:
        self._logger = logger
        self._waits = False

    def hear(self, response: v1.ProposeStateResponse) -> None:
        """What the run was answered."""
        if self._logger is None:
            return
        if response.waits_for_slots and not self._waits:
            self._waits = True
            self._logger.info("%s Waiting in line.", response.reason)
        elif response.decision == v1.ACCEPT and self._waits:
            self._logger.info("Got its slots, and goes on.")


def propose(
    request: v1.ProposeStateRequest,
    flow_run_id: str = "",
    logger: RunLogger | None = None,
    timeout_s: float | None = None,
) -> Loop[v1.ProposeStateResponse]:
    """Propose until it is decided; `logger`, or else the engine's, is told of waiting. `timeout_s` bounds each request.

    WAIT lets its time pass and proposes again, sooner when the flow run comes to another state; a run that stands in
    line for slots proposes again when it is its turn; a task run whose flow run, `flow_run_id`, is paused, when that
    goes on. ACCEPT and REJECT are answered: look at the response's state. Raises `Abort` when the run must not go on,
    as when its lease has been taken from this process, `Pause` when it was moved to PAUSED and is to be run again
    later, `FlowPauseTimeout` when the flow run was not resumed in time.
    """
    line = Line(logger)
    while True:
        request.request_id = new_id()
        response = yield from answer_to(PROPOSE_STATE, request, timeout_s)
        line.hear(response)
        if response.decision == v1.ACCEPT:
            return response
        if response.decision == v1.ABORT or response.rule == LEASE_LOST:
            raise Abort(response.reason, response.rule, response.run_id)
        if response.waits_for_slots:
            yield from _in_line(request, response, flow_run_id)
        elif response.decision == v1.WAIT:
            yield from _as_told(request, response, flow_run_id, logger)
        elif response.state.type == v1.PAUSED:
            yield from until_resumed(flow_run_id, response)
        else:
            return response


def _as_told(
    request: v1.ProposeStateRequest, response: v1.ProposeStateResponse, flow_run_id: str, logger: RunLogger | None
) -> Loop[None]:
    """Wait as long as a rule says, and say so.

    Raises `Abort` when a flow run that waits is cancelled meanwhile, or that of a task run whose end waits; a task run
    that waits for its start asks then, and is refused on record.
    """
    seconds = response.delay.seconds + response.delay.nanos / 1e9
    get_logger("engine").debug("Received wait instruction for %gs: %s", seconds, response.reason)
    is_flow_run = _is_of_flow_run(request)
    if seconds > WAIT_UNTOLD_S:
        told, reason = logger or get_logger("engine"), response.reason
        if response.rule == LEASE_LIVES and is_flow_run:
            reason = yield from _who_holds_it(response.run_id, seconds)
        told.info("%s: %s Asking again in %s.", response.rule, reason, timedelta(seconds=seconds))
    if flow_run_id and TYPE_OF[request.state.type] in TERMINAL_STATES:
        cancelled: v1.State | None = yield AwaitState(flow_run_id, _is_cancelled, seconds)
        if cancelled is not None:
            raise Abort(f"A task run's end had to wait, and its flow run is {cancelled.name} now.")
        return
    state = yield from pass_time(seconds, response.run_id if is_flow_run else flow_run_id, response.meta.revision)
    if is_flow_run and state is not None and _is_cancelled(state):
        raise Abort(f"The flow run waited, and is {state.name} now.", run_id=response.run_id)


def _is_cancelled(state: v1.State) -> bool:
    return state.type in (v1.CANCELLING, v1.CANCELLED)


def _who_holds_it(flow_run_id: str, seconds: float) -> Loop[str]:
    """Whose lease a flow run waits for, and until when, by the clock of this machine."""
    answer: v1.GetFlowRunResponse = yield Ask(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=flow_run_id))
    until = datetime.now() + timedelta(seconds=seconds)
    return f"{answer.flow_run.status.lease.holder} holds the run's lease, until {until:%H:%M:%S} if it has died."


def pass_time(seconds: float, flow_run_id: str, since: int) -> Loop[v1.State | None]:
    """Let time pass, until a flow run comes to a state after a revision, which is answered; "": no flow run."""
    if not flow_run_id:
        yield Sleep(seconds)
        return None
    state: v1.State | None = yield AwaitState(flow_run_id, lambda state: state.revision > since, seconds)
    return state


def _is_of_flow_run(request: v1.ProposeStateRequest) -> bool:
    return request.WhichOneof("run") in ("flow_run_id", "create_flow_run")


def _in_line(request: v1.ProposeStateRequest, response: v1.ProposeStateResponse, flow_run_id: str) -> Loop[None]:
    """Wait for the turn of a run that stands in line. Raises `Abort` when a flow run is ended meanwhile."""
    if not _is_of_flow_run(request):
        yield AwaitTurn(response.run_id, response.meta.revision, ASK_AGAIN_S, flow_run_id)
        return
    # Whatever becomes of a flow run in line is a new state of it.
    since = response.state.revision
    state: v1.State | None = yield AwaitState(response.run_id, lambda state: state.revision > since, ASK_AGAIN_S)
    if state is not None and state.type != v1.SCHEDULED:
        raise Abort(f"The flow run stood in line for slots, and is {state.name} now.", run_id=response.run_id)


def until_resumed(flow_run_id: str, paused: v1.ProposeStateResponse) -> Loop[None]:
    """Wait until a flow run goes on that an answer has found paused from outside, and tell its log of it once.

    Raises as `until_goes_on`.
    """
    context = FlowRunContext.get()
    if context is None or context.progress is None or context.flow_run.run_id != flow_run_id:
        yield from until_goes_on(flow_run_id, paused)
        return
    tells = not paused.state.details.pause_reschedule and context.progress.hears_of_pause(paused.meta.revision)
    logger = flow_run_logger(context.flow_run)
    if tells:
        logger.info("The flow run was paused from outside: it waits until it is resumed.")
    revision = yield from until_goes_on(flow_run_id, paused)
    if tells:
        context.progress.hears_of_resume(revision)
        logger.info("The flow run was resumed, and goes on.")


def until_goes_on(flow_run_id: str, paused: v1.ProposeStateResponse) -> Loop[int]:
    """Wait until a paused flow run goes on; the revision at which it does.

    Raises `FlowPauseTimeout` when that takes longer than the pause may last, by the journal's clock; `Abort` when the
    run is to end instead; `Pause` when this process is not to wait: the run is run again later, or is not known.
    """
    state, details, seconds = paused.state, paused.state.details, None
    if not flow_run_id or details.pause_reschedule:
        raise Pause(paused.reason, state=state_of(state))
    if details.HasField("pause_timeout"):
        seconds = max((details.pause_timeout.ToMicroseconds() - state.timestamp.ToMicroseconds()) / 1e6, 0.0)
    revision = paused.meta.revision
    going_on: v1.State | None = yield AwaitState(flow_run_id, lambda state: state.revision > revision, seconds)
    if going_on is None or going_on.type == v1.FAILED:
        raise FlowPauseTimeout("Flow run was paused and never resumed.")
    if going_on.type not in (v1.RUNNING, v1.PAUSED):
        raise Abort(f"The flow run was paused and is {going_on.name} now.")
    return going_on.revision


def due_in_s(state: v1.State) -> float:
    """Seconds from a SCHEDULED state to when its run is due, by the journal's clock; a WAIT tells whole ones."""
    due = state.details.scheduled_time.ToMicroseconds() - state.timestamp.ToMicroseconds()
    return max(due / 1e6, 0.0)


def is_left(response: v1.ProposeStateResponse) -> bool:
    """Whether a refusal has left a run in a state in which it can not go on."""
    left_in = (v1.STATE_TYPE_UNSPECIFIED, v1.PENDING, v1.RUNNING)
    return response.decision == v1.REJECT and response.state.type in left_in


def log_refusal(response: v1.ProposeStateResponse, logger: RunLogger) -> None:
    """Say why a run is left in a state in which it can not go on."""
    if is_left(response):
        logger.error("The service did not let the run go on, by rule %s: %s", response.rule, response.reason)


def patience_for(state: State[Any]) -> float | None:
    """How long the answer to a run's end is waited for: not for long once more, when it ends since nobody answers."""
    return LAST_WORD_S if not state.is_completed() and _is_of_silence(state.data) else None


def _is_of_silence(data: object) -> bool:
    """Whether a run's data is an error that says that nobody answers, or states with such errors."""
    if isinstance(data, (list, tuple)):
        return any(_is_of_silence(each) for each in data)
    return is_unanswered(data.data if isinstance(data, State) else data)


def answer_to(method: Unary[Any, Response], request: Any, timeout_s: float | None = None) -> Loop[Response]:
    """A full queue refuses a request without recording it: it is sent again, a little later each time."""
    pause_s = QUEUE_PAUSE_S_MIN
    while True:
        try:
            response: Response = yield Ask(method, request, timeout_s=timeout_s)
            return response
        except QueueFull:
            yield Sleep(pause_s)
            pause_s = min(2 * pause_s, QUEUE_PAUSE_S_MAX)


def propose_shielded(request: v1.ProposeStateRequest) -> Loop[v1.ProposeStateResponse]:
    """Propose once, seeing it through although the run is being torn down."""
    request.request_id = new_id()
    response: v1.ProposeStateResponse = yield Ask(PROPOSE_STATE, request, shielded=True)
    return response
