"""From what a function returned or raised to the final state that is proposed."""

from __future__ import annotations

from typing import Any

from playhead import v1
from playhead.engine.execution.definitions import Definition
from playhead.engine.execution.effects import RunTimedOut
from playhead.engine.execution.progress import is_untrackable
from playhead.engine.execution.tracebacks import of_user_code
from playhead.engine.execution.translation import message_of
from playhead.exceptions import SerializationError
from playhead.logging.loggers import RunLogger
from playhead.results import ResultStore, StoredResult
from playhead.states import Failed, State, StateType, Unstored, exception_to_failed_state


def timed_out(seconds: float, kind: str, limit: RunTimedOut) -> State[Any]:
    """FAILED "TimedOut" of a run of this kind, "Flow" or "Task", whose error tells where the user's code was."""
    message = f"{kind} run exceeded timeout of {seconds} seconds"
    error = TimeoutError(message).with_traceback(of_user_code(limit, to_the_end=False))
    return Failed(name="TimedOut", message=message, data=error)


def stored(state: State[Any], definition: Definition, logger: RunLogger) -> tuple[State[Any], v1.State]:
    """Store the data of a final state. Answers the state, holding what was stored, and its message.

    What can not be stored stays in memory, with a warning; where storing was asked for, the run fails instead.
    """
    if isinstance(state.data, StoredResult):
        return state, message_of(state, state.data.message)
    if not _is_kept(state, definition):
        return _in_memory(state)
    try:
        result = ResultStore(definition.result_storage).store(state._value())
    except (SerializationError, OSError) as error:
        if definition.persist_result and state.is_completed():
            failed = exception_to_failed_state(error, "The result could not be stored:")
            return stored(failed, definition, logger)
        logger.warning("The result is kept in memory only and is lost when the process ends: %s", error)
        return _in_memory(state)
    message = message_of(state, result)
    if state.is_completed() and is_untrackable(state.data):
        message.details.untrackable_result = True
    state.data = StoredResult(result, state.data)
    return state, message


def _is_kept(state: State[Any], definition: Definition) -> bool:
    if isinstance(state.data, Unstored):
        return False
    if state.type == StateType.COMPLETED:
        return definition.persist_result is not False
    return state.data is not None


def _in_memory(state: State[Any]) -> tuple[State[Any], v1.State]:
    message = message_of(state)
    if not isinstance(state.data, Unstored):
        state.data = Unstored(state.data)
    return state, message
