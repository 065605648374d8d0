"""Results: values kept with the states that produced them, and under keys.

A small value travels inside its state. A larger one, or any where a storage is named, is stored under the SHA-256 of
its bytes, in a folder or any fsspec location; whoever reads it compares the digest, so a file that was cut short or
altered is reported and never returned.

A key names a record, a file of its own, and the record names the value. So a key can come to mean another value, and
no state ever points to one that is not its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic
from uuid import uuid4

from playhead import settings, v1
from playhead.context import FlowRunContext, TaskRunContext
from playhead.exceptions import ConfigurationError, CorruptResult, MissingResult
from playhead.locking.protocol import IsolationLevel, LockManager
from playhead.records import dump_record, file_name, load_record
from playhead.serializers import Serializer, dumps, resolve_serializer
from playhead.state import R
from playhead.storage import Place, fetch, put, url_of
from playhead.stored_results import StoredResult

INLINE_BYTES_MAX = 16 * 1024

logger = logging.getLogger("playhead.results")


def new_key() -> str:
    """A key that nobody else has."""
    return uuid4().hex


@dataclass
class ResultRecordMetadata:
    """What is known of a recorded value. `expiration`: when it stops to exist for `exists`; None: never.

    `serializer`: what the value is to be stored with; None: exact JSON, else a pickle. `stored` is the stored value.
    """

    storage_key: str
    expiration: datetime | None = None
    serializer: Serializer | None = None
    stored: v1.Result | None = field(default=None, repr=False)

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.expiration is not None and self.expiration <= datetime.now(UTC)


@dataclass
class ResultRecord(Generic[R]):
    """A value and what is known of it."""

    metadata: ResultRecordMetadata
    result: R

    @property
    def expiration(self) -> datetime | None:
        """When it stops to exist for `exists`; None: never."""
        return self.metadata.expiration

    @property
    def serializer(self) -> Serializer | None:
        """What the value is to be stored with."""
        return self.metadata.serializer


@dataclass
class ResultStore:
    """Where values are stored, and how.

    result_storage           a folder or an fsspec URL; unset: small values in their states, larger ones in
                             PLAYHEAD_RESULTS_URL
    metadata_storage         where the records of keys are; unset: in the result storage
    lock_manager             needed for locks, and for SERIALIZABLE
    cache_result_in_memory   whether values stay in memory with the states that hold them
    serializer               a serializer or its name; unset: exact JSON, else a pickle
    storage_key_fn           makes the keys of records that are given none

    A key is a relative path: "a/b" is the file "b" in the folder "a". Others raise ValueError.
    """

    result_storage: Place | None = None
    metadata_storage: Place | None = None
    lock_manager: LockManager | None = None
    cache_result_in_memory: bool = True
    serializer: Serializer | None = None
    storage_key_fn: Callable[[], str] = field(default=new_key)

    def __post_init__(self) -> None:
        self.result_storage = storage_url(self.result_storage, "result_storage")
        self.metadata_storage = storage_url(self.metadata_storage, "metadata_storage")
        if self.serializer is not None:
            self.serializer = resolve_serializer(self.serializer)

    @property
    def url(self) -> str:
        """Where values go that are not kept in their states."""
        return str(self.result_storage or settings.results_url())

    def update_for_flow(self, flow: Any) -> ResultStore:
        """This store with the options of a flow."""
        changes = self._changes_for(flow)
        return replace(self, **changes) if changes else self

    def update_for_task(self, task: Any) -> ResultStore:
        """This store with the options of a task, and with what its cache policy says of storage and locks."""
        changes = self._changes_for(task)
        if task.result_storage_key is not None:
            changes["storage_key_fn"] = partial(storage_key, task.result_storage_key)
        policy = task.cache_policy
        if policy is not None and policy.key_storage is not None:
            changes["metadata_storage"] = policy.key_storage
        if policy is not None and policy.lock_manager is not None:
            changes["lock_manager"] = policy.lock_manager
        return replace(self, **changes) if changes else self

    def store(self, value: object) -> v1.Result:
        """Store a value durably. Raises `SerializationError`, or OSError when the place refuses it."""
        return self._put(*dumps(value, self.serializer))

    def exists(self, key: str) -> bool:
        """Whether a record that has not expired is under the key; a damaged one counts as none, with a warning."""
        try:
            return self.find(key) is not None
        except CorruptResult as damage:
            logger.warning("%s", damage)
            return False

    async def aexists(self, key: str) -> bool:
        """The same, without blocking the event loop."""
        return await asyncio.to_thread(self.exists, key)

    def read(self, key: str, holder: str | None = None) -> ResultRecord[Any]:
        """The record under a key; waits while another holder has its lock.

        Raises `MissingResult` when there is none, `CorruptResult` when it or its value is not what was stored.
        """
        if self._is_locked_by_another(key, holder):
            self.wait_for_lock(key)
        return self._read(key)

    async def aread(self, key: str, holder: str | None = None) -> ResultRecord[Any]:
        """The same, without blocking the event loop."""
        if self._is_locked_by_another(key, holder):
            await self.await_for_lock(key)
        return await asyncio.to_thread(self._read, key)

    def create_result_record(
        self, obj: Any, key: str | None = None, expiration: datetime | None = None
    ) -> ResultRecord[Any]:
        """A record to persist later."""
        return ResultRecord(ResultRecordMetadata(key or self.storage_key_fn(), expiration, self.serializer), obj)

    def write(
        self, obj: Any, key: str | None = None, expiration: datetime | None = None, holder: str | None = None
    ) -> None:
        """Store a value under a key, in the place of what is there. Raises as `persist_result_record` does."""
        self.persist_result_record(self.create_result_record(obj, key, expiration), holder)

    async def awrite(
        self, obj: Any, key: str | None = None, expiration: datetime | None = None, holder: str | None = None
    ) -> None:
        """The same, without blocking the event loop."""
        await self.apersist_result_record(self.create_result_record(obj, key, expiration), holder)

    def persist_result_record(self, result_record: ResultRecord[Any], holder: str | None = None) -> None:
        """Store a record, in the place of what is there.

        Raises RuntimeError while another holder has the key's lock, `SerializationError` for a value that has no bytes,
        OSError when the place refuses it.
        """
        metadata = result_record.metadata
        if self._is_locked_by_another(metadata.storage_key, holder):
            raise RuntimeError(
                f"The result of key {metadata.storage_key!r} is locked by another holder: acquire the lock first."
            )
        self.record(metadata, self._put(*dumps(result_record.result, metadata.serializer)))

    async def apersist_result_record(self, result_record: ResultRecord[Any], holder: str | None = None) -> None:
        """The same, without blocking the event loop."""
        await asyncio.to_thread(self.persist_result_record, result_record, holder)

    def find(self, key: str) -> ResultRecordMetadata | None:
        """What is recorded under a key, and has not expired. Raises `CorruptResult` for a damaged record."""
        metadata = self._look_up(key)
        return None if metadata is None or metadata.has_expired else metadata

    def record(self, metadata: ResultRecordMetadata, stored: v1.Result) -> None:
        """Let a key name a value that is stored already."""
        metadata.stored = stored
        key = metadata.storage_key
        put(self._records, file_name(key), dump_record(key, metadata.expiration, stored))

    def supports_isolation_level(self, isolation_level: IsolationLevel) -> bool:
        """Whether transactions of this level can use the store: SERIALIZABLE needs a lock manager."""
        return isolation_level is IsolationLevel.READ_COMMITTED or self.lock_manager is not None

    def acquire_lock(self, key: str, holder: str | None = None, timeout: float | None = None) -> bool:
        """Take the lock of a key, waiting at most so many seconds; False when it was not free in time.

        These methods are those of the lock manager: see `playhead.locking.protocol`. Without one, they raise
        `ConfigurationError`. Unless named, the holder is this thread.
        """
        return self._locks.acquire_lock(key, holder or self.generate_default_holder(), timeout)

    async def aacquire_lock(self, key: str, holder: str | None = None, timeout: float | None = None) -> bool:
        """The same, without blocking the event loop."""
        return await self._locks.aacquire_lock(key, holder or self.generate_default_holder(), timeout)

    def release_lock(self, key: str, holder: str | None = None) -> None:
        """Give the lock of a key back. Raises ValueError when the holder does not hold it."""
        self._locks.release_lock(key, holder or self.generate_default_holder())

    def is_locked(self, key: str) -> bool:
        """Whether anybody holds the lock of a key."""
        return self._locks.is_locked(key)

    def is_lock_holder(self, key: str, holder: str | None = None) -> bool:
        """Whether the holder holds the lock of a key."""
        return self._locks.is_lock_holder(key, holder or self.generate_default_holder())

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until the lock of a key is free; False when it was not within so many seconds."""
        return self._locks.wait_for_lock(key, timeout)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """The same, without blocking the event loop."""
        return await self._locks.await_for_lock(key, timeout)

    @staticmethod
    def generate_default_holder() -> str:
        """This thread, as a holder of locks."""
        return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"

    @property
    def _locks(self) -> LockManager:
        if self.lock_manager is None:
            raise ConfigurationError("This result store has no lock manager: give it one, ResultStore(lock_manager=…).")
        return self.lock_manager

    @property
    def _records(self) -> str:
        return str(self.metadata_storage or self.url)

    def _changes_for(self, definition: Any) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if definition.result_storage is not None:
            changes["result_storage"] = definition.result_storage
        if definition.result_serializer is not None:
            changes["serializer"] = definition.result_serializer
        if self.cache_result_in_memory and not definition.cache_result_in_memory:
            changes["cache_result_in_memory"] = False
        return changes

    def _put(self, data: bytes, media_type: str) -> v1.Result:
        if self.result_storage is None and len(data) <= INLINE_BYTES_MAX:
            return v1.Result(inline=data, media_type=media_type, size_bytes=len(data))
        digest = hashlib.sha256(data)
        name = digest.hexdigest()
        reference = v1.ResultReference(url=put(self.url, f"{name[:2]}/{name}", data), sha256=digest.digest())
        return v1.Result(reference=reference, media_type=media_type, size_bytes=len(data))

    def _look_up(self, key: str) -> ResultRecordMetadata | None:
        """What is recorded under a key. Raises `CorruptResult` when it is not what was stored."""
        url = url_of(self._records, file_name(key))
        try:
            data = fetch(url)
        except FileNotFoundError:
            return None
        expiration, stored = load_record(key, data, url)
        return ResultRecordMetadata(key, expiration, None, stored)

    def _read(self, key: str) -> ResultRecord[Any]:
        metadata = self._look_up(key)
        if metadata is None or metadata.stored is None:
            raise MissingResult(f"There is no result under the key {key!r} in {self._records}.")
        return ResultRecord(metadata, StoredResult(metadata.stored).get())

    def _is_locked_by_another(self, key: str, holder: str | None) -> bool:
        return self.lock_manager is not None and self.is_locked(key) and not self.is_lock_holder(key, holder)


def storage_url(place: Place | None, option: str) -> str | None:
    """A place as text, the same in every process. Raises TypeError for what is neither a path nor a URL."""
    if isinstance(place, (str, os.PathLike)):
        text = os.fspath(place)
        return text if "://" in text else os.path.abspath(os.path.expanduser(text))
    if place is None:
        return None
    raise TypeError(f"{option}: expected a folder or an fsspec URL, got {type(place).__name__}.")


def get_result_store() -> ResultStore:
    """The store of the run that the code is in; outside of runs, that of the settings."""
    flow_run, task_run = FlowRunContext.get(), TaskRunContext.get()
    store = result_store_around(flow_run)
    return store.update_for_task(task_run.task) if task_run else store


def should_persist_result() -> bool:
    """Whether what the run that the code is in returns is to be stored; outside of runs, what the settings say."""
    flow_run, task_run = FlowRunContext.get(), TaskRunContext.get()
    chosen = persist_result_of(task_run.task if task_run else None, flow_run)
    return chosen is not False


def get_default_result_storage() -> str:
    """Where results are stored when nothing else is said: PLAYHEAD_RESULTS_URL."""
    return settings.results_url()


def get_default_result_serializer() -> Serializer | None:
    """What they are stored with: PLAYHEAD_RESULTS_DEFAULT_SERIALIZER; None: exact JSON, else a pickle.

    Raises `ConfigurationError` for a name that is none of a serializer.
    """
    name = settings.value("PLAYHEAD_RESULTS_DEFAULT_SERIALIZER")
    try:
        return resolve_serializer(name) if name else None
    except ValueError as error:
        raise ConfigurationError(f"PLAYHEAD_RESULTS_DEFAULT_SERIALIZER: {error}") from error


def result_store_around(flow_run: FlowRunContext | None) -> ResultStore:
    """The store of a flow run; outside of flow runs, that of the settings."""
    if flow_run is not None and flow_run.result_store is not None:
        store: ResultStore = flow_run.result_store
        return store
    return ResultStore(serializer=get_default_result_serializer())


def persist_result_of(definition: Any, around: FlowRunContext | None) -> bool | None:
    """Whether a flow or task that is called in a flow run has its results stored, as `persist_result` says it.

    What it does not say itself, the flow run says; outside of flow runs, the settings. A task that names a cache policy
    has its results stored all the same, where they can be.
    """
    if definition is not None and definition.persist_result is not None:
        chosen: bool | None = definition.persist_result
        return chosen
    inherited = around.persist_result if around is not None else settings.read("PLAYHEAD_RESULTS_PERSIST_BY_DEFAULT")
    return None if inherited is False and getattr(definition, "names_policy", False) else inherited


def storage_key(template: str) -> str:
    """A `result_storage_key` filled in for the task run that the code is in: over `flow_run`, `task_run` (see
    `playhead.runtime`) and `parameters`. Raises ValueError, which has the template.
    """
    from playhead.runtime import flow_run, task_run  # which knows the contexts' runs

    try:
        key = template.format(flow_run=flow_run, task_run=task_run, parameters=task_run.parameters)
        file_name(key)
    except Exception as error:  # what formats of the user's values raise
        raise ValueError(f"The result_storage_key {template!r} can not be filled in: {error!r}") from error
    return key
