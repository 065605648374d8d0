"""How transactions begin and end.

begin      its run; the end that an earlier execution left unfinished; the lock of its key; the record of its key
commit     commit hooks, children first, in order -> records, children first -> all are COMMITTED
             one of them fails: everything is rolled back, and `CommitFailed` is raised
roll back  rollback hooks, a parent's before its children's, the last one first -> what ran in it is marked
             one of them fails: the others are called all the same, and the failures are told

Hooks that had completed when their process died are not called again. One that was interrupted is: at least once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from playhead import v1
from playhead.engine.execution.effects import AwaitLock, CallUser, Loop
from playhead.engine.execution.inputs import wait_for
from playhead.engine.execution.transaction_hooks import call_hook, name_of
from playhead.engine.execution.transaction_runs import (
    CACHED,
    COMMITTED,
    COMMITTING,
    ROLLED_BACK,
    ROLLING_BACK,
    STAGED,
    Plan,
    announce,
    begin_run,
    mark_rolled_back,
    mark_subflow_rolled_back,
    record,
    record_end,
    runs_in,
)
from playhead.engine.execution.transactions import BaseTransaction, CommitMode, TransactionState
from playhead.engine.signals import Pause
from playhead.exceptions import CommitFailed, ConfigurationError, ExecutionError


def begin(txn: BaseTransaction, holder: str) -> Loop[None]:
    """Begin a transaction; COMMITTED at once when its key has a record. `holder` takes its lock, outside of flow runs.

    Raises `ConfigurationError` when the store can not isolate it as asked for, and, when an earlier execution of the
    flow run had begun to roll it back, what it was rolled back for.
    """
    if txn.store is not None and txn.key and not txn.store.supports_isolation_level(txn.isolation_level):
        raise ConfigurationError(
            f"The result store of transaction {txn.shown} has no lock manager, which {txn.isolation_level} needs: "
            "ResultStore(lock_manager=…), or IsolationLevel.READ_COMMITTED."
        )
    plan = yield from begin_run(txn)
    if plan is not None:
        yield from finish(plan)
        if plan.name == COMMITTING:
            txn.replayed = True
        else:
            if plan.error is not None:
                txn.state = TransactionState.ROLLED_BACK
                yield from _let_go(txn)
                raise plan.error
            assert txn.call is not None
            yield from record(txn.call, v1.State(type=v1.RUNNING))
    txn.began_s = time.monotonic()
    if txn.replayed:
        txn.state = TransactionState.COMMITTED if txn.has_ended else TransactionState.ACTIVE
        # The process that ended it may have died before it gave the lock back.
        yield from _unlock(txn, txn.run_id)
        return
    holder = txn.run_id or holder
    try:
        yield from _lock(txn, holder)
        yield from _look_up(txn)
    except BaseException as error:
        # Whoever waits and is interrupted at the moment of being granted the lock has it.
        yield from _unlock(txn, holder)
        if isinstance(error, Exception):
            yield from rollback(txn, error)
        raise


def _lock(txn: BaseTransaction, holder: str) -> Loop[None]:
    """Take the lock of the key. Who continues a transaction has it already, if it has not lapsed."""
    if txn.locks:
        yield AwaitLock(txn.store.lock_manager, txn.key or "", holder)
        txn.holder = holder


def _unlock(txn: BaseTransaction, holder: str) -> Loop[None]:
    """Give the lock of the key back, if the holder has it."""
    if txn.locks and (yield CallUser(txn.store.is_lock_holder, (txn.key, holder), {})):
        txn.holder = holder
    yield from release(txn)


def _look_up(txn: BaseTransaction) -> Loop[None]:
    """Look for the record of the key."""
    exists = False
    if txn.store is not None and txn.key and not txn.overwrite:
        exists = yield CallUser(_of_store(txn, "exists"), (txn.key,), {})
    txn.state = TransactionState.COMMITTED if exists else TransactionState.ACTIVE
    if exists:
        yield from record_end(txn, CACHED, txn)
        yield from release(txn)


def leave(txn: BaseTransaction, error: BaseException | None) -> Loop[None]:
    """The block has ended, with this error: commit, roll back, or hand the transaction to the one around it.

    A transaction whose flow run is suspended stays open: the next execution goes on with it. Raises `CommitFailed`.
    """
    handed_over = False
    try:
        if not isinstance(error, Pause):
            yield from wait_for(txn.futures)
            handed_over = yield from _end(txn, error)
    finally:
        if not handed_over:
            yield from _let_go(txn)


def end_by_hand(txn: BaseTransaction, ending: Loop[bool]) -> Loop[bool]:
    """Commit or roll back inside the block, once what was submitted in it has ended."""
    try:
        yield from wait_for(txn.futures)
        return (yield from ending)
    finally:
        yield from _let_go(txn)


def _let_go(txn: BaseTransaction) -> Loop[None]:
    """It has ended: what is around it hears of it, and whoever waits for its locks."""
    if txn.parent is not None and txn.state == TransactionState.ROLLED_BACK:
        doom(txn.parent, f"transaction {txn.shown}")
    yield from release(txn)


def _end(txn: BaseTransaction, error: BaseException | None) -> Loop[bool]:
    """Whether its outcome is that of the transaction around it."""
    if txn.replayed:
        _end_as_before(txn, error)
    elif error is not None or txn.doom is not None:
        yield from rollback(txn, error)
    elif txn.commit_mode == CommitMode.EAGER:
        yield from commit(txn)
    elif txn.parent is not None and not txn.has_ended:
        return (yield from hand_over(txn, txn.parent))
    elif txn.commit_mode == CommitMode.OFF:
        yield from rollback(txn)
    else:
        yield from commit(txn)
    return False


def doom(txn: BaseTransaction, what: str) -> None:
    """Something in a transaction has failed: it is rolled back at the end of its block."""
    txn.doom = txn.doom or RolledBack(f"In it, {what} has failed.")


def hand_over(txn: BaseTransaction, parent: BaseTransaction) -> Loop[bool]:
    """Let a transaction share the outcome of another; one that has its outcome already gives it at once.

    Answers whether it is open.
    """
    if parent.takes_children:
        if txn.call is not None and txn.scope_id == txn.run_id:
            yield from record(txn.call, v1.State(type=v1.RUNNING, name=STAGED))
        parent.add_child(txn)
        return True
    if parent.state == TransactionState.ROLLED_BACK:
        yield from rollback(txn)
    else:
        yield from commit(txn)
    return False


def finish(plan: Plan) -> Loop[None]:
    """Finish the end that an earlier execution has begun; what it has only staged is undone. Raises `CommitFailed`."""
    txn = plan.txn
    txn.logger.info("Finishing transaction %s, which was left %s", txn.shown, plan.name)
    try:
        for node in txn.to_commit():
            yield from _lock(node, node.run_id)
        if plan.name == COMMITTING:
            yield from _carry_out_commit(txn, plan.revision, again=True)
        elif plan.name == ROLLING_BACK:
            yield from _carry_out_rollback(txn, plan.error, plan.revision, again=True)
        else:
            yield from rollback(txn, RolledBack("The run that had staged it is called with other arguments."))
    finally:
        yield from release(txn)


def commit(txn: BaseTransaction) -> Loop[bool]:
    """Commit a transaction and what was handed to it; False when it had ended before. Raises `CommitFailed`."""
    if txn.has_ended:
        return False
    if txn.replayed:
        _end_as_before(txn, None)
        return True
    late = txn.timeout is not None and time.monotonic() - txn.began_s > txn.timeout
    reason = TimeoutError(f"It was open for more than {txn.timeout:g} s.") if late else txn.doom
    if reason is not None:
        yield from _fail(txn, reason)
    plan = 0
    if any(node.on_commit_hooks or node.writes for node in txn.to_commit()):
        plan = yield from announce(txn, COMMITTING)
    yield from _carry_out_commit(txn, plan)
    return True


def rollback(txn: BaseTransaction, error: BaseException | None = None) -> Loop[bool]:
    """Roll a transaction back, for this error; False when it had ended before."""
    if txn.has_ended or txn.replayed:
        return False
    undone = yield from runs_in(txn)
    plan = 0
    if undone or any(node.on_rollback_hooks for node in txn.to_roll_back()):
        plan = yield from announce(txn, ROLLING_BACK, error)
    yield from _carry_out_rollback(txn, error, plan, undone)
    return True


def _carry_out_commit(txn: BaseTransaction, plan: int, again: bool = False) -> Loop[None]:
    nodes = list(txn.to_commit())
    hooks = [(node, hook) for node in nodes for hook in node.on_commit_hooks]
    try:
        for number, reached in enumerate(hooks):
            yield from call_hook(txn, "commit", reached, plan, number, again)
        for node in nodes:
            if node.writes:
                holder = {"holder": node.holder or None}
                yield CallUser(_of_store(node, "write"), (node._staged_value, node.key), holder)
    except Exception as error:
        txn.logger.exception("An error was encountered while committing transaction %s", txn.shown, exc_info=error)
        yield from _fail(txn, error)
    for node in nodes:
        node.state = TransactionState.COMMITTED
        yield from record_end(node, COMMITTED, txn)


def _fail(txn: BaseTransaction, error: BaseException) -> Loop[None]:
    failed = CommitFailed(f"Transaction {txn.shown} could not be committed and was rolled back: {error}")
    failed.__cause__ = error
    yield from rollback(txn, failed)
    raise failed


def _carry_out_rollback(
    txn: BaseTransaction,
    error: BaseException | None,
    plan: int,
    undone: list[v1.TaskRun] | None = None,
    again: bool = False,
) -> Loop[None]:
    nodes = list(txn.to_roll_back())
    hooks = [(node, hook) for node in nodes for hook in reversed(node.on_rollback_hooks)]
    for number, reached in enumerate(hooks):
        try:
            yield from call_hook(txn, "rollback", reached, plan, number, again)
        except Exception as failure:  # the other hooks have their own things to undo
            txn.failures.append(failure)
            if error is not None:
                error.add_note(f"Rollback hook {name_of(reached[1])!r} failed: {type(failure).__name__}: {failure}")
    for run in (yield from runs_in(txn)) if undone is None else undone:
        assert txn.call is not None
        yield from mark_rolled_back(txn.call, run)
    if txn.subflow_run_id:
        yield from mark_subflow_rolled_back(txn.subflow_run_id)
    for node in nodes:
        node.state = TransactionState.ROLLED_BACK
    yield from record_end(txn, ROLLED_BACK, txn, _told(txn, error or txn.doom))


class RolledBack(ExecutionError):
    """Why a transaction can not be committed."""


def _end_as_before(txn: BaseTransaction, error: BaseException | None) -> None:
    """An earlier execution has committed it: that stands, whatever the block does this time."""
    if error is not None and not txn.has_ended:
        txn.logger.warning("Transaction %s stays committed, as an earlier execution has left it: %r", txn.shown, error)
    txn.state = TransactionState.COMMITTED


def release(txn: BaseTransaction) -> Loop[None]:
    """Give back the locks of a transaction and of those in it."""
    for child in txn.children:
        yield from release(child)
    if not txn.holder:
        return
    holder, txn.holder = txn.holder, ""
    try:
        yield CallUser(txn.store.release_lock, (txn.key, holder), {})
    except ValueError as error:  # it was given to others when its time was over
        txn.logger.warning("The lock of transaction %s was lost: %s", txn.shown, error)


def _of_store(txn: BaseTransaction, method: str) -> Callable[..., Any]:
    """A method of its store; an async transaction does not block its event loop."""
    found: Callable[..., Any] = getattr(txn.store, f"a{method}" if txn.aio else method)
    return found


def _told(txn: BaseTransaction, error: BaseException | None) -> str:
    reasons = [f"{type(each).__name__}: {each}" for each in (error, *txn.failures) if each is not None]
    return "\n".join(reasons)
