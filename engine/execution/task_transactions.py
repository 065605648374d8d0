"""A task run's own transaction: what its hooks, and what ended inside the run, wait for.

the run completes   its hooks are staged -> "Staged" is on record -> the run is COMPLETED, naming the transaction's run
                    -> the transaction is handed to the one around it; without one, it is committed
an attempt fails    the transaction is rolled back: hooks of what had completed inside the attempt
the run is found COMPLETED when its flow run is executed again: what was staged is taken from the record

There is none for a task run without hooks, in which nothing with hooks was called.
"""

from __future__ import annotations

from collections.abc import Sequence

from playhead import v1
from playhead.context import TaskRunContext
from playhead.engine.execution.calls import TaskCall
from playhead.engine.execution.effects import Loop
from playhead.engine.execution.transaction_ends import commit, doom, finish, hand_over, rollback
from playhead.engine.execution.transaction_runs import (
    CACHED,
    COMMITTING,
    ROLLING_BACK,
    STAGED,
    announce,
    begin_own_run,
    unfinished,
)
from playhead.engine.execution.transactions import BaseTransaction, Hook, transaction_of
from playhead.logging.loggers import RunLogger


def stage_own(
    call: TaskCall, context: TaskRunContext, to_commit: Sequence[Hook], logger: RunLogger
) -> Loop[BaseTransaction | None]:
    """Put on record what waits for the outcome of a run that is about to be COMPLETED; None when nothing does.

    `to_commit` is called when that is to be committed, before the hooks of the task.
    """
    if to_commit:
        own = transaction_of(context)
        assert own is not None
        own.on_commit_hooks += to_commit
    own = _with_hooks(call, context, logger)
    if own is None or not own.waits:
        return None
    begin_own_run(own, call)
    yield from announce(own, STAGED)
    return own


def settle_own(own: BaseTransaction) -> Loop[None]:
    """The run is COMPLETED: its transaction gets its outcome, or waits for that of another. Raises `CommitFailed`."""
    if own.parent is None:
        yield from commit(own)
    else:
        yield from hand_over(own, own.parent)


def stage_again(call: TaskCall, context: TaskRunContext, state: v1.State, logger: RunLogger) -> Loop[None]:
    """The run was COMPLETED before: what it has staged waits again, or gets its outcome. Raises `CommitFailed`."""
    recorded = state.details.transaction_run_id
    if state.name == CACHED or not (recorded or (_has_hooks(call) and isinstance(call.place, BaseTransaction))):
        return
    parent = transaction_of(call.place)
    if parent is not None and not parent.takes_children:
        return
    own = _with_hooks(call, context, logger)
    assert own is not None
    begin_own_run(own, call)
    if recorded:
        plan = yield from unfinished(own, (STAGED, COMMITTING, ROLLING_BACK))
        if plan is None:
            return
        if plan.name != STAGED:
            yield from finish(plan)
            return
        own, own.parent = plan.txn, parent
    yield from settle_own(own)


def roll_back_own(call: TaskCall, context: TaskRunContext, error: BaseException, logger: RunLogger) -> Loop[None]:
    """An attempt has failed: undo what had completed inside."""
    own, context.transaction = context.transaction, None
    if own is not None and own.waits:
        own.logger = logger
        begin_own_run(own, call)
        yield from rollback(own, error)


def finish_own(call: TaskCall, context: TaskRunContext, logger: RunLogger) -> Loop[None]:
    """Before a run that has run before is run again: finish the rollback that its process has died in."""
    own = BaseTransaction(logger=logger)
    begin_own_run(own, call)
    plan = yield from unfinished(own, (ROLLING_BACK,))
    if plan is not None:
        yield from finish(plan)


def doom_place(call: TaskCall) -> None:
    """A run has failed: the transaction that it was called in is rolled back."""
    if isinstance(call.place, BaseTransaction):
        doom(call.place, f"task run {call.task_run.name!r}")


def _with_hooks(call: TaskCall, context: TaskRunContext, logger: RunLogger) -> BaseTransaction | None:
    """The run's own transaction, with the hooks of its task; None when there is none and need be none."""
    own: BaseTransaction | None = transaction_of(context) if _has_hooks(call) else context.transaction
    if own is not None:
        own.logger = logger
        own.on_commit_hooks += call.task.on_commit_hooks
        own.on_rollback_hooks += call.task.on_rollback_hooks
    return own


def _has_hooks(call: TaskCall) -> bool:
    return bool(call.task.on_commit_hooks or call.task.on_rollback_hooks)
