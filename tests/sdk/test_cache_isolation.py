"""Caching under SERIALIZABLE: one run at a time computes a key, the others wait and find it; no path keeps the lock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task
from playhead.cache_policies import INPUTS, CachePolicy
from playhead.locking.filesystem import FileSystemLockManager
from playhead.locking.memory import MemoryLockManager
from playhead.locking.protocol import IsolationLevel, LockManager
from playhead.locking.service import ServiceLockManager
from playhead.serializers import PickleSerializer
from playhead.task_runners import ThreadPoolTaskRunner
from tests.sdk.conftest import Service


class Watched:
    """A lock manager that tells who has asked for locks."""

    def __init__(self, locks: LockManager) -> None:
        self.locks = locks
        self.keys: list[str] = []
        self._asked = threading.Condition()

    def acquire_lock(self, key: str, holder: str, *timeouts: float | None) -> bool:
        self._note(key)
        return self.locks.acquire_lock(key, holder, *timeouts)

    async def aacquire_lock(self, key: str, holder: str, *timeouts: float | None) -> bool:
        self._note(key)
        return await self.locks.aacquire_lock(key, holder, *timeouts)

    def wait_until_asked(self, times: int) -> None:
        """Wait until locks have been asked for so many times."""
        with self._asked:
            self._asked.wait_for(lambda: len(self.keys) >= times)

    @property
    def all_free(self) -> bool:
        """Whether nobody holds a lock that was asked for."""
        return not any(self.locks.is_locked(key) for key in self.keys)

    def _note(self, key: str) -> None:
        with self._asked:
            self.keys.append(key)
            self._asked.notify_all()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.locks, name)


@pytest.fixture(params=["memory", "folder", "service"])
def locks(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> Watched:
    """A lock manager of each kind."""
    made: dict[str, Callable[[], LockManager]] = {
        "memory": MemoryLockManager,
        "folder": lambda: FileSystemLockManager(tmp_path / "locks"),
        "service": ServiceLockManager,
    }
    return Watched(made[request.param]())


@pytest.fixture(params=["keys in the service", "keys in a folder"])
def policy(request: pytest.FixtureRequest, locks: Watched, tmp_path: Path) -> CachePolicy:
    """Arguments as keys, one run at a time."""
    serializable = INPUTS.configure(lock_manager=locks, isolation_level=IsolationLevel.SERIALIZABLE)
    return serializable.configure(key_storage=tmp_path / "keys") if "folder" in request.param else serializable


class Counted:
    """A task whose first call goes on once all have asked for the lock."""

    def __init__(self, policy: CachePolicy, locks: Watched, name: str, calls: int) -> None:
        self.ran: list[str] = []

        def work(name: str) -> int:
            self.ran.append(name)
            locks.wait_until_asked(calls)
            return len(self.ran)

        async def work_async(name: str) -> int:
            return await asyncio.to_thread(work, name)

        self.task = task(cache_policy=policy)(work)
        self.atask = task(cache_policy=policy)(work_async)
        self.name = name


CALLS = 4


@pytest.fixture
def counted(policy: CachePolicy, locks: Watched, tmp_path: Path) -> Counted:
    """Such a task, with a name of its own."""
    return Counted(policy, locks, tmp_path.name, CALLS)


def test_threads_compute_a_key_once(counted: Counted, locks: Watched) -> None:
    with ThreadPoolExecutor(CALLS) as pool:
        calls = [pool.submit(counted.task, counted.name, return_state=True) for _ in range(CALLS)]
        states = [call.result() for call in calls]
    assert sorted(state.name for state in states) == ["Cached"] * (CALLS - 1) + ["Completed"]
    assert [state.result() for state in states] == [1] * CALLS
    assert len(counted.ran) == 1
    assert locks.all_free


def test_submitted_tasks_do_with_fewer_workers_than_wait(counted: Counted, locks: Watched) -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def submitting() -> list[str]:
        futures = [counted.task.submit(counted.name) for _ in range(CALLS)]
        return sorted(future.wait().name for future in futures)

    assert submitting() == ["Cached"] * (CALLS - 1) + ["Completed"]
    assert locks.all_free


def test_tasks_of_one_event_loop_do(counted: Counted, locks: Watched) -> None:
    @flow
    async def gathering() -> list[str]:
        calls = [counted.atask(counted.name, return_state=True) for _ in range(CALLS)]
        return sorted(state.name for state in await asyncio.gather(*calls))

    assert asyncio.run(gathering()) == ["Cached"] * (CALLS - 1) + ["Completed"]
    assert locks.all_free


def test_other_keys_do_not_wait(policy: CachePolicy, locks: Watched, tmp_path: Path) -> None:
    together = threading.Barrier(2)

    @task(cache_policy=policy)
    def meeting(name: str) -> int:
        return together.wait()

    @flow
    def submitting() -> list[int]:
        return sorted(meeting.map([f"{tmp_path.name}-{n}" for n in range(2)]).result())

    assert submitting() == [0, 1]


@pytest.mark.parametrize("level", [None, IsolationLevel.READ_COMMITTED])
def test_without_it_two_may_compute_a_key(service: Service, tmp_path: Path, level: IsolationLevel | None) -> None:
    together = threading.Barrier(2)
    locks = Watched(MemoryLockManager())

    @task(cache_policy=INPUTS.configure(lock_manager=locks, isolation_level=level))
    def meeting(name: str) -> int:
        return together.wait()

    @flow
    def submitting() -> list[int]:
        futures = [meeting.submit(tmp_path.name) for _ in range(2)]
        return sorted(future.result() for future in futures)

    assert submitting() == [0, 1]
    assert not locks.keys


class Unreadable(PickleSerializer):
    """Results that can be stored, and interrupt whoever reads them."""

    type = "unreadable"
    media_type = "application/vnd.playhead.serializer.unreadable"

    def loads(self, blob: bytes) -> Any:
        raise KeyboardInterrupt


class TestTheLockIsGivenBack:
    def test_when_the_function_fails(self, policy: CachePolicy, locks: Watched, tmp_path: Path) -> None:
        @task(cache_policy=policy, retries=1)
        def failing(name: str) -> None:
            assert not locks.all_free, "it has the lock while it runs"
            raise ValueError(name)

        assert failing(tmp_path.name, return_state=True).is_failed()
        assert len(locks.keys) == 1, "and keeps it when it is retried"
        assert locks.all_free

    def test_when_the_run_crashes(self, policy: CachePolicy, locks: Watched, tmp_path: Path) -> None:
        @task(cache_policy=policy)
        def crashing(name: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            crashing(tmp_path.name)
        assert locks.all_free

    def test_when_a_result_that_was_found_raises(self, policy: CachePolicy, locks: Watched, tmp_path: Path) -> None:
        @task(cache_policy=policy, result_serializer=Unreadable())
        def made(name: str) -> int:
            return 1

        assert made(tmp_path.name) == 1
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path.name)
        assert len(locks.keys) == 2
        assert locks.all_free

    def test_when_the_flow_fails_after_a_hit(self, policy: CachePolicy, locks: Watched, tmp_path: Path) -> None:
        @task(cache_policy=policy)
        def made(name: str) -> int:
            return 1

        @flow
        def failing() -> None:
            assert [made(tmp_path.name, return_state=True).name for _ in range(2)] == ["Completed", "Cached"]
            raise ValueError("after the hit")

        with pytest.raises(ValueError, match="after the hit"):
            failing()
        assert locks.all_free

    def test_when_who_waits_for_it_is_cancelled(self, policy: CachePolicy, locks: Watched, tmp_path: Path) -> None:
        @task(cache_policy=policy)
        async def made(name: str) -> int:
            waiting = asyncio.create_task(other(tmp_path.name))
            await asyncio.to_thread(locks.wait_until_asked, 2)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            return 1

        other = made.with_options(name="other")

        assert asyncio.run(made(tmp_path.name)) == 1
        assert len(locks.keys) == 2
        assert locks.all_free

    def test_when_the_result_can_not_be_stored(self, policy: CachePolicy, locks: Watched, tmp_path: Path) -> None:
        @task(cache_policy=policy)
        def made(name: str) -> Any:
            return threading.Lock()

        made(tmp_path.name)
        made(tmp_path.name)
        assert len(locks.keys) == 2
        assert locks.all_free
