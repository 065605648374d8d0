"""Slots of named concurrency limits for a stretch of code: a task run of its own holds them while it is RUNNING.

So they are on record like all slots, with who held them and when, and are freed when the process dies.
"""

from __future__ import annotations

from dataclasses import dataclass

from playhead import v1
from playhead.client.interface import LIST_SLOT_USERS, PROPOSE_STATE
from playhead.engine.execution.calls import TaskCall, make_call, spec_of
from playhead.engine.execution.effects import Ask, AwaitTurn, Loop
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.leases import LeaseKeeper, keeper_of, request_under_lease
from playhead.engine.execution.proposals import ASK_AGAIN_S, propose
from playhead.engine.execution.translation import NAME_BYTES_MAX, bounded_line
from playhead.exceptions import AcquireConcurrencySlotTimeoutError, ConcurrencySlotAcquisitionError, NotFound


class Stretch:
    """What the task run that holds the slots is a run of. It has no function."""

    def __init__(self, names: list[str]) -> None:
        self.name = bounded_line(f"concurrency {' '.join(names)}", NAME_BYTES_MAX)
        self.task_key = bounded_line(f"concurrency:{','.join(names)}", NAME_BYTES_MAX)
        self.version: str | None = None
        self.tags: frozenset[str] = frozenset()
        self.retry = v1.RetryPolicy()


@dataclass(slots=True)
class Held:
    """Slots that are held, to be given back. `keeper` renews the lease of a run outside of flow runs."""

    call: TaskCall
    keeper: LeaseKeeper | None


def take_slots(names: list[str], occupy: int, timeout_s: float | None, strict: bool) -> Loop[Held]:
    """Take slots of all the limits, waiting in line for them; what to give back in the end.

    Raises `ConcurrencySlotAcquisitionError` when the limits can not give them, and
    `AcquireConcurrencySlotTimeoutError` when they did not within `timeout_s`.
    """
    call = make_call(Stretch(names), {})
    if strict:
        yield from _require(names)
    spec = spec_of(call, {})
    for name in names:
        spec.slots[name] = occupy
    request = request_under_lease(call, v1.State(type=v1.RUNNING))
    request.create_task_run.CopyFrom(spec)
    left_s = timeout_s
    while True:
        request.request_id = new_id()
        response: v1.ProposeStateResponse = yield Ask(PROPOSE_STATE, request)
        if response.decision == v1.ACCEPT:
            return Held(call, keeper_of(call, response))
        if not (response.decision == v1.WAIT and response.waits_for_slots):
            yield from propose(request_under_lease(call, v1.State(type=v1.CANCELLED, message=response.reason)))
            raise ConcurrencySlotAcquisitionError(f"No slots of {', '.join(names)}: {response.reason}")
        if left_s is not None and left_s <= 0:
            over = v1.State(type=v1.CANCELLED, message="Its time to wait was over.")
            yield from propose(request_under_lease(call, over))
            raise AcquireConcurrencySlotTimeoutError(f"No slots of {', '.join(names)} within {timeout_s:g} s.")
        wait_s = ASK_AGAIN_S if left_s is None else min(left_s, ASK_AGAIN_S)
        yield AwaitTurn(response.run_id, response.meta.revision, wait_s)
        left_s = None if left_s is None else left_s - wait_s


def give_slots_back(held: Held) -> Loop[None]:
    """End the stretch."""
    if held.keeper is not None:
        held.keeper.release()
    yield from propose(request_under_lease(held.call, v1.State(type=v1.COMPLETED)))


def _require(names: list[str]) -> Loop[None]:
    for name in names:
        try:
            yield Ask(LIST_SLOT_USERS, v1.ListSlotUsersRequest(limit=f"name:{name}", page_size=1))
        except NotFound as error:
            raise ConcurrencySlotAcquisitionError(
                f"There is no limit {name!r}: playhead concurrency-limit set name:{name} SLOTS"
            ) from error
