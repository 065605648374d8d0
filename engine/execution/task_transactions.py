"""The own transaction of a task run, and of a subflow run in a transaction: what its hooks, and what ended inside the
run, wait for.

the run completes   its hooks are staged -> "Staged" is on record -> the run is COMPLETED, naming the transaction's run
                    -> the transaction is handed to the one around it; without one, or in an EAGER one, it is committed
an attempt fails    the transaction is rolled back: hooks of what had completed inside the attempt
the run is found COMPLETED when its flow run is executed again: what was staged is taken from the record
the run is called with other arguments then: what was staged is undone, and it runs again

There is none for a run without hooks, in which nothing with hooks was called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playhead import v1
from playhead.context import RunContext
from playhead.engine.execution.calls import TaskCall
from playhead.engine.execution.effects import Loop
from playhead.engine.execution.transaction_ends import commit, doom, finish, hand_over, rollback
from playhead.engine.execution.transaction_runs import (
    CACHED,
    COMMITTING,
    ROLLING_BACK,
    STAGED,
    Plan,
    announce,
    begin_own_run,
    unfinished,
)
from playhead.engine.execution.transactions import BaseTransaction, CommitMode, Hook, transaction_of
from playhead.exceptions import CommitFailed
from playhead.logging.loggers import RunLogger
from playhead.states import State, get_state_exception


def stage_outcome(
    call: TaskCall,
    context: RunContext,
    state: State[Any],
    message: v1.State,
    logger: RunLogger,
    to_commit: Sequence[Hook] = (),
) -> Loop[BaseTransaction | None]:
    """An attempt has ended: undo what waits in the run's own transaction, or put it on record, as `message` then says.

    `to_commit` is called when that is to be committed, before the hooks of the task. Answers the transaction to settle
    once the run is COMPLETED, None when nothing waits.
    """
    if context.transaction is None and not to_commit and not _has_hooks(call):
        return None
    if not state.is_completed():
        yield from roll_back_own(call, context, get_state_exception(state), logger)
        return None
    if to_commit and (own := transaction_of(context)) is not None:
        own.on_commit_hooks += to_commit
    own = _with_hooks(call, context, logger)
    if own is None or not own.waits:
        return None
    begin_own_run(own, call)
    yield from announce(own, STAGED)
    message.details.transaction_run_id = own.run_id
    return own


def settle_own(own: BaseTransaction) -> Loop[None]:
    """The run is COMPLETED: its transaction gets its outcome, or waits for that of another. Raises `CommitFailed`."""
    if own.parent is None or own.commit_mode == CommitMode.EAGER:
        yield from commit(own)
    else:
        yield from hand_over(own, own.parent)


def stage_again(call: TaskCall, context: RunContext, state: v1.State, logger: RunLogger) -> Loop[None]:
    """The run was COMPLETED before: what it has staged waits again, or gets its outcome. Raises `CommitFailed`."""
    if not state.details.transaction_run_id:
        if state.name == CACHED:
            yield from finish_own(call, logger)
        return
    # With a transaction around it that has ended it has ended too, unless it came after that.
    plan = yield from _found(call, logger, (STAGED, COMMITTING, ROLLING_BACK))
    if plan is None:
        return
    if plan.name != STAGED:
        yield from finish(plan)
        if plan.error is not None:
            raise plan.error
        return
    own = plan.txn if plan.whole else _with_hooks(call, context, logger)
    if own is not None:
        own.call, own.parent = plan.txn.call, transaction_of(call.place)
        yield from settle_own(own)


def roll_back_own(call: TaskCall, context: RunContext, error: BaseException, logger: RunLogger) -> Loop[None]:
    """An attempt has failed: undo what had completed inside."""
    own, context.transaction = context.transaction, None
    if own is not None and own.waits:
        own.logger = logger
        begin_own_run(own, call)
        yield from rollback(own, error)


def finish_own(call: TaskCall, logger: RunLogger) -> Loop[None]:
    """Before a run that has run before is run again, or has another run's result: finish the end that its process has
    died in. What it has staged is undone when that was for other arguments: nothing else would give it an outcome.
    """
    plan = yield from _found(call, logger, (STAGED, COMMITTING, ROLLING_BACK))
    if plan is None:
        return
    before, now = plan.txn.arguments_digest, call.arguments_digest
    if plan.name == STAGED and (not before or not now or before == now):
        return
    try:
        yield from finish(plan)
    except CommitFailed as failed:  # it is undone, and the run has its chance again
        logger.warning("%s", failed)


def _found(call: TaskCall, logger: RunLogger, names: tuple[str, ...]) -> Loop[Plan | None]:
    """What is on record, under one of these names, of a run's own transaction that has not ended."""
    own = BaseTransaction(logger=logger)
    own.scope_id = call.task_run.run_id
    own.place_in(transaction_of(call.place))
    begin_own_run(own, call)
    return (yield from unfinished(own, names))


def doom_place(call: TaskCall) -> None:
    """A run has failed: the transaction that it was called in is rolled back."""
    if isinstance(call.place, BaseTransaction):
        doom(call.place, f"run {call.task_run.name!r}")


def _with_hooks(call: TaskCall, context: RunContext, logger: RunLogger) -> BaseTransaction | None:
    """The run's own transaction, with the hooks of its task; None when there is none and need be none."""
    own: BaseTransaction | None = transaction_of(context) if _has_hooks(call) else context.transaction
    if own is not None:
        own.logger = logger
        own.on_commit_hooks += call.task.on_commit_hooks
        own.on_rollback_hooks += call.task.on_rollback_hooks
    return own


def _has_hooks(call: TaskCall) -> bool:
    return bool(call.task.on_commit_hooks or call.task.on_rollback_hooks)
