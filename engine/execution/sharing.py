"""Sharing: under which key a task run may have the result of an earlier one, and who looks for it.

no policy in effect         nobody: a plain task computes no key
a policy                    the service, when RUNNING is proposed; it remembers the key with COMPLETED
a policy with key_storage   the run itself, in the records there; it proposes COMPLETED "Cached" with what it finds
result_storage_key alone    the same, in the result storage

A task that names no policy has DEFAULT, but only where results are persisted by request: elsewhere the same call of a
flow run has its result by its identity, and two calls with equal arguments are two calls.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from playhead import settings, v1
from playhead.cache_policies import CachePolicy, NoCache
from playhead.context import TaskRunContext
from playhead.engine.execution.calls import TaskCall
from playhead.engine.execution.effects import AwaitLock, Loop
from playhead.engine.execution.translation import bounded, timestamp_of
from playhead.exceptions import HashError
from playhead.locking.protocol import IsolationLevel, LockManager
from playhead.logging.loggers import RunLogger
from playhead.records import file_name
from playhead.results import ResultRecordMetadata, ResultStore, persist_result_of, result_store_around
from playhead.states import Completed, State
from playhead.stored_results import StoredResult

CACHE_KEY_BYTES_MAX = 2_000

logger = logging.getLogger("playhead.results")


@dataclass(slots=True)
class Sharing:
    """How one task run shares its result. With nothing in it, not at all.

    `key`: what the service looks for. `look_in`: the key of the record that the run looks for itself, `named`: of the
    one that `result_storage_key` asks for; both name its result afterwards. `locks`: it has the lock of `lock` then.
    `waits`: what names its result is written when the transaction around is committed, by the hooks in `waiting`.
    """

    key: str = ""
    look_in: str = ""
    named: str = ""
    refresh: bool = False
    lifetime: timedelta | None = None
    store: ResultStore = field(default_factory=ResultStore)
    locks: LockManager | None = None
    lock: str = ""
    waits: bool = False
    waiting: list[Recording] = field(default_factory=list)

    def ask(self, running: v1.State) -> None:
        """Let the service look for a result when RUNNING is proposed."""
        if self.key:
            running.details.cache_key = self.key
            running.details.refresh_cache = self.refresh

    def find(self, logger: RunLogger) -> State[Any] | None:
        """COMPLETED "Cached", when a record names a whole result. What can not be read is told, and made again."""
        if not self.look_in or self.refresh:
            return None
        try:
            metadata = self.store.find(self.look_in)
            if metadata is None or metadata.stored is None:
                return None
            found = StoredResult(metadata.stored)
            found.get()
        except Exception as error:  # damage, or a place that can not be reached, which has errors of its own
            logger.warning("The run runs, for the result under the key %r can not be read: %s", self.look_in, error)
            return None
        return Completed(name="Cached", message=f"Found under the key {self.look_in!r}.", data=found)

    def record(self, result: v1.Result) -> None:
        """Let the records name a result: at once, or when the transaction that the run is called in is committed.

        Raises what their place raises, where a record was asked for by name.
        """
        if not self.named and not self.look_in:
            return
        store = replace(self.store, lock_manager=None)
        recording = Recording(store, self.named, self.look_in, self._expiration(), result)
        if self.waits:
            self.waiting = [recording]
        else:
            recording()

    def remember(self, completed: v1.State) -> None:
        """Let the service remember the result that is proposed."""
        if self.key and completed.HasField("result"):
            completed.details.cache_key = self.key
            if (expiration := self._expiration()) is not None:
                completed.details.cache_expiration.CopyFrom(timestamp_of(expiration))

    def _expiration(self) -> datetime | None:
        return None if self.lifetime is None else datetime.now(UTC) + self.lifetime


@dataclass(frozen=True)
class Recording:
    """Lets records name a result; also as a commit hook. See `Sharing`."""

    __name__: ClassVar[str] = "record_result"

    store: ResultStore
    named: str
    look_in: str
    expiration: datetime | None
    result: v1.Result

    def __call__(self, txn: object = None) -> None:
        if self.named:
            self.store.record(ResultRecordMetadata(self.named, self.expiration), self.result)
        if self.look_in and self.look_in != self.named:
            try:
                self.store.record(ResultRecordMetadata(self.look_in, self.expiration), self.result)
            except Exception as error:  # errors of the place's own
                logger.warning("The result is not shared under the key %r: %s", self.look_in, error)


NOTHING = Sharing()


def sharing_of(call: TaskCall, context: TaskRunContext, logger: RunLogger) -> Sharing:
    """How a task run shares its result. Raises ValueError for a `result_storage_key` that can not be filled in."""
    task = call.task
    policy = _policy_of(call)
    if policy is None and task.result_storage_key is None:
        return NOTHING
    store = result_store_around(call.flow).update_for_task(task)
    sharing = Sharing(store=store, lifetime=task.cache_expiration, waits=call.place is not None)
    if task.result_storage_key is not None:
        sharing.named = sharing.store.storage_key_fn()
    key = _key_of(policy, call, context, logger) if policy is not None else ""
    if policy is not None and key:
        if policy.key_storage is None:
            sharing.key = key
        else:
            sharing.look_in = _as_file(key)
        if policy.isolation_level is IsolationLevel.SERIALIZABLE:
            sharing.locks, sharing.lock = policy.lock_manager, key
    elif not task.names_policy and task.result_storage_key is not None and not _is_off():
        sharing.look_in = sharing.named
    if sharing.key or sharing.look_in:
        refresh = task.refresh_cache
        sharing.refresh = settings.flag("PLAYHEAD_TASKS_REFRESH_CACHE") if refresh is None else refresh
    return sharing


def under_lock(sharing: Sharing, holder: str, loop: Loop[State[Any]]) -> Loop[State[Any]]:
    """Run a loop while the key's lock is held, however the loop ends."""
    locks = sharing.locks
    if locks is None:
        return (yield from loop)
    try:
        yield AwaitLock(locks, sharing.lock, holder)
        return (yield from loop)
    finally:
        # Whoever waits and is cancelled at the moment of being granted the lock has it.
        if locks.is_lock_holder(sharing.lock, holder):
            locks.release_lock(sharing.lock, holder)


def _policy_of(call: TaskCall) -> CachePolicy | None:
    """The policy that is in effect."""
    task = call.task
    if not task.names_policy and persist_result_of(task, call.flow) is not True:
        return None
    policy: CachePolicy | None = task.cache_policy
    if policy is None or isinstance(policy, NoCache) or _is_off():
        return None
    if task.names_policy:
        return policy
    # DEFAULT is about one flow run: outside of any, nobody else could have the key.
    return None if call.flow is None or settings.flag("PLAYHEAD_TASKS_DEFAULT_NO_CACHE") else policy


def _is_off() -> bool:
    return settings.flag("PLAYHEAD_TASKS_DISABLE_CACHING")


def _key_of(policy: CachePolicy, call: TaskCall, context: TaskRunContext, logger: RunLogger) -> str:
    """The key, which is the task's own where the policy is about one task. Without one, the run is not cached."""
    try:
        key = policy.compute_key(context, context.parameters, call.flow.parameters if call.flow else {})
    except HashError as error:
        logger.warning("The run is not cached: %s", error)
        return ""
    except Exception:  # a key function is the user's
        logger.exception("The cache key could not be computed, the run is not cached:")
        return ""
    if key is None:
        return ""
    key = f"{call.task.task_key}:{key}" if policy.of_one_task else str(key)
    if bounded(key, CACHE_KEY_BYTES_MAX) != key:
        return _hashed(key)
    return key


def _as_file(key: str) -> str:
    """The key as that of a record, which is a file."""
    try:
        file_name(key)
    except ValueError:
        return _hashed(key)
    return key


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
