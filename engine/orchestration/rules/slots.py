"""Slots of concurrency limits: who gets them, who waits for them, how long they are held.

A run that needs slots of several limits gets all of them or none, and nobody is served before those who came earlier
to a limit that both need. Differs: Prefect's waiting runs ask again at random moments; here they stand in line, and the
slots that become free are given to the first (`granted`).
"""

from __future__ import annotations

from collections.abc import Iterable

from playhead import v1
from playhead.engine.orchestration.rules.bookkeeping import DEFAULT_NAMES, holder_works_on
from playhead.engine.orchestration.rules.effects import Effect, abort, queue, record, replace, wait
from playhead.engine.orchestration.rules.moments import later, nearest_seconds_until
from playhead.engine.orchestration.rules.rule import ANY, Rule, StateType
from playhead.engine.orchestration.rules.scheduling import LATE

AWAITING_SLOT = "AwaitingConcurrencySlot"

GRANT_SLOTS = "GrantSlots"
"""The rule on record for slots that were given to a run that had waited."""

REFUSE_SLOTS = "RefuseSlots"
"""The rule on record for a run that waited for more slots than a limit has now."""

CLAIM_S = 30
"""Seconds in which a run must go on with slots that it was given while it waited."""


class SecureConcurrencySlots(Rule):
    """What the rules for flow runs and task runs share. `queue_max` runs can wait for a limit; further ones have no
    place in line and ask again after `wait_s` seconds.
    """

    def __init__(self, wait_s: int = 30, queue_max: int = 10_000) -> None:
        self.wait_s = wait_s
        self.queue_max = queue_max

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if not facts.limits:
            return None
        if small := too_small(facts.limits):
            return abort(small)
        full = [limit for limit in facts.limits if not is_free(limit)]
        if not full:
            return record(f"Took slots: {_listed(facts.limits)}.")
        reason = f"No free slot: {_described(full)}."
        if not facts.status.HasField("slot_wait") and any(limit.on_full == v1.CANCEL_NEW for limit in full):
            return replace(v1.State(type=v1.CANCELLED, message=reason), reason)
        return self.enqueue(facts, proposed, reason)

    def enqueue(self, facts: v1.Facts, proposed: v1.State, reason: str) -> Effect:
        """What a run is answered that has to wait."""
        raise NotImplementedError

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        needed = [v1.HeldSlots(limit=limit.limit, count=limit.needed) for limit in facts.limits]
        del status.slots[:]
        if all(map(is_free, facts.limits)):
            status.ClearField("slot_wait")
            status.slots.extend(needed)
        elif self.has_place(facts):
            del status.slot_wait.slots[:]
            status.slot_wait.slots.extend(needed)

    def has_place(self, facts: v1.Facts) -> bool:
        """Whether the run can stand in line: it does, or there is room behind those who do."""
        return facts.status.HasField("slot_wait") or all(limit.ahead < self.queue_max for limit in facts.limits)


class SecureFlowConcurrencySlots(SecureConcurrencySlots):
    """any but RUNNING, CANCELLING -> PENDING, RUNNING of a flow run that needs slots and does not hold them: takes
    them; ABORT if the limits could never give them; else REJECT > SCHEDULED "AwaitingConcurrencySlot", in line and with
    the input of a resume, or > CANCELLED when a full limit says CANCEL_NEW and the run is new to the line. One in line
    that proposes RUNNING again before it is due to: WAIT.

    Differs: a retry within the process and a resumed pause still hold theirs, and RUNNING without a slot takes one.
    """

    from_states = ANY - {v1.RUNNING, v1.CANCELLING}
    to_states = frozenset({v1.PENDING, v1.RUNNING})
    version = 3

    def enqueue(self, facts: v1.Facts, proposed: v1.State, reason: str) -> Effect:
        early_s = nearest_seconds_until(facts.status.state.details.scheduled_time, facts.now)
        if proposed.type == v1.RUNNING and facts.status.HasField("slot_wait") and early_s > 0:
            return wait(early_s, reason)
        state = v1.State(type=v1.SCHEDULED, name=AWAITING_SLOT, message=reason)
        state.details.scheduled_time.CopyFrom(later(facts.now, self.wait_s))
        state.details.run_input = proposed.details.run_input
        return replace(state, reason)


class SecureTaskConcurrencySlots(SecureConcurrencySlots):
    """any but RUNNING, CANCELLING -> RUNNING of a task run that needs slots and does not hold them: takes them; ABORT
    if the limits could never give them; else WAIT, in line, or REJECT > CANCELLED when a full limit says CANCEL_NEW and
    the run is new to the line.

    Differs: a run that is due later, or that another rule refuses, takes no slot and no place in line.
    """

    from_states = ANY - {v1.RUNNING, v1.CANCELLING}
    to_states = frozenset({v1.RUNNING})
    version = 2

    def enqueue(self, facts: v1.Facts, proposed: v1.State, reason: str) -> Effect:
        already = facts.status.HasField("slot_wait")
        return queue(self.wait_s, reason) if self.has_place(facts) and not already else wait(self.wait_s, reason)


class EnforceDeploymentConcurrencyOnLate(Rule):
    """SCHEDULED -> SCHEDULED named "Late" of a flow run that needs slots of a full limit that says CANCEL_NEW: REJECT >
    CANCELLED. It missed its time, and would be cancelled when it asks.

    Differs: limits by name count too. A run that stands in line is "AwaitingConcurrencySlot", and is never late.
    """

    from_states = frozenset({v1.SCHEDULED})
    to_states = frozenset({v1.SCHEDULED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if proposed.name != LATE:
            return None
        full = [limit for limit in facts.limits if limit.on_full == v1.CANCEL_NEW and not is_free(limit)]
        if not full:
            return None
        reason = f"Late, and no free slot: {_described(full)}."
        return replace(v1.State(type=v1.CANCELLED, message=reason), reason)


class _KeepSlots(Rule):
    """Slots are held while the run occupies them; a place in line is kept while the run waits."""

    holding: frozenset[StateType]

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        if status.slots:
            if self.occupies(command, status.state):
                for held in status.slots:
                    held.ClearField("claim_by")
            else:
                del status.slots[:]
        if status.HasField("slot_wait") and not (
            status.state.type == v1.SCHEDULED and status.state.name == AWAITING_SLOT
        ):
            status.ClearField("slot_wait")

    def occupies(self, command: v1.ProposeStateRequest, state: v1.State) -> bool:
        """Whether a run in this state holds its slots."""
        return state.type in self.holding


class KeepFlowSlots(_KeepSlots):
    """any -> any: a flow run holds its slots while it is PENDING, RUNNING, CANCELLING, in a blocking pause or awaiting
    a retry in its process; then, and where its process leaves it, they are free. It waits for slots while it is
    "AwaitingConcurrencySlot".
    """

    holding = frozenset({v1.PENDING, v1.RUNNING})
    version = 2

    def occupies(self, command: v1.ProposeStateRequest, state: v1.State) -> bool:
        return super().occupies(command, state) or holder_works_on(command, state)


class KeepTaskSlots(_KeepSlots):
    """any -> any: a task run holds its slots while it is RUNNING or CANCELLING; then they are free. Any change of its
    state ends its waiting for slots.
    """

    holding = frozenset({v1.RUNNING, v1.CANCELLING})


def is_free(limit: v1.LimitFacts) -> bool:
    """Whether the run can have what it needs of a limit now."""
    return not limit.ahead and limit.held + limit.needed <= limit.slots


def granted(facts: v1.Facts) -> v1.RunStatus | None:
    """Give the slots that have become free to a run that waits for them: the run after, or None if it has to wait on.

    The slots are the run's, to be claimed by going on within CLAIM_S. A flow run becomes due: its state is a new one,
    whose revision, 0 here, is the caller's to stamp.
    """
    if not all(map(is_free, facts.limits)):
        return None
    after = v1.RunStatus()
    after.CopyFrom(facts.status)
    after.ClearField("slot_wait")
    until = later(facts.now, CLAIM_S)
    after.slots.extend(v1.HeldSlots(limit=limit.limit, count=limit.needed, claim_by=until) for limit in facts.limits)
    _make_due(after, facts, f"Got slots: {_listed(facts.limits)}.")
    return after


def refused(facts: v1.Facts) -> v1.RunStatus | None:
    """Take the place in line from a run that waits for more than a limit has: the run after, or None if none is too
    small. As with `granted`, a flow run becomes due, to ask again and hear what the limit says; it awaits no slot any
    more, and is late if nobody asks.
    """
    small = too_small(facts.limits)
    if not small:
        return None
    after = v1.RunStatus()
    after.CopyFrom(facts.status)
    after.ClearField("slot_wait")
    _make_due(after, facts, small)
    leave_line(after.state, small)
    return after


def leave_line(state: v1.State, message: str) -> None:
    """Call a flow run that stood in line, and does not any more, what it is."""
    if state.type == v1.SCHEDULED and state.name == AWAITING_SLOT:
        state.name, state.message = DEFAULT_NAMES[v1.SCHEDULED], message


def too_small(limits: Iterable[v1.LimitFacts]) -> str:
    """Why a run can never have what it needs; "" when it can."""
    for limit in limits:
        if limit.needed > limit.slots:
            slots = "1 slot" if limit.slots == 1 else f"{limit.slots} slots"
            return f"{limit.limit} has {slots}, the run needs {limit.needed}: it would never run."
    return ""


def _make_due(after: v1.RunStatus, facts: v1.Facts, message: str) -> None:
    """A flow run that waited for slots is due now, in a new state. Task runs keep theirs."""
    state = after.state
    if state.type == v1.SCHEDULED and state.name == AWAITING_SLOT:
        state.message = message
        state.details.scheduled_time.CopyFrom(facts.now)
        state.timestamp.CopyFrom(facts.now)
        state.revision = 0
        after.next_scheduled_start_time.CopyFrom(facts.now)


def _listed(limits: Iterable[v1.LimitFacts]) -> str:
    return ", ".join(f"{limit.needed} of {limit.limit}" for limit in limits)


def _described(limits: Iterable[v1.LimitFacts]) -> str:
    return "; ".join(
        f"{limit.limit} has {limit.slots}, {limit.held} held; in line before this run: {limit.ahead}"
        for limit in limits
    )
