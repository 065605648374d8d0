"""Calls of tasks' functions in another process: bytes in, bytes out.

    the flow's process                              another process
    the run's loop -> pack() -> bytes       ->      answer(): the function is called, in the run's context
    the loop goes on <- unpack() <- bytes   <-      what it returned or raised

Only the function is called elsewhere. The run itself stays with the process of its flow, which proposes its states,
stores its result, calls its hooks and tries it again. The other process opens a client of its own, by the same
settings, once a function logs something or calls tasks and flows; what it submits runs on its own threads, and has
ended when it answers.
"""

from __future__ import annotations

import copy
import platform
import traceback
from dataclasses import dataclass
from typing import Any

from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution.carried import carried_context, unconnected_context
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.drivers import call_user
from playhead.engine.execution.effects import CallUser, RunTimedOut
from playhead.engine.execution.log_shipping import ship_from_loggers
from playhead.engine.execution.references import place_of
from playhead.engine.execution.tracebacks import RemoteTraceback, of_user_code
from playhead.exceptions import ConfigurationError, NotSendable, SerializationError
from playhead.futures import resolve_futures_to_states
from playhead.logging.prints import patch_print
from playhead.serialization import dump_exception, load_exception, pickle_dumps


@dataclass
class RemoteCall:
    """All that a function needs to be called elsewhere as it would be here."""

    task: Any
    parameters: dict[str, Any]
    timeout_s: float | None
    context: dict[str, Any]
    machine: str


def pack(effect: CallUser) -> bytes:
    """The call of a run's function, from within the run's context. Raises `NotSendable`, which names what is at fault.

    Its arguments are taken anew from the run's parameters, which is what they are made of.
    """
    context = TaskRunContext.get()
    assert context is not None
    call = RemoteCall(
        _sendable(context.task),
        context.parameters,
        effect.timeout_s,
        carried_context(parameters=False),
        platform.node(),
    )
    try:
        return pickle_dumps(call)
    except SerializationError as error:
        raise NotSendable(_fault(call, error)) from error


def answer(data: bytes) -> bytes:
    """Call the function that the bytes describe. Never raises: the answer tells what was returned or raised."""
    import cloudpickle

    try:
        call: RemoteCall = cloudpickle.loads(data)
        value = _perform(call)
        try:
            return pickle_dumps(("returned", value))
        except SerializationError as error:
            raise NotSendable(
                f"The result of task {call.task.name!r} can not be sent from the process that ran it. {error}. Return "
                "something that can be pickled, or use ThreadPoolTaskRunner."
            ) from error
    except RunTimedOut:
        return pickle_dumps(("timed out",))
    except BaseException as error:  # also what ends processes: the run ends with it, its worker goes on
        text = "".join(traceback.format_exception(error.with_traceback(of_user_code(error))))
        return pickle_dumps(("raised", dump_exception(error), text))


def unpack(data: bytes, effect: CallUser) -> Any:
    """What the function returned. Raises what it raised, with where it did as the cause, and `RunTimedOut`."""
    import cloudpickle

    kind, *content = cloudpickle.loads(data)
    if kind == "returned":
        return content[0]
    if kind == "timed out":
        raise RunTimedOut(effect)
    error = load_exception(content[0])
    error.__cause__ = RemoteTraceback(content[1])
    raise error


def _perform(call: RemoteCall) -> Any:
    _check_machine(call)
    with unconnected_context(call.context):
        context, flow = TaskRunContext.get(), FlowRunContext.get()
        assert context is not None
        context.task, context.parameters = call.task, call.parameters
        if context.log_prints:
            patch_print()
        ship_from_loggers(get_client)
        args, kwargs = call.task.signature.arguments(call.parameters)
        value = resolve_futures_to_states(call_user(CallUser(call.task.fn, args, kwargs, call.timeout_s)))
    if flow is not None:
        flow.progress.check()
    return value


def _check_machine(call: RemoteCall) -> None:
    chosen = call.context["settings_context"]["settings"]
    database = chosen.get("PLAYHEAD_DATABASE", "$PLAYHEAD_HOME/journal.db")
    if call.machine != platform.node() and "PLAYHEAD_API_URL" not in chosen and "://" not in database:
        raise ConfigurationError(
            f"The task was sent from {call.machine!r} to {platform.node()!r}, but the journal of its flow is a file on "
            f"the former, {database!r}: start a server with `playhead server start`, and set PLAYHEAD_API_URL for the "
            "flow."
        )


def _sendable(task: Any) -> Any:
    """A task without what only the flow's process calls, and what may not be possible to send."""
    if place_of(task) is not None:
        return task
    sent = copy.copy(task)
    for hooks in ("on_running", "on_completion", "on_failure", "on_crashed", "on_cancellation"):
        setattr(sent, f"{hooks}_hooks", [])
    sent.retry_condition_fn = sent.cache_key_fn = None
    if callable(sent.task_run_name):
        sent.task_run_name = None
    return sent


def _fault(call: RemoteCall, error: SerializationError) -> str:
    """What of a call can not be pickled, and what to do."""
    for name, value in call.parameters.items():
        try:
            pickle_dumps(value)
        except SerializationError as fault:
            return (
                f"Parameter {name!r} of task {call.task.name!r} can not be sent to another process. {fault}. Pass "
                "something that can be pickled, make it inside the task, or use ThreadPoolTaskRunner."
            )
    return (
        f"Task {call.task.name!r} can not be sent to another process: {error.__cause__}. Make what its function uses "
        "from outside a parameter or part of a module, or use ThreadPoolTaskRunner."
    )
