"""From what a function returned or raised to the final state that is proposed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from playhead import v1
from playhead.context import FlowRunContext
from playhead.engine.execution.definitions import Definition
from playhead.engine.execution.effects import RunTimedOut
from playhead.engine.execution.progress import is_untrackable
from playhead.engine.execution.sharing import NOTHING, Sharing
from playhead.engine.execution.tracebacks import of_user_code
from playhead.engine.execution.translation import message_of
from playhead.logging.loggers import RunLogger
from playhead.results import persist_result_of, result_store_around
from playhead.states import Failed, State, StateType, Unstored, exception_to_failed_state
from playhead.stored_results import StoredResult


def timed_out(seconds: float, kind: str, limit: RunTimedOut) -> State[Any]:
    """FAILED "TimedOut" of a run of this kind, "Flow" or "Task", whose error tells where the user's code was."""
    message = f"{kind} run exceeded timeout of {seconds} seconds"
    error = TimeoutError(message).with_traceback(of_user_code(limit, to_the_end=False))
    return Failed(name="TimedOut", message=message, data=error)


def stored(
    state: State[Any], definition: Definition, logger: RunLogger, sharing: Sharing = NOTHING
) -> tuple[State[Any], v1.State]:
    """Store the data of a final state, where the flow run around and the definition say. `sharing`: of a task run.

    Answers the state, holding what was stored, and its message. What can not be stored stays in memory, with a warning;
    where storing was asked for, the run fails instead.
    """
    if not state.is_completed():
        sharing = NOTHING
    if isinstance(state.data, StoredResult):
        message = message_of(state, state.data.message)
        sharing.remember(message)
        return state, message
    flow_run = FlowRunContext.get()
    persist = persist_result_of(definition, flow_run)
    if not _is_kept(state, persist):
        return _in_memory(state)
    store = result_store_around(flow_run).update_for_flow(definition)
    if store.serializer is not None and not state.is_completed():
        store = replace(store, serializer=None)
    try:
        result = store.store(state._value())
        sharing.record(result)
    except Exception as error:  # a value without bytes, or whatever storage of the user's choice raises
        if persist and state.is_completed():
            failed = exception_to_failed_state(error, "The result could not be stored:")
            return stored(failed, definition, logger)
        what = "result" if state.is_completed() else "exception"
        logger.warning("The %s is kept in memory only and is lost when the process ends: %s", what, error)
        return _in_memory(state)
    message = message_of(state, result)
    if state.is_completed() and is_untrackable(state.data):
        message.details.untrackable_result = True
    sharing.remember(message)
    state.data = StoredResult(result, state.data, store.cache_result_in_memory)
    return state, message


def _is_kept(state: State[Any], persist: bool | None) -> bool:
    if isinstance(state.data, Unstored):
        return False
    if state.type == StateType.COMPLETED:
        return persist is not False
    return state.data is not None


def _in_memory(state: State[Any]) -> tuple[State[Any], v1.State]:
    message = message_of(state)
    if not isinstance(state.data, Unstored):
        state.data = Unstored(state.data)
    return state, message
