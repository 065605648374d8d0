"""Transactions as they stand in memory: what is staged in them, in which order, and to whom they are handed.

PENDING -> ACTIVE -> STAGED -> COMMITTED or ROLLED_BACK

A transaction is a tree: nested ones, and those of the task runs made in it, are its children, in the order in which
they ended. How it ends is in `transaction_ends`, what is recorded of it in `transaction_runs`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from copy import deepcopy
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from playhead.context import FlowRunContext, RunContext, TaskRunContext
from playhead.engine.execution.hook_references import HookReference
from playhead.locking.protocol import IsolationLevel
from playhead.utilities.annotations import NotSet

if TYPE_CHECKING:
    from playhead.engine.execution.calls import TaskCall

LOGGER = logging.getLogger("playhead.transactions")

Hook = Callable[[Any], Any]


class CommitMode(StrEnum):
    """When a transaction is committed: at the end of its block, with the one around it, or not unless it is told to."""

    EAGER = "EAGER"
    LAZY = "LAZY"
    OFF = "OFF"


class TransactionState(StrEnum):
    """How far a transaction is."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    STAGED = "STAGED"
    COMMITTED = "COMMITTED"
    ROLLED_BACK = "ROLLED_BACK"


ENDED = frozenset({TransactionState.COMMITTED, TransactionState.ROLLED_BACK})


class Verdict(int):
    """True or False, as an attribute or called: `txn.is_committed` and `txn.is_committed()` say the same."""

    def __call__(self) -> bool:
        return bool(self)

    def __repr__(self) -> str:
        return repr(bool(self))


class BaseTransaction:
    """What hooks are given, and `get_transaction()` gives. `playhead.transactions.Transaction` has the options.

    `failures` are the errors of rollback hooks.
    """

    aio = False
    """Whether the async methods of its store are used."""

    def __init__(
        self,
        key: str | None = None,
        timeout: float | None = None,
        *,
        store: Any = None,
        commit_mode: CommitMode | None = None,
        isolation_level: IsolationLevel | None = None,
        overwrite: bool = False,
        write_on_commit: bool = True,
        logger: Any = None,
    ) -> None:
        self.key = key
        self.timeout = timeout
        self.store = store
        self.commit_mode = CommitMode(commit_mode) if commit_mode else None
        self.isolation_level = IsolationLevel(isolation_level) if isolation_level else None
        self.overwrite = overwrite
        self.write_on_commit = write_on_commit
        self.logger = logger or LOGGER
        self.state = TransactionState.PENDING
        self.children: list[BaseTransaction] = []
        self.on_commit_hooks: list[Hook] = []
        self.on_rollback_hooks: list[Hook] = []
        self.failures: list[Exception] = []
        # What it shares the outcome of, and what was the innermost before it.
        self.parent: BaseTransaction | None = None
        self.outer: BaseTransaction | None = None
        # The run whose code it is around, or whose own it is.
        self.owner: RunContext | None = None
        # Its run on record, and the run under which calls made in it are counted.
        self.call: TaskCall | None = None
        self.run_id = self.scope_id = ""
        # The flow run that its own run is in; the subflow run whose own transaction it is.
        self.flow_run_id = self.subflow_run_id = ""
        # Of the call whose own transaction it is.
        self.arguments_digest = b""
        self.counter = RunContext({}, None, False)
        # What was submitted in it; why it can not be committed; whether the record has it as committed already.
        self.futures: list[Any] = []
        self.doom: BaseException | None = None
        self.replayed = False
        self.began_s = 0.0
        self.holder = ""
        self._values: dict[str, Any] = {}
        self._staged_value: Any = None

    def set(self, name: str, value: Any) -> None:
        """Keep a value for hooks, and for transactions inside this one."""
        self._values[name] = value

    def get(self, name: str, default: Any = NotSet) -> Any:
        """A copy of a value of this transaction, else of the one around it. Raises ValueError without a default."""
        value = deepcopy(self._values.get(name, NotSet))
        if value is NotSet:
            value = default if self.parent is None else self.parent.get(name, default)
        if value is NotSet:
            raise ValueError(f"Could not retrieve value for unknown key: {name}")
        return value

    def stage(
        self,
        value: Any,
        on_rollback_hooks: list[Hook] | None = None,
        on_commit_hooks: list[Hook] | None = None,
    ) -> None:
        """Give what is written under the key when it is committed, and hooks for either outcome.

        It does nothing in a transaction that is committed.
        """
        if self.state == TransactionState.COMMITTED:
            return
        self._staged_value = value
        self.on_rollback_hooks += on_rollback_hooks or []
        self.on_commit_hooks += on_commit_hooks or []
        self.state = TransactionState.STAGED

    @property
    def is_committed(self) -> Verdict:
        """Whether it is committed, or found its record."""
        return Verdict(self.state == TransactionState.COMMITTED)

    @property
    def is_rolled_back(self) -> Verdict:
        """Whether it is rolled back."""
        return Verdict(self.state == TransactionState.ROLLED_BACK)

    @property
    def is_staged(self) -> Verdict:
        """Whether something is staged, and it has not ended."""
        return Verdict(self.state == TransactionState.STAGED)

    @property
    def is_pending(self) -> Verdict:
        """Whether it has not begun."""
        return Verdict(self.state == TransactionState.PENDING)

    @property
    def is_active(self) -> Verdict:
        """Whether it has begun, and nothing is staged."""
        return Verdict(self.state == TransactionState.ACTIVE)

    @property
    def has_ended(self) -> bool:
        """Whether it is committed or rolled back."""
        return self.state in ENDED

    @property
    def takes_children(self) -> bool:
        """Whether what ends inside shares its outcome."""
        return not self.has_ended and not self.replayed

    @property
    def writes(self) -> bool:
        """Whether committing it writes a record."""
        return bool(self.key and self.store is not None and self.write_on_commit)

    @property
    def locks(self) -> bool:
        """Whether it holds the lock of its key."""
        return bool(self.key and self.store is not None and self.isolation_level == IsolationLevel.SERIALIZABLE)

    @property
    def waits(self) -> bool:
        """Whether anything in it waits for the outcome."""
        own = self.on_commit_hooks or self.on_rollback_hooks or self.writes
        return bool(own) or any(not child.has_ended for child in self.children)

    @property
    def shown(self) -> str:
        """What people call it."""
        return repr(self.key) if self.key else "without a key"

    def place_in(self, around: BaseTransaction | None) -> None:
        """Take over from the transaction around it what it does not say itself."""
        self.parent = around
        if around is not None:
            self.commit_mode = self.commit_mode or around.commit_mode
            self.isolation_level = self.isolation_level or around.isolation_level

    def get_parent(self) -> BaseTransaction | None:
        """The transaction around this one."""
        return self.parent

    def add_child(self, child: BaseTransaction) -> None:
        """Take over a transaction that has ended its block: it shares this one's outcome."""
        child.parent = self
        self.children.append(child)

    def to_commit(self) -> Iterator[BaseTransaction]:
        """What is committed with it: children, in order, before their parent."""
        for child in self.children:
            if not child.has_ended:
                yield from child.to_commit()
        yield self

    def to_roll_back(self) -> Iterator[BaseTransaction]:
        """What is rolled back with it: a parent before its children, the last of them first."""
        yield self
        for child in reversed(self.children):
            if not child.has_ended:
                yield from child.to_roll_back()

    def values(self) -> dict[str, Any]:
        """All values that `get` finds."""
        return {**(self.parent.values() if self.parent else {}), **self._values}

    def __getstate__(self) -> dict[str, Any]:
        kept = ("key", "store", "commit_mode", "isolation_level", "write_on_commit", "state", "children", "_values")
        ids = ("run_id", "scope_id", "flow_run_id", "subflow_run_id", "arguments_digest")
        state = {name: getattr(self, name) for name in (*kept, *ids)}
        for name in ("on_commit_hooks", "on_rollback_hooks"):
            state[name] = [HookReference(hook) for hook in getattr(self, name)]
        return {**state, "_staged_value": self._staged_value if self.writes else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        BaseTransaction.__init__(self)
        self.__dict__.update(state)
        for child in self.children:
            child.parent = self


innermost: ContextVar[BaseTransaction | None] = ContextVar("transaction", default=None)
"""The innermost transaction whose block the code is in, in this run or in one around it."""

_making = threading.RLock()


def place_of(task: TaskRunContext | None, flow: FlowRunContext | None) -> BaseTransaction | RunContext | None:
    """Where code of a run stands: in a transaction's block, else in a task run or subflow run that is executed here."""
    run = task or flow
    txn = innermost.get()
    if txn is not None and txn.owner is run:
        return txn
    return run if run is not None and run.call is not None else None


def transaction_of(place: BaseTransaction | RunContext | None) -> BaseTransaction | None:
    """The transaction that what ends in this place is handed to.

    A task run's own is made when it is first needed; a subflow run's too, where there is one around it.
    """
    if not isinstance(place, RunContext):
        return place
    if place.transaction is None and place.call is not None:
        with _making:
            if place.transaction is None:
                place.transaction = _own(place)
    own: BaseTransaction | None = place.transaction
    return own


def _own(run: RunContext) -> BaseTransaction | None:
    own = BaseTransaction()
    own.owner, own.state = run, TransactionState.ACTIVE
    own.place_in(transaction_of(run.call.place))
    if isinstance(run, TaskRunContext):
        own.scope_id = run.task_run.run_id
    elif own.parent is None:
        return None
    elif isinstance(run, FlowRunContext):
        own.subflow_run_id = run.flow_run.run_id
    return own
