"""Task runners: where submitted tasks run.

ThreadPoolTaskRunner      many at once, on threads of this process; the default
ConcurrentTaskRunner      the same, under its older name
SequentialTaskRunner      one after the other, in the thread that submits
ProcessPoolTaskRunner     functions in worker processes of this machine
playhead.dask             DaskTaskRunner: functions on a Dask cluster
playhead.ray              RayTaskRunner: functions on a Ray cluster
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import partial
from threading import Lock
from typing import Any, Self

from playhead import settings, v1
from playhead.context import FlowRunContext
from playhead.engine.execution.calls import TaskCall, make_call
from playhead.engine.execution.definitions import TaskDefinition
from playhead.engine.execution.drivers import call_user, drive_sync
from playhead.engine.execution.effects import CalledOff, CallUser
from playhead.engine.execution.inputs import allows_own_failure
from playhead.engine.execution.pool import Pool, PooledRun
from playhead.engine.execution.task_loop import task_loop
from playhead.engine.execution.transactions import BaseTransaction
from playhead.engine.signals import Abort, Pause
from playhead.futures import PlayheadFuture, PlayheadFutureList, wait
from playhead.states import State, exception_to_crashed_state

ABANDON_S = 10.0
"""How long a flow run that is over waits for calls that it has called off."""

CALLS_MAX = 1_000
"""How many calls of one flow run are under way on a cluster at most: each has a thread that waits for it."""

LOOK_S = 0.5
"""How often it is looked whether a cluster has grown, and whether calls were called off."""


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
        self.run(call, future)
        if call.flow is not None and call.flow.progress is not None:
            call.flow.progress.submitted(future)
        if isinstance(call.place, BaseTransaction):
            call.place.futures.append(future)
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

    def call_off(self) -> None:  # noqa: B027  # a function in a thread can not be called off
        """The flow run is to stop: end the calls under way, where that can be."""

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
        self._starting = Lock()

    def duplicate(self) -> Self:
        """A runner with as many workers that has not started."""
        return type(self)(self.max_workers)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as one that has not started: so flows can be sent to other processes."""
        return type(self), (self.max_workers,)

    def run(self, call: TaskCall, future: PlayheadFuture[Any]) -> None:
        """Queue a call; it starts when a worker is free."""
        pool = self._pool
        if pool is None:
            with self._starting:
                pool = self._pool = self._pool or self._start()
        pool.submit(PooledRun(task_loop(call), call.client, future))

    def _start(self) -> Pool:
        return Pool(self.max_workers or settings.task_runner_threads())

    def close(self) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def abandon(self) -> None:
        """Start nothing more."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.abandon()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.max_workers == getattr(other, "max_workers", None)

    def __hash__(self) -> int:
        return hash((type(self), self.max_workers))


class ConcurrentTaskRunner(ThreadPoolTaskRunner):
    """`ThreadPoolTaskRunner` under the name that flows of the second generation use."""


class RemoteTaskRunner(ThreadPoolTaskRunner):
    """Base of the runners that call functions in other processes; a thread waits for each call under way.

    The runs stay with the process of their flow: it proposes their states, stores their results, calls their hooks and
    tries them again, also after a worker was lost. Functions, arguments and results are sent as pickles.
    """

    concurrency_type = TaskConcurrencyType.PARALLEL

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__(max_workers)
        self._under_way: set[PlayheadFuture[Any]] = set()

    def run(self, call: TaskCall, future: PlayheadFuture[Any]) -> None:
        """Queue a call; it is sent when there is room."""
        super().run(call, future)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)

    @abstractmethod
    def send(self, call: bytes) -> bytes:
        """What `answer` of playhead.engine.execution.remote_calls makes of a call, elsewhere.

        Raises `WorkerLost` when nobody answers any more, `CalledOff` when that is because of `call_off`.
        """

    def abandon(self) -> None:
        """Start nothing more, and end the calls under way. Returns when that is on record, within `ABANDON_S`."""
        try:
            super().abandon()
        finally:
            self.call_off()
            wait(self._under_way.copy(), ABANDON_S)
            self.close()

    def _start(self) -> Pool:
        return Pool(self.max_workers or os.cpu_count() or 1, self._call)

    def _call(self, effect: CallUser) -> Any:
        from playhead.engine.execution.remote_calls import pack, unpack  # which clients are part of

        if not effect.of_run:
            return call_user(effect)
        call = pack(effect)
        try:
            return unpack(self.send(call), effect)
        except CalledOff:
            flow = FlowRunContext.get()
            stop = flow.progress.stop if flow is not None and flow.progress is not None else None
            raise stop or CancelledError from None


class ProcessPoolTaskRunner(RemoteTaskRunner):
    """Runs tasks in worker processes of this machine, at most `max_workers`; by default as many as it has cores.

    Workers start when they are needed, as fresh interpreters, and end with the flow run. What they run is sent to them,
    from modules by name and else by value, so a script needs no `if __name__ == "__main__":`. A worker that dies makes
    its task run CRASHED, which is tried again by its retries; the others go on, and another one takes its place.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        from playhead.engine.execution.processes import Processes  # loads with the first runner that needs it

        super().__init__(max_workers)
        self._processes = Processes()

    def send(self, call: bytes) -> bytes:
        """Have a worker answer."""
        return self._processes.call(call)

    def call_off(self) -> None:
        """End all workers at once."""
        self._processes.call_off()

    def close(self) -> None:
        """Let the threads and the workers end."""
        super().close()
        self._processes.close()


class ClusterTaskRunner(RemoteTaskRunner):
    """Base of the runners on clusters, which grow and shrink while they are used.

    Up to twice as many calls as the cluster has workers are under way, so that no worker waits for the next one, and a
    cluster that adapts itself sees what to grow for. A run is RUNNING from when its call was handed to the cluster.
    """

    def __init__(self) -> None:
        super().__init__()
        self._resizing = Lock()
        self._looked_at = 0.0
        self._room = 0
        self._off = False

    def duplicate(self) -> Self:
        """Another one on the same cluster, or with the same options, that has not started."""
        return type(self)(**self.options())

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self.options()), ()

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """What it was made with, by name."""

    @abstractmethod
    def connect(self) -> None:
        """Connect to the cluster, or start it."""

    @abstractmethod
    def workers(self) -> int:
        """How many functions the cluster runs at once, as it is now."""

    @abstractmethod
    def disconnect(self) -> None:
        """Leave the cluster, and end it if `connect` has started it, as far as it came."""

    def look(self) -> None:
        """Called every `LOOK_S` by who waits for an answer. Raises `CalledOff`."""
        if self._off:
            raise CalledOff
        self._resize()

    def call_off(self) -> None:
        """Have those that wait for calls give them up."""
        self._off = True

    def close(self) -> None:
        """Let the threads end, and leave the cluster."""
        started = self._room > 0
        super().close()
        self._room = 0
        if started:
            self.disconnect()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClusterTaskRunner) and type(self) is type(other) and self.options() == other.options()

    __hash__ = None  # type: ignore[assignment]  # options may be anything

    def _start(self) -> Pool:
        try:
            self.connect()
            self._room = self._room_now()
        except BaseException:
            self.disconnect()
            raise
        return Pool(self._room, self._call)

    def _resize(self) -> None:
        with self._resizing:
            pool, now = self._pool, time.monotonic()
            if pool is None or now - self._looked_at < LOOK_S:
                return
            self._looked_at = now
            room = self._room_now()
            pool.resize(room - self._room)
            self._room = room

    def _room_now(self) -> int:
        return min(max(2 * self.workers(), 1), CALLS_MAX)


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
