"""Hooks: functions of the user's that are called when a run enters a state.

Their errors are logged and change nothing.
"""

from __future__ import annotations

from playhead.engine.execution.definitions import Definition, Hook
from playhead.engine.execution.effects import CallUser, Loop
from playhead.logging.loggers import RunLogger
from playhead.runs import Run
from playhead.states import State, StateType


def hooks_for(definition: Definition, state: State[object]) -> list[Hook]:
    """The hooks that a state calls for."""
    kind = state.type
    if kind == StateType.COMPLETED:
        return definition.on_completion_hooks
    if kind == StateType.FAILED:
        return definition.on_failure_hooks
    if kind == StateType.RUNNING:
        return definition.on_running_hooks
    if kind == StateType.CRASHED:
        return definition.on_crashed_hooks
    if kind in {StateType.CANCELLED, StateType.CANCELLING}:
        return definition.on_cancellation_hooks
    return []


def run_hooks(definition: Definition, run: Run, state: State[object], logger: RunLogger) -> Loop[None]:
    """Call the hooks of a state as `hook(flow_or_task, run, state)`, in the order they were given."""
    for hook in hooks_for(definition, state):
        name = getattr(hook, "__name__", repr(hook))
        logger.info("Running hook %r in response to entering state %r", name, state.name)
        try:
            yield CallUser(hook, (definition, run, state), {})
        except Exception:  # a hook is the user's code: it does not change how the run ended
            logger.exception("An error was encountered while running hook %r", name)
        else:
            logger.info("Hook %r finished running successfully", name)
