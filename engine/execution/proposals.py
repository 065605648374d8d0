"""Proposing states: the four answers, as the loops need them."""

from __future__ import annotations

from playhead import v1
from playhead.client.interface import PROPOSE_STATE
from playhead.engine.execution.effects import Ask, AwaitTurn, Loop, Sleep
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.translation import state_of
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import QueueFull

QUEUE_PAUSE_S_MIN = 0.01
QUEUE_PAUSE_S_MAX = 1.0

LEASE_LOST = "FenceLateReports"
"""The rule that refuses what a process proposes that was given up."""

ASK_AGAIN_S = 30.0
"""How long a run in line relies on being told of its turn."""


def propose(request: v1.ProposeStateRequest) -> Loop[v1.ProposeStateResponse]:
    """Propose until it is decided.

    WAIT sleeps and proposes again; a run that stands in line for slots proposes again when it is its turn. ACCEPT and
    REJECT are answered: look at the response's state. Raises `Abort` when the run must not go on, as when its lease has
    been taken from this process, `Pause` when it was moved to PAUSED instead.
    """
    while True:
        request.request_id = new_id()
        response = yield from _answer_to(request)
        if response.decision == v1.ACCEPT:
            return response
        if response.decision == v1.ABORT or response.rule == LEASE_LOST:
            raise Abort(response.reason)
        if response.waits_for_slots:
            yield AwaitTurn(response.run_id, response.meta.revision, ASK_AGAIN_S)
        elif response.decision == v1.WAIT:
            yield Sleep(response.delay.seconds + response.delay.nanos / 1e9)
        elif response.state.type == v1.PAUSED:
            raise Pause(response.reason, state=state_of(response.state))
        else:
            return response


def _answer_to(request: v1.ProposeStateRequest) -> Loop[v1.ProposeStateResponse]:
    """A full queue refuses a request without recording it: it is sent again, a little later each time."""
    pause_s = QUEUE_PAUSE_S_MIN
    while True:
        try:
            response: v1.ProposeStateResponse = yield Ask(PROPOSE_STATE, request)
            return response
        except QueueFull:
            yield Sleep(pause_s)
            pause_s = min(2 * pause_s, QUEUE_PAUSE_S_MAX)


def propose_shielded(request: v1.ProposeStateRequest) -> Loop[v1.ProposeStateResponse]:
    """Propose once, seeing it through although the run is being torn down."""
    request.request_id = new_id()
    response: v1.ProposeStateResponse = yield Ask(PROPOSE_STATE, request, shielded=True)
    return response
