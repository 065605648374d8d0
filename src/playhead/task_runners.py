"""Task runners: where submitted tasks run.

ThreadPoolTaskRunner      many at once, on threads of this process; the default
ConcurrentTaskRunner      the same, under its older name
SequentialTaskRunner      one after the other, in the thread that submits
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Self

from playhead import settings, v1
from playhead.engine.execution.calls import TaskCall, make_call
from playhead.engine.execution.definitions import TaskDefinition
from playhead.engine.execution.drivers import drive_sync
from playhead.engine.execution.inputs import allows_own_failure
from playhead.engine.execution.pool import Pool, PooledRun
from playhead.engine.execution.task_loop import task_loop
from playhead.engine.signals import Abort, Pause
from playhead.futures import PlayheadFuture, PlayheadFutureList
from playhead.states import State, exception_to_crashed_state


class TaskConcurrencyType(Enum):
    """How a runner runs what is submitted to it."""

    SEQUENTIAL = "SEQUENTIAL"
    CONCURRENT = "CONCURRENT"
    PARALLEL = "PARALLEL"


class TaskRunner(ABC):
    """Runs submitted tasks. Each flow run gets a runner of its own: a `duplicate()` of the one its flow was given."""

    concurrency_type = TaskConcurrencyType.CONCURRENT

    @property
    def name(self) -> str:
        """The runner's name: that of its class, without "TaskRunner" and in lower case."""
        return type(self).__name__.lower().replace("taskrunner", "")

    @abstractmethod
    def duplicate(self) -> Self:
        """A runner with the same options that has not started."""

    @abstractmethod
    def run(self, call: TaskCall, future: PlayheadFuture[Any]) -> None:
        """Run a call, now or later, and complete its future in the end."""

    def submit(
        self,
        task: TaskDefinition,
        parameters: dict[str, Any],
        wait_for: Iterable[Any] | None = None,
        dependencies: Mapping[str, list[v1.TaskInput]] | None = None,
    ) -> PlayheadFuture[Any]:
        """Submit one call of a task, with all its parameters."""
        call = make_call(task, parameters, wait_for, dependencies)
        future: PlayheadFuture[Any] = PlayheadFuture(call.task_run.run_id, call.task_run.name)
        future.failure_allowed = future.failure_seen = allows_own_failure(parameters)
        if call.flow is not None and call.flow.progress is not None:
            call.flow.progress.submitted(future)
        self.run(call, future)
        return future

    def map(
        self,
        task: TaskDefinition,
        calls: Iterable[dict[str, Any]],
        wait_for: Iterable[Any] | None = None,
        dependencies: Mapping[str, list[v1.TaskInput]] | None = None,
    ) -> PlayheadFutureList[Any]:
        """Submit a call for each set of parameters."""
        waited = list(wait_for) if wait_for is not None else None
        return PlayheadFutureList(self.submit(task, parameters, waited, dependencies) for parameters in calls)

    def close(self) -> None:  # noqa: B027  # not every runner has something to release
        """Nothing more will be submitted, and all that was has ended."""

    def abandon(self) -> None:
        """The flow run is over: start nothing more, give up what has not started."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class ThreadPoolTaskRunner(TaskRunner):
    """Runs tasks on threads, at most `max_workers` functions at once; by default PLAYHEAD_TASK_RUNNER_THREADS, 64.

    Tasks that wait for their inputs or for a retry hold no thread. Async tasks have an event loop of their own each.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError("`max_workers` must be at least 1.")
        self.max_workers = max_workers
        self._pool: Pool | None = None

    def duplicate(self) -> Self:
        """A runner with as many workers that has not started."""
        return type(self)(self.max_workers)

    def run(self, call: TaskCall, future: PlayheadFuture[Any]) -> None:
        """Queue a call; it starts when a worker is free."""
        if self._pool is None:
            self._pool = Pool(self.max_workers or settings.task_runner_threads())
        self._pool.submit(PooledRun(task_loop(call), call.client, future))

    def close(self) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def abandon(self) -> None:
        """Start nothing more."""
        if self._pool is not None:
            self._pool.abandon()
            self._pool = None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.max_workers == getattr(other, "max_workers", None)

    def __hash__(self) -> int:
        return hash((type(self), self.max_workers))


class ConcurrentTaskRunner(ThreadPoolTaskRunner):
    """`ThreadPoolTaskRunner` under the name that flows of the second generation use."""


class SequentialTaskRunner(TaskRunner):
    """Runs each task at once, in the thread that submits it. `submit` returns when the task has ended."""

    concurrency_type = TaskConcurrencyType.SEQUENTIAL

    def duplicate(self) -> Self:
        """Another one."""
        return type(self)()

    def run(self, call: TaskCall, future: PlayheadFuture[Any]) -> None:
        """Run a call to its end."""
        try:
            future.complete(drive_sync(task_loop(call), call.client))
        except Pause as pause:
            future.complete(pause.state if isinstance(pause.state, State) else exception_to_crashed_state(pause))
        except Abort as abort:
            future.fail(abort)
        except Exception as error:
            future.complete(exception_to_crashed_state(error))
        except BaseException as error:
            future.complete(exception_to_crashed_state(error))
            raise
