"""Cache policies: when two calls of a task are one and the same, so that the second has the result of the first.

INPUTS             the same arguments; `INPUTS - "debug"`: but for that one
TASK_SOURCE        the same source text of the task's function
FLOW_PARAMETERS    the same parameters of the flow run
RUN_ID             the same flow run; outside of flow runs, the same task run
DEFAULT            INPUTS + TASK_SOURCE + RUN_ID
NO_CACHE, NONE     never

`+` asks for the conditions of both. These are about calls of one task: two tasks never share. (Tasks that a function
makes, each with other values enclosed, are one task: what tells them apart has to be an argument, or in a key.)

A key function's keys are the user's own, and tasks whose functions give the same key do share:
`CachePolicy.from_cache_key_fn`. So do those of policies of one's own, classes with a `compute_key`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from playhead.exceptions import HashError
from playhead.locking.protocol import IsolationLevel, LockManager
from playhead.storage import Place
from playhead.utilities.hashing import hash_objects, stable_hash


@dataclass
class CachePolicy:
    """Computes the keys under which results are shared.

    key_storage       where the keys are: a folder or an fsspec URL, for several services to share; unset: the service
    isolation_level   SERIALIZABLE: one run at a time computes a key, the others wait for it; needs a lock manager
    lock_manager      the locks for that: see `playhead.locking`
    """

    key_storage: Place | None = field(default=None, kw_only=True)
    isolation_level: IsolationLevel | None = field(default=None, kw_only=True)
    lock_manager: LockManager | None = field(default=None, kw_only=True)

    of_one_task: ClassVar[bool] = False
    """Whether the keys of different tasks are kept apart."""

    @classmethod
    def from_cache_key_fn(cls, cache_key_fn: Callable[[Any, dict[str, Any]], str | None]) -> CacheKeyFnPolicy:
        """The policy of a function of (context, parameters) that gives the key, or None for no caching."""
        return CacheKeyFnPolicy(cache_key_fn)

    def configure(
        self,
        key_storage: Place | None = None,
        lock_manager: LockManager | None = None,
        isolation_level: IsolationLevel | None = None,
    ) -> Self:
        """This policy with some of these; None leaves one as it is."""
        return replace(
            self,
            key_storage=self.key_storage if key_storage is None else key_storage,
            lock_manager=self.lock_manager if lock_manager is None else lock_manager,
            isolation_level=self.isolation_level if isolation_level is None else isolation_level,
        )

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any] | None, flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """The key of a call; None: no caching. `task_ctx` is its `TaskRunContext`, `inputs` are its arguments.

        Raises `HashError`, a ValueError, when it can not be computed; the call is then made as if there was no policy.
        """
        raise NotImplementedError

    def __add__(self, other: CachePolicy) -> CachePolicy:
        if not isinstance(other, CachePolicy):
            return NotImplemented
        if isinstance(other, NoCache):
            return self
        return CompoundCachePolicy([*self._parts(), *other._parts()], **self._settled_with(other))

    def __sub__(self, other: str) -> CachePolicy:
        if not isinstance(other, str):
            raise TypeError(f"Only names of arguments can be subtracted from cache policies, not {other!r}.")
        return self

    def _parts(self) -> list[CachePolicy]:
        return [self]

    def _settled_with(self, other: CachePolicy) -> dict[str, Any]:
        """What both say of storage, isolation and locks. Raises ValueError where they contradict each other."""
        settled: dict[str, Any] = {}
        for name in ("key_storage", "isolation_level", "lock_manager"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and theirs is not None and mine != theirs:
                raise ValueError(f"Cache policies with different {name} can not be added: {mine!r} and {theirs!r}.")
            settled[name] = theirs if mine is None else mine
        return settled


@dataclass
class CacheKeyFnPolicy(CachePolicy):
    """The key that the user's function gives."""

    cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None = None

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any] | None, flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """What the function says."""
        return self.cache_key_fn(task_ctx, inputs or {}) if self.cache_key_fn is not None else None


@dataclass
class CompoundCachePolicy(CachePolicy):
    """The conditions of several policies. Those that give no key do not count; if none does, there is no caching."""

    policies: list[CachePolicy] = field(default_factory=list)

    @property
    def of_one_task(self) -> bool:  # type: ignore[override]  # what its policies are
        """Whether all of them are about one task."""
        return all(policy.of_one_task for policy in self.policies)

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any] | None, flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """A digest of all their keys."""
        keys = [policy.compute_key(task_ctx, inputs, flow_parameters, **kwargs) for policy in self.policies]
        found = [key for key in keys if key is not None]
        return hash_objects(*found) if found else None

    def __sub__(self, other: str) -> CachePolicy:
        super().__sub__(other)
        return replace(self, policies=[policy - other for policy in self.policies])

    def _parts(self) -> list[CachePolicy]:
        return self.policies


@dataclass
class NoCache(CachePolicy):
    """No caching. Added to another policy, it changes nothing."""

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any] | None, flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> None:
        """None."""

    def __add__(self, other: CachePolicy) -> CachePolicy:
        return other


@dataclass
class TaskSource(CachePolicy):
    """The task's source text; where there is none, as in an interactive session, its bytecode."""

    of_one_task = True

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any] | None, flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """A digest of it, computed once for each task."""
        return task_ctx.task.source_hash if task_ctx is not None else None


@dataclass
class FlowParameters(CachePolicy):
    """The parameters of the flow run."""

    of_one_task = True

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any] | None, flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """A digest of them; None when there are none."""
        return _hash_each(flow_parameters) if flow_parameters else None


@dataclass
class RunId(CachePolicy):
    """The flow run's id; outside of flow runs, the task run's."""

    of_one_task = True

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any] | None, flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """The id."""
        return str(task_ctx.task_run.parent_run_id or task_ctx.task_run.run_id) if task_ctx is not None else None


@dataclass
class Inputs(CachePolicy):
    """The arguments of the call, and the object whose method it is, as `self`, without those in `exclude`."""

    exclude: list[str] = field(default_factory=list)

    of_one_task = True

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any] | None, flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """A digest of them; None when there are none."""
        given = {**(inputs or {}), **receiver_of(task_ctx)}
        counted = {name: value for name, value in given.items() if name not in self.exclude}
        return _hash_each(counted) if counted else None

    def __sub__(self, other: str) -> CachePolicy:
        super().__sub__(other)
        return replace(self, exclude=[*self.exclude, other])


INPUTS = Inputs()
TASK_SOURCE = TaskSource()
FLOW_PARAMETERS = FlowParameters()
RUN_ID = RunId()
NO_CACHE = NONE = NoCache()
DEFAULT = INPUTS + TASK_SOURCE + RUN_ID


def receiver_of(task_ctx: Any) -> dict[str, Any]:
    """Whose method a task is, as `self`: an instance or a class. Empty for functions."""
    function = task_ctx.task.fn if task_ctx is not None else None
    return {"self": function.__self__} if inspect.ismethod(function) else {}


def _hash_each(values: dict[str, Any]) -> str:
    """A digest of values by name. Raises `HashError`, which names the one that has none and says what to do."""
    told = {}
    for name, value in values.items():
        try:
            told[name] = stable_hash(value)
        except HashError as error:
            raise HashError(
                f"{name!r} can not be part of a cache key: {error}. Locks, open files and the like have no digest. "
                f"Leave it out (INPUTS - {name!r}), give a `cache_key_fn`, or do without: `cache_policy=NO_CACHE`."
            ) from error
    return stable_hash(told)
