"""Transactions: work that is committed as a whole, or rolled back as a whole.

    with transaction(key="monthly-report") as txn:
        txn.set("file", path)
        write(path)         # its on_rollback hook removes the file that txn.get("file") names
        check(path)         # when this fails, the hook is called, and the exception goes on

A task that completes inside stages its `on_commit` and `on_rollback` hooks; one that fails rolls the transaction back.
Nested transactions, and tasks called by tasks, share the outcome of the outermost one. In a flow run all of it is on
record, so that a run whose process died goes on: inside the block it continues with what is not finished, and an end
that was begun is finished first, with the hooks that were not. Hooks are called at least once. What was rolled back
runs again when the flow run is executed again.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Self

from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.drivers import drive_async, drive_sync
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.transaction_ends import begin, commit, end_by_hand, leave, rollback
from playhead.engine.execution.transactions import (
    LOGGER,
    BaseTransaction,
    CommitMode,
    Hook,
    TransactionState,
    innermost,
    place_of,
    transaction_of,
)
from playhead.exceptions import CommitFailed
from playhead.locking.protocol import IsolationLevel
from playhead.logging.loggers import get_logger, get_run_logger

__all__ = [
    "AsyncTransaction",
    "BaseTransaction",
    "CommitFailed",
    "CommitMode",
    "Hook",
    "IsolationLevel",
    "Transaction",
    "TransactionState",
    "atransaction",
    "get_transaction",
    "transaction",
]


class Transaction(BaseTransaction):
    """A transaction around a block, `with Transaction(…) as txn:`; see `transaction` for its options.

    It can be ended by hand: `__enter__()`, then `commit()` or `rollback()`, or `__exit__(None, None, None)`.
    """

    def __enter__(self) -> Self:
        """Begin. Raises RuntimeError when it was entered before, and `ConfigurationError`."""
        _enter(self)
        drive_sync(begin(self, new_id()), _client(self))
        innermost.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Commit, after an exception roll back, or leave it to the transaction around. Raises `CommitFailed`."""
        _exit(self)
        drive_sync(leave(self, error), _client(self))

    def commit(self) -> bool:
        """Commit now; False when it has ended before. Raises `CommitFailed`: then it is rolled back."""
        _leave_block(self)
        return drive_sync(end_by_hand(self, commit(self)), _client(self))

    def rollback(self) -> bool:
        """Roll back now; False when it has ended before. Errors of hooks are logged, and are in `failures`."""
        _leave_block(self)
        return drive_sync(end_by_hand(self, rollback(self)), _client(self))


class AsyncTransaction(BaseTransaction):
    """The same for async code: `async with AsyncTransaction(…) as txn:`, `await txn.commit()`."""

    aio = True

    async def __aenter__(self) -> Self:
        """Begin. Raises RuntimeError when it was entered before, and `ConfigurationError`."""
        _enter(self)
        await drive_async(begin(self, new_id()), _client(self))
        innermost.set(self)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Commit, after an exception roll back, or leave it to the transaction around. Raises `CommitFailed`."""
        _exit(self)
        await drive_async(leave(self, error), _client(self))

    def __enter__(self) -> Self:
        """Raises NotImplementedError."""
        raise NotImplementedError("An AsyncTransaction is entered with `async with`.")

    def __exit__(self, *_: object) -> None:
        """Raises NotImplementedError."""
        raise NotImplementedError("An AsyncTransaction is left with `async with`.")

    def commit(self) -> Coroutine[Any, Any, bool]:
        """As `Transaction.commit`."""
        _leave_block(self)
        return drive_async(end_by_hand(self, commit(self)), _client(self))

    def rollback(self) -> Coroutine[Any, Any, bool]:
        """As `Transaction.rollback`."""
        _leave_block(self)
        return drive_async(end_by_hand(self, rollback(self)), _client(self))


def transaction(
    key: str | None = None,
    store: Any = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
    logger: Any = None,
) -> Transaction:
    """A transaction around a block of sync code.

    key               names a record: when it exists, the transaction is committed at once; committing writes it
    store             a `ResultStore` for the record; by default the run's
    commit_mode       LAZY: at the end of the outermost block; EAGER: at the end of this one; OFF: rolled back then, if
                      nobody has committed it. None: as the transaction around it, else LAZY
    isolation_level   SERIALIZABLE: one at a time per key, by the store's lock manager; None: as the transaction around
                      it, else READ_COMMITTED
    overwrite         do not look for the record
    write_on_commit   False: do not write the record
    logger            by default that of the run
    """
    return Transaction(
        key,
        store=_store(key, store),
        commit_mode=commit_mode,
        isolation_level=isolation_level,
        overwrite=overwrite,
        write_on_commit=write_on_commit,
        logger=logger,
    )


def atransaction(
    key: str | None = None,
    store: Any = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
    logger: Any = None,
) -> AsyncTransaction:
    """A transaction around a block of async code: `async with atransaction(…) as txn:`. Options as `transaction`."""
    return AsyncTransaction(
        key,
        store=_store(key, store),
        commit_mode=commit_mode,
        isolation_level=isolation_level,
        overwrite=overwrite,
        write_on_commit=write_on_commit,
        logger=logger,
    )


def get_transaction() -> BaseTransaction | None:
    """The transaction that the code is in; in a task run, the run's own. None outside of both."""
    return transaction_of(place_of(TaskRunContext.get(), FlowRunContext.get()))


def _store(key: str | None, store: Any) -> Any:
    """The store of a key's record: the given one, else that of the run."""
    if not key or store is not None:
        return store
    from playhead.results import get_result_store  # loads with the first key

    return get_result_store()


def _enter(txn: BaseTransaction) -> None:
    """Find the transaction around it."""
    if txn.state != TransactionState.PENDING or txn.owner is not None:
        raise RuntimeError("Context already entered. Context enter calls cannot be nested.")
    txn.owner = TaskRunContext.get() or FlowRunContext.get()
    txn.place_in(get_transaction())
    txn.outer = innermost.get()
    txn.commit_mode = txn.commit_mode or CommitMode.LAZY
    txn.isolation_level = txn.isolation_level or IsolationLevel.READ_COMMITTED
    if txn.logger is LOGGER:
        txn.logger = get_run_logger() if txn.owner is not None else get_logger("transactions")


def _exit(txn: BaseTransaction) -> None:
    if txn.state == TransactionState.PENDING:
        raise RuntimeError("Asymmetric use of context. Context exit called without an enter.")
    _leave_block(txn)


def _leave_block(txn: BaseTransaction) -> None:
    """Code that follows is in the transaction around it."""
    if innermost.get() is txn:
        innermost.set(txn.outer)


def _client(txn: BaseTransaction) -> Any:
    """What the service is asked with; outside of flow runs it is not."""
    if txn.call is not None:
        return txn.call.client
    flow = FlowRunContext.get()
    return None if flow is None else flow.client or get_client()
