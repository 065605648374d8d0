"""Slots of concurrency limits, as plain as can be: who holds, who waits, counted anew each time from all that use some.

The laws: what is held never exceeds a limit when it is taken; a run gets all it needs or nothing; those who came first
are served first; whoever has ended holds nothing and waits for nothing; nobody waits while there is enough.
"""

from __future__ import annotations

from collections.abc import Iterator

from playhead import v1
from playhead.journal.encoding import SECOND_US, micros_of
from tests.simulation.broken import hold, same
from tests.simulation.model import TERMINAL, Model, Run

UNLIMITED = 2**32 - 1
"""What there is of a limit that was removed while runs waited for it."""

CLAIM_US = 30 * SECOND_US

OCCUPIED = frozenset({v1.RUNNING, v1.CANCELLING})
"""States in which a run has what it needs, and takes nothing."""


def limit_facts(model: Model, run: Run, to: v1.State) -> list[v1.LimitFacts]:
    """What a decision should be told of the limits, when a run is to go to a state."""
    late = not run.is_task and to.type == v1.SCHEDULED and to.name == "Late"
    return described(model, run, needed(model, run)) if late or asks(run, to) else []


def asks(run: Run, to: v1.State) -> bool:
    """Whether a run that is to go to a state asks for its slots."""
    wanting = {v1.RUNNING} if run.is_task else {v1.PENDING, v1.RUNNING}
    return to.type in wanting and run.status.state.type not in OCCUPIED


def needed(model: Model, run: Run) -> dict[str, int]:
    """Which slots of the limits that are set a run has to get: none if it holds them."""
    wanted = {f"name:{name}": count for name, count in run.spec.slots.items()}
    if isinstance(run.spec, v1.TaskRunSpec):
        wanted.update((f"tag:{tag}", 1) for tag in run.status.tags)
    elif run.spec.deployment_id:
        wanted[f"deployment:{run.spec.deployment_id}"] = 1
    needs = {key: count for key, count in sorted(wanted.items()) if key in model.limits}
    held = {held.limit: held.count for held in run.status.slots}
    return needs if any(held.get(key) != count for key, count in needs.items()) else {}


def described(model: Model, run: Run, needs: dict[str, int]) -> list[v1.LimitFacts]:
    """The limits that a run needs slots of, as it is told of them."""
    facts = []
    for key, count in needs.items():
        limit = model.limits.get(key, v1.ConcurrencyLimit(slots=UNLIMITED, on_full=v1.ENQUEUE))
        facts.append(
            v1.LimitFacts(
                limit=key,
                slots=limit.slots,
                held=held_by_others(model, run, key),
                ahead=len(ahead_of(model, run, key)),
                needed=count,
                on_full=limit.on_full,
            )
        )
    return facts


def waits_for(run: Run) -> dict[str, int]:
    """What a run waits for."""
    if not run.status.HasField("slot_wait"):
        return {}
    return {held.limit: held.count for held in run.status.slot_wait.slots}


def held_by_others(model: Model, run: Run, key: str) -> int:
    """Slots of a limit that other runs hold."""
    others = [other.status.slots for other in model.users.values() if other is not run]
    return sum(held.count for slots in others for held in slots if held.limit == key)


def ahead_of(model: Model, run: Run, key: str) -> list[Run]:
    """Who waits for a limit and came before a run."""
    since = run.status.slot_wait.since if key in waits_for(run) else UNLIMITED
    line = [other for other in model.users.values() if key in waits_for(other)]
    return [other for other in line if other.status.slot_wait.since < since]


def check_taking(model: Model, run: Run, after: v1.RunStatus) -> None:
    """A run goes from what it was to `after`: what it takes, it may take. One that is to run again may wait ended."""
    before = {held.limit: held.count for held in run.status.slots}
    for held in after.slots:
        if before.get(held.limit) != held.count and held.limit in model.limits:
            slots = model.limits[held.limit].slots
            hold(held_by_others(model, run, held.limit) + held.count <= slots, f"{held.limit} gives what it has")
            hold(not ahead_of(model, run, held.limit), f"{held.limit}: those who came first are served first")
    if after.state.type in TERMINAL and after.state != run.status.state:
        hold(not after.slots and not after.HasField("slot_wait"), "what has ended holds no slot and waits for none")
    hold(not (after.slots and after.HasField("slot_wait")), "a run holds all it needs, or waits for all of it")


def check_granted(after: v1.RunStatus, now_us: int) -> None:
    """Slots that a run in line is given are to be claimed: it has half a minute to go on with them."""
    for held in after.slots:
        same(micros_of(held.claim_by), now_us + CLAIM_US, f"{held.limit} is given for a while")


def check_claimed(after: v1.RunStatus) -> None:
    """What runs has claimed its slots."""
    unclaimed = [held.limit for held in after.slots if held.HasField("claim_by")]
    hold(after.state.type != v1.RUNNING or not unclaimed, "what runs has claimed its slots", after)


def check_running(run: Run, proposed: v1.StateProposed, limits: list[v1.LimitFacts]) -> None:
    """What runs has its slots of the limits that it was told of, unless it was forced to."""
    if proposed.decision != v1.ACCEPT or proposed.command.force or not asks(run, proposed.command.state):
        return
    held = {held.limit: held.count for held in proposed.status.slots}
    for limit in limits:
        hold(held.get(limit.limit) == limit.needed, f"what runs holds its slots of {limit.limit}")


def check_nobody_waits_in_vain(model: Model) -> None:
    """Nobody waits for more than there is; of those who are first in all their lines, none could have all it needs."""
    for run in model.users.values():
        for key, count in waits_for(run).items():
            hold(key not in model.limits or count <= model.limits[key].slots, f"run {run.id} will never have {key}")
    for run in first_in_line(model):
        free = all(
            held_by_others(model, run, key) + count <= model.limits[key].slots
            for key, count in waits_for(run).items()
            if key in model.limits
        )
        hold(not free, f"run {run.id} waits for what is free", run.status.slot_wait)


def first_in_line(model: Model) -> Iterator[Run]:
    """The waiting runs that nobody is before."""
    waiting = [(run, run.status.slot_wait.since, needs) for run in model.users.values() if (needs := waits_for(run))]
    heads: dict[str, int] = {}
    for _, since, needs in waiting:
        for key in needs:
            heads[key] = min(since, heads.get(key, since))
    for run, since, needs in waiting:
        if all(heads[key] == since for key in needs):
            yield run
