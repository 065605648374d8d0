"""Lock managers: one suite for all of them, and what each promises beyond it."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playhead import v1
from playhead.client.interface import LIST_SLOT_USERS
from playhead.engine.execution.ids import new_id
from playhead.locking.filesystem import FileSystemLockManager
from playhead.locking.memory import MemoryLockManager
from playhead.locking.protocol import LockManager
from playhead.locking.service import ServiceLockManager
from tests.sdk.conftest import Service

BOUND_S = 60.0
"""What a test waits at most for what is to happen at once."""


@pytest.fixture(params=["memory", "filesystem", "embedded service", "remote service"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_address: str
) -> Iterator[LockManager]:
    """Each lock manager."""
    from playhead.engine.execution.connection import close_clients

    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path))
    if request.param == "remote service":
        monkeypatch.setenv("PLAYHEAD_API_URL", server_address)
    kinds: dict[str, Callable[[], LockManager]] = {
        "memory": MemoryLockManager,
        "filesystem": lambda: FileSystemLockManager(tmp_path / "locks"),
    }
    yield kinds.get(request.param, ServiceLockManager)()
    close_clients()


@pytest.fixture(params=["plain", "a/b c", "ключ\n", "x" * 1_000], ids=["plain", "path", "two lines", "long"])
def key(request: pytest.FixtureRequest) -> str:
    """Keys of all kinds, new for each test."""
    return f"{new_id()} {request.param}"


def test_a_lock_has_one_holder(manager: LockManager, key: str) -> None:
    assert isinstance(manager, LockManager)
    assert not manager.is_locked(key)
    assert manager.acquire_lock(key, "alice")
    assert manager.acquire_lock(key, "alice")
    assert manager.is_locked(key)
    assert manager.is_lock_holder(key, "alice")
    assert not manager.is_lock_holder(key, "bob")
    assert not manager.acquire_lock(key, "bob", acquire_timeout=0)
    assert not manager.wait_for_lock(key, timeout=0)
    with pytest.raises(ValueError, match="is not held by 'bob'"):
        manager.release_lock(key, "bob")
    manager.release_lock(key, "alice")
    assert not manager.is_locked(key)
    assert manager.wait_for_lock(key, timeout=0)
    with pytest.raises(ValueError, match="is not held by 'alice'"):
        manager.release_lock(key, "alice")
    assert manager.acquire_lock(key, "bob", acquire_timeout=0)
    manager.release_lock(key, "bob")


def test_who_waits_has_the_lock_when_it_is_released(manager: LockManager) -> None:
    key = new_id()
    manager.acquire_lock(key, "alice")
    got: list[bool] = []
    waiting = threading.Thread(target=lambda: got.append(manager.acquire_lock(key, "bob", acquire_timeout=BOUND_S)))
    waiting.start()
    assert not got
    manager.release_lock(key, "alice")
    waiting.join(BOUND_S)
    assert got == [True]
    assert manager.is_lock_holder(key, "bob")
    manager.release_lock(key, "bob")


def test_tasks_of_one_event_loop_wait_for_each_other(manager: LockManager) -> None:
    key, inside, most = new_id(), 0, 0

    async def work(name: str) -> None:
        nonlocal inside, most
        assert await manager.aacquire_lock(key, name, acquire_timeout=BOUND_S)
        inside, most = inside + 1, max(most, inside + 1)
        await asyncio.sleep(0)
        inside -= 1
        manager.release_lock(key, name)

    async def all_of_them() -> None:
        await asyncio.gather(*(work(f"task {number}") for number in range(8)))
        assert await manager.await_for_lock(key, timeout=BOUND_S)
        await manager.aacquire_lock(key, "last")
        assert not await manager.await_for_lock(key, timeout=0)
        assert not await manager.aacquire_lock(key, "another", acquire_timeout=0)
        manager.release_lock(key, "last")

    asyncio.run(all_of_them())
    assert most == 1


def test_a_lock_that_is_held_for_too_long_is_free_again(manager: LockManager) -> None:
    key = new_id()
    assert manager.acquire_lock(key, "alice", hold_timeout=0.05)
    assert manager.acquire_lock(key, "bob", acquire_timeout=BOUND_S)
    assert not manager.is_lock_holder(key, "alice")
    with pytest.raises(ValueError, match="is not held by 'alice'"):
        manager.release_lock(key, "alice")
    manager.release_lock(key, "bob")


def test_a_lock_that_was_released_in_time_does_not_expire_under_its_next_holder() -> None:
    manager, key = MemoryLockManager(), new_id()
    manager.acquire_lock(key, "alice", hold_timeout=0.01)
    manager.release_lock(key, "alice")
    manager.acquire_lock(key, "bob")
    assert not manager.acquire_lock(key, "carol", acquire_timeout=0.05)
    assert manager.is_lock_holder(key, "bob")
    manager.release_lock(key, "bob")


def test_a_task_that_is_cancelled_leaves_the_line() -> None:
    manager, key = MemoryLockManager(), new_id()

    async def cancelled() -> None:
        manager.acquire_lock(key, "alice")
        waiting = asyncio.create_task(manager.aacquire_lock(key, "bob"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        manager.release_lock(key, "alice")

    asyncio.run(cancelled())
    assert not manager.is_locked(key)


@pytest.mark.parametrize(
    "made",
    [MemoryLockManager(), FileSystemLockManager("locks"), ServiceLockManager()],
    ids=lambda made: type(made).__name__,
)
def test_a_manager_can_be_taken_to_another_process(made: LockManager) -> None:
    assert type(pickle.loads(pickle.dumps(made))) is type(made)
    assert MemoryLockManager() is MemoryLockManager()


def test_who_is_interrupted_while_waiting_leaves_the_line() -> None:
    """Or nobody would give back the lock that is granted later."""
    manager, key = MemoryLockManager(), new_id()
    manager.acquire_lock(key, "holder")
    watching = threading.Thread(target=_interrupt_once_there_is_a_line, args=(manager, key))
    watching.start()
    with pytest.raises(KeyboardInterrupt):
        manager.acquire_lock(key, "interrupted")
    watching.join()
    manager.release_lock(key, "holder")
    assert not manager.is_locked(key)


def _interrupt_once_there_is_a_line(manager: MemoryLockManager, key: str) -> None:
    while len(manager._claims[key]) < 2:
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


COUNTING = """
import os, sys
from pathlib import Path
from playhead.locking.filesystem import FileSystemLockManager
from playhead.locking.service import ServiceLockManager

folder = Path(sys.argv[1])
manager = FileSystemLockManager(folder / "locks") if sys.argv[2] == "filesystem" else ServiceLockManager()
me = str(os.getpid())
for _ in range(15):
    assert manager.acquire_lock("counter", me, acquire_timeout=60)
    count = folder / "count"
    count.write_text(str(int(count.read_text()) + 1))
    manager.release_lock("counter", me)
"""


@pytest.mark.parametrize("kind", ["filesystem", "service"])
def test_processes_that_count_under_a_lock_lose_no_count(embedded: Service, tmp_path: Path, kind: str) -> None:
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", COUNTING, str(tmp_path), kind]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(BOUND_S) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "45"


HOLDING = """
import os, signal
from playhead.locking.service import ServiceLockManager

ServiceLockManager().acquire_lock("key", "killed")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_service_frees_the_lock_of_a_process_that_was_killed(embedded: Service) -> None:
    environment = {**os.environ, "PLAYHEAD_LEASE_TTL_S": "1"}
    assert subprocess.run([sys.executable, "-c", HOLDING], env=environment, check=False).returncode == -signal.SIGKILL
    manager = ServiceLockManager()
    assert manager.is_lock_holder("key", "killed")
    assert manager.acquire_lock("key", "next", acquire_timeout=BOUND_S)
    users = embedded.client.unary(LIST_SLOT_USERS, v1.ListSlotUsersRequest(limit="name:lock:key")).users
    assert [embedded.task_run(user.task_run_id).spec.name for user in users] == ["next"]
    manager.release_lock("key", "next")


def test_the_holder_of_a_lock_goes_on_in_another_process_under_a_lease_of_that_one(embedded: Service) -> None:
    environment = {**os.environ, "PLAYHEAD_LEASE_TTL_S": "1"}
    subprocess.run([sys.executable, "-c", HOLDING], env=environment, check=False)

    def lease_of_lock() -> int:
        (user,) = embedded.client.unary(LIST_SLOT_USERS, v1.ListSlotUsersRequest(limit="name:lock:key")).users
        return embedded.task_run(user.task_run_id).status.lease.token

    manager, before = ServiceLockManager(), lease_of_lock()
    assert manager.acquire_lock("key", "killed")
    assert lease_of_lock() > before
    assert manager.acquire_lock("key", "killed")
    assert not manager.acquire_lock("key", "next", acquire_timeout=0)
    manager.release_lock("key", "killed")
    assert not manager.is_locked("key")
