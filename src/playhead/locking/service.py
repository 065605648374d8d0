"""Locks between all that use one service: each is a limit of one slot, held by a run under a lease."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.client.interface import GET_TASK_RUN, LIST_SLOT_USERS, Client
from playhead.engine.execution.calls import TaskCall
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.definitions import StandIn
from playhead.engine.execution.drivers import drive_async, drive_sync
from playhead.engine.execution.effects import Ask, Loop
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.leases import keeper_of, request_under_lease
from playhead.engine.execution.proposals import propose
from playhead.engine.execution.slots import Held, give_slots_back, lock_name, take
from playhead.engine.execution.translation import NAME_BYTES_MAX, bounded_line
from playhead.exceptions import AcquireConcurrencySlotTimeoutError
from playhead.runs import TaskRun

HOLD_S_MIN, HOLD_S_MAX = 1.0, 86_400.0

_held: dict[str, Held] = {}
"""What this process holds, by run: the lease of each is renewed until it is released."""


class ServiceLockManager:
    """Gives locks in the order in which they were asked for, wherever that was: `playhead concurrency-limit show
    name:lock:KEY` shows the line.

    See `playhead.locking.protocol.LockManager`. A lock without a `hold_timeout` is freed when the holder's process
    dies: once its lease, PLAYHEAD_LEASE_TTL_S, has lapsed. The same holder in another process waits for that, too. A
    `hold_timeout` is at least 1 second and at most a day. The service is the one that the environment selects.
    """

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Take the lock, waiting in line for it."""
        client = get_client()
        return drive_sync(_acquire(client, key, _name(holder), acquire_timeout, hold_timeout), client)

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """The same, without blocking the event loop."""
        client = get_client()
        return await drive_async(_acquire(client, key, _name(holder), acquire_timeout, hold_timeout), client)

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back; the next in line has it then."""
        drive_sync(_release(key, _name(holder)), get_client())

    def is_locked(self, key: str) -> bool:
        """Whether anybody holds the lock."""
        return drive_sync(_holder(key), get_client()) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether the holder holds the lock."""
        run = drive_sync(_holder(key), get_client())
        return run is not None and run.spec.name == _name(holder)

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until it is one's turn, and let it pass."""
        client = get_client()
        return drive_sync(_pass(client, key, timeout), client)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """The same, without blocking the event loop."""
        client = get_client()
        return await drive_async(_pass(client, key, timeout), client)


def _acquire(client: Client, key: str, holder: str, timeout_s: float | None, hold_s: float | None) -> Loop[bool]:
    run = yield from _holder(key)
    if run is not None and run.spec.name == holder:
        if run.spec.id not in _held and run.status.HasField("lease") and hold_s is None:
            yield from _take_over(client, run)
        return True
    hold = None
    if hold_s is not None:
        hold = Duration()
        hold.FromMilliseconds(round(min(max(hold_s, HOLD_S_MIN), HOLD_S_MAX) * 1_000))
    call = TaskCall(StandIn(holder, "lock"), TaskRun(new_id(), holder, [], "lock", "lock", "", ""), {}, client, None)
    try:
        held = yield from take(call, {lock_name(key): 1}, timeout_s, hold)
    except AcquireConcurrencySlotTimeoutError:
        return False
    _held[call.task_run.run_id] = held
    return True


def _take_over(client: Client, run: v1.TaskRun) -> Loop[None]:
    """Renew here the lease of a lock that another process has taken for the same holder, once that one has died."""
    name = run.spec.name
    mine = TaskRun(run.spec.id, name, [], run.spec.task_key, run.spec.task_key, "", "")
    call = TaskCall(StandIn(name, run.spec.task_key), mine, {}, client, None)
    response = yield from propose(request_under_lease(call, v1.State(type=v1.RUNNING)))
    _held[run.spec.id] = Held(call, keeper_of(call, response))


def _release(key: str, holder: str) -> Loop[None]:
    run = yield from _holder(key)
    if run is None or run.spec.name != holder:
        raise ValueError(f"The lock of {key!r} is not held by {holder!r}.")
    held = _held.pop(run.spec.id, None)
    if held is not None:
        yield from give_slots_back(held)
    else:
        yield from propose(v1.ProposeStateRequest(task_run_id=run.spec.id, state=v1.State(type=v1.COMPLETED)))


def _pass(client: Client, key: str, timeout_s: float | None) -> Loop[bool]:
    turn = new_id()
    free = yield from _acquire(client, key, turn, timeout_s, None)
    if free:
        yield from _release(key, turn)
    return free


def _holder(key: str) -> Loop[v1.TaskRun | None]:
    """The run that holds a lock."""
    request = v1.ListSlotUsersRequest(limit=f"name:{lock_name(key)}", page_size=1)
    answer: v1.ListSlotUsersResponse = yield Ask(LIST_SLOT_USERS, request)
    for user in answer.users:
        found: v1.GetTaskRunResponse = yield Ask(GET_TASK_RUN, v1.GetTaskRunRequest(task_run_id=user.task_run_id))
        return found.task_run
    return None


def _name(holder: str) -> str:
    return bounded_line(holder, NAME_BYTES_MAX)
