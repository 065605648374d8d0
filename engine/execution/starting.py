"""Starting a run: RUNNING is proposed, and a result that is answered instead is read before it is believed.

A run that is COMPLETED, or finds a cached result, answers what was stored. When that is missing, cut short, altered or
unreadable, the run runs again, and the journal says why: the second proposal names the damaged result.
"""

from __future__ import annotations

import hashlib
from typing import Any

from playhead import v1
from playhead.engine.execution.effects import Loop
from playhead.engine.execution.proposals import is_left, log_refusal, propose
from playhead.engine.execution.translation import MESSAGE_BYTES_MAX, bounded, state_of
from playhead.engine.signals import Abort
from playhead.exceptions import CorruptResult
from playhead.logging.loggers import RunLogger
from playhead.runs import Run, TaskRun
from playhead.states import State
from playhead.stored_results import StoredResult

VERSION_WHEN_NEW = 2
"""Of a run that the proposal itself created: its creation, and the decision."""


def start(request: v1.ProposeStateRequest, run: Run, logger: RunLogger) -> Loop[v1.ProposeStateResponse]:
    """Propose RUNNING until the run runs, or has a result that can be read, or must not run.

    `run.state` is then the state of a run that does not run. Raises `Abort`, `Pause` and `FlowPauseTimeout`, as
    `propose` does; `Abort` too when a rule's REJECT leaves the run where it is: nobody else would go on with it.
    """
    flow_run_id = run.parent_run_id if isinstance(run, TaskRun) else ""
    while True:
        response = yield from propose(request, flow_run_id, logger)
        if response.state.type == v1.RUNNING:
            return response
        run.state = _state(response, run)
        damage = _damage(run.state, logger)
        if damage is None:
            log_refusal(response, logger)
            if is_left(response):
                raise Abort(response.reason, response.rule, response.run_id)
            return response
        logger.warning("The run runs again: %s", damage)
        request.state.details.damaged_result = _digest(response.state.result)
        request.state.message = bounded(f"Runs again: {damage}", MESSAGE_BYTES_MAX)


def _state(response: v1.ProposeStateResponse, run: Run) -> State[Any]:
    if isinstance(run, TaskRun):
        return state_of(response.state, response.run_id, run.parent_run_id)
    return state_of(response.state, flow_run_id=response.run_id)


def _damage(state: State[Any], logger: RunLogger) -> CorruptResult | None:
    """What is wrong with the stored result of a COMPLETED state. Storage that can not be reached is no damage."""
    if not state.is_completed() or not isinstance(state.data, StoredResult):
        return None
    try:
        state.data.get()
    except CorruptResult as damage:
        return damage
    except Exception as error:  # whoever asks for the result is told the same
        logger.warning("The stored result can not be read at present: %s", error)
    return None


def _digest(result: v1.Result) -> bytes:
    return result.reference.sha256 if result.HasField("reference") else hashlib.sha256(result.inline).digest()
