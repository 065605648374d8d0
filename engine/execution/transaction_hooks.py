"""Calling the hooks of transactions: each call is a task run of its own, where the transaction is on record."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from playhead import v1
from playhead.context import TaskRunContext
from playhead.engine.execution.calls import TaskCall, spec_of
from playhead.engine.execution.definitions import StandIn
from playhead.engine.execution.effects import CallUser, Loop
from playhead.engine.execution.tracebacks import of_user_code
from playhead.engine.execution.transaction_runs import has_completed, hook_run, record
from playhead.engine.execution.transactions import BaseTransaction
from playhead.engine.execution.translation import message_of
from playhead.exceptions import SerializationError
from playhead.results import ResultStore
from playhead.states import exception_to_failed_state

Reached = tuple[BaseTransaction, Callable[..., Any]]
"""A hook, and the transaction that it is given."""


def call_hook(txn: BaseTransaction, kind: str, reached: Reached, plan: int, number: int, again: bool) -> Loop[None]:
    """Call a hook, in a run of its own where the transaction is on record. Raises what it raises."""
    node, hook = reached
    name = name_of(hook)
    call = hook_run(txn, kind, name, plan, number)
    if call is not None:
        if again and (yield from has_completed(call)):
            return
        yield from record(call, v1.State(type=v1.RUNNING), spec_of(call, {}))
    txn.logger.info("Running %s hook %r", kind, name)
    try:
        yield from _called(node, hook, call)
    except Exception as error:
        txn.logger.error(
            "An error was encountered while running %s hook %r",
            kind,
            name,
            exc_info=error.with_traceback(of_user_code(error)),
        )
        if call is not None:
            yield from record(call, _failed(error))
        raise
    txn.logger.info("%s hook %r finished running successfully", kind.capitalize(), name)
    if call is not None:
        yield from record(call, v1.State(type=v1.COMPLETED, result=ResultStore().store(None)))


def _called(node: BaseTransaction, hook: Callable[..., Any], call: TaskCall | None) -> Loop[None]:
    """Call a hook. Tasks that it calls belong to its run: what calls come after does not depend on it."""
    if call is None:
        yield CallUser(hook, (node,), {})
        return
    with TaskRunContext(HookDefinition(hook, call.task), call.task_run, {}, call.client):
        yield CallUser(hook, (node,), {})


class HookDefinition(StandIn):
    """What a hook's run is a run of."""

    def __init__(self, hook: Callable[..., Any], of: StandIn) -> None:
        super().__init__(of.name, of.task_key)
        self.isasync = inspect.iscoroutinefunction(hook)


def _failed(error: Exception) -> v1.State:
    state = exception_to_failed_state(error, "Hook encountered an exception:")
    try:
        return message_of(state, ResultStore().store(error))
    except (SerializationError, OSError):  # its message says what it was
        return message_of(state)


def name_of(hook: Callable[..., Any]) -> str:
    """What a hook is called in logs and on record."""
    return str(getattr(hook, "__name__", repr(hook)))
