"""Slots of named concurrency limits for a stretch of code: a task run of its own holds them while it is RUNNING.

So they are on record like all slots, with who held them and when, and are freed when the process dies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from shlex import quote
from typing import Any
from weakref import WeakKeyDictionary

from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.client.interface import LIST_SLOT_USERS, PROPOSE_STATE, Client
from playhead.engine.execution.calls import TaskCall, make_call, spec_of
from playhead.engine.execution.definitions import StandIn
from playhead.engine.execution.effects import Ask, AwaitTurn, Loop
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.leases import LeaseKeeper, keeper_of, request_under_lease
from playhead.engine.execution.options import SHOWN_MAX, check_options
from playhead.engine.execution.proposals import ASK_AGAIN_S, Line, propose, until_resumed
from playhead.engine.execution.translation import NAME_BYTES_MAX, bounded_line
from playhead.exceptions import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencySlotAcquisitionError,
    MissingContextError,
    NotFound,
)
from playhead.logging.loggers import RunLogger, get_logger, get_run_logger

NAMES_MAX = 10_000
"""Names of limits of which it is remembered that they were looked for."""

LIMIT_NAME_BYTES_MAX = 495
"""Of a limit's name, without "name:"."""

LOCK_KEY_BYTES_MAX = 400
"""Of a key that is its lock's name; others are known by their digest."""


@dataclass(slots=True)
class Held:
    """Slots that are held, to be given back. `keeper` renews the lease of a run outside of flow runs."""

    call: TaskCall
    keeper: LeaseKeeper | None


def limit_names(given: object) -> list[str]:
    """The names of limits that a block asks for. Raises TypeError and ValueError for what names none."""
    names: list[Any] = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    for name in names:
        fits = isinstance(name, str) and name.isprintable() and 0 < len(name.encode()) <= LIMIT_NAME_BYTES_MAX
        if not fits:
            error = ValueError if isinstance(name, str) else TypeError
            raise error(
                f"`names` must be one line of 1 to {LIMIT_NAME_BYTES_MAX} bytes, or a list of such names, "
                f"not {repr(given)[:SHOWN_MAX]}."
            )
    return names


def take_slots(names: list[str], occupy: int, timeout_s: float | None, strict: bool) -> Loop[Held]:
    """Take slots of all the limits, waiting in line for them; what to give back in the end.

    Raises ValueError and TypeError for options that make no sense, by their names, `ConcurrencySlotAcquisitionError`
    when the limits can not give them, and `AcquireConcurrencySlotTimeoutError` when they did not within `timeout_s`.
    """
    check_options({"occupy": occupy, "timeout_seconds": timeout_s})
    name = bounded_line(f"concurrency {' '.join(names)}", NAME_BYTES_MAX)
    key = bounded_line(f"concurrency:{','.join(names)}", NAME_BYTES_MAX)
    call = make_call(StandIn(name, key), {})
    yield from _look_for(names, call.client, strict)
    return (yield from take(call, dict.fromkeys(names, occupy), timeout_s))


def take(call: TaskCall, slots: dict[str, int], timeout_s: float | None, hold: Duration | None = None) -> Loop[Held]:
    """Take slots for a run, by name, as `take_slots`. `hold`: the length of a lease that is not renewed."""
    names = list(slots)
    spec = spec_of(call, {})
    for name, count in slots.items():
        spec.slots[name] = count
    request = request_under_lease(call, v1.State(type=v1.RUNNING))
    request.create_task_run.CopyFrom(spec)
    if hold is not None:
        request.lease_ttl.CopyFrom(hold)
    left_s, line = timeout_s, Line(_logger())
    while True:
        request.request_id = new_id()
        response: v1.ProposeStateResponse = yield Ask(PROPOSE_STATE, request)
        line.hear(response)
        if response.decision == v1.ACCEPT:
            return Held(call, keeper_of(call, response) if hold is None else None)
        if response.state.type == v1.PAUSED:
            yield from until_resumed(call.task_run.parent_run_id, response)
            continue
        if not (response.decision == v1.WAIT and response.waits_for_slots):
            yield from propose(request_under_lease(call, v1.State(type=v1.CANCELLED, message=response.reason)))
            raise ConcurrencySlotAcquisitionError(f"No slots of {', '.join(names)}: {response.reason}")
        if left_s is not None and left_s <= 0:
            over = v1.State(type=v1.CANCELLED, message="Its time to wait was over.")
            yield from propose(request_under_lease(call, over))
            raise AcquireConcurrencySlotTimeoutError(f"No slots of {', '.join(names)} within {timeout_s:g} s.")
        wait_s = ASK_AGAIN_S if left_s is None else min(left_s, ASK_AGAIN_S)
        yield AwaitTurn(response.run_id, response.meta.revision, wait_s, call.task_run.parent_run_id)
        left_s = None if left_s is None else left_s - wait_s


def give_slots_back(held: Held) -> Loop[None]:
    """End the stretch."""
    if held.keeper is not None:
        held.keeper.release()
    yield from propose(request_under_lease(held.call, v1.State(type=v1.COMPLETED)))


def lock_name(key: str) -> str:
    """The name of the limit that is the lock of a key, whatever the key is."""
    plain = key.isprintable() and len(key.encode()) <= LOCK_KEY_BYTES_MAX
    return f"lock:{key if key and plain else sha256(key.encode(errors='surrogatepass')).hexdigest()}"


def _logger() -> RunLogger:
    """The logger of the run that the stretch of code is in, if it is in one."""
    try:
        return get_run_logger()
    except MissingContextError:
        return RunLogger(get_logger("concurrency"), {})


def _look_for(names: list[str], client: Client, strict: bool) -> Loop[None]:
    """Say once for each name that it has no limit, and so holds nothing; with `strict`, that is an error each time."""
    looked_for = _looked_for.setdefault(client, set())
    for name in names:
        if name in looked_for and not strict:
            continue
        if len(looked_for) < NAMES_MAX:
            looked_for.add(name)
        try:
            yield Ask(LIST_SLOT_USERS, v1.ListSlotUsersRequest(limit=f"name:{name}", page_size=1))
        except NotFound as error:
            how = f"playhead concurrency-limit set {quote(f'name:{name}')} SLOTS"
            if strict:
                raise ConcurrencySlotAcquisitionError(f"There is no limit {name!r}: {how}") from error
            _logger().warning("There is no limit %r, so that nothing is held back. To set one: %s", name, how)


_looked_for: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()
