"""Concurrency limits, who holds their slots and who waits, as of the append transaction.

All of it is kept in memory while any limit is set: what holds slots is bounded by the limits, what waits by the rules.
A lock is a limit of one slot that is there, without being set, while somebody uses it. The truth is in the journal;
this is read from the views and follows each event.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from playhead import v1
from playhead.engine.orchestration.known import Run
from playhead.engine.orchestration.policy import Subject
from playhead.journal.append import Append
from playhead.journal.checks import LOCK
from playhead.journal.payload import event_of
from playhead.journal.record import Record
from playhead.projector.sql import SELECT_LIMITS, SELECT_SLOT_USERS

_LOCK_BYTES = LOCK.encode()

UNLIMITED = 2**32 - 1
"""What a run is told of a limit that was removed while it waited."""


@dataclass(slots=True)
class _Limit:
    """One limit; `limit` is None when it was removed while runs used it, and `is_lock` when it goes with its users.
    `waiting` is in order of arrival.
    """

    limit: v1.ConcurrencyLimit | None = None
    held: dict[bytes, int] = field(default_factory=dict)
    held_count: int = 0
    waiting: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    is_lock: bool = False

    @classmethod
    def unused(cls, key: str) -> _Limit:
        """What there is of a key before anybody uses it."""
        if key.startswith(LOCK):
            return cls(v1.ConcurrencyLimit(limit=key, slots=1, on_full=v1.ENQUEUE), is_lock=True)
        return cls()

    @property
    def slots(self) -> int:
        return UNLIMITED if self.limit is None else self.limit.slots

    def first(self) -> bytes | None:
        """Who is served next."""
        return next(iter(self.waiting), None)

    def ahead_of(self, run_id: bytes) -> int:
        """How many are served before a run, which may not wait yet."""
        if run_id not in self.waiting:
            return len(self.waiting)
        return next(ahead for ahead, other in enumerate(self.waiting) if other == run_id)


@dataclass(slots=True)
class Waiter:
    """A run that waits: what it needs of which limits, and since which revision."""

    run_id: bytes
    subject: Subject
    since: int
    needs: dict[str, int]


class Slots:
    """See the module. Call `load` in each transaction before anything else."""

    def __init__(self) -> None:
        self._loaded = False
        self._limits: dict[str, _Limit] = {}
        self._waiters: dict[bytes, Waiter] = {}
        self._holders: dict[bytes, tuple[str, ...]] = {}
        # Limits that may have something to give since `next_served` last looked, and who is to be looked at in any
        # case: runs that wait for more than a limit has, or for something else than before.
        self._freed: dict[str, None] = {}
        self._singled: dict[bytes, Waiter] = {}

    def load(self, append: Append) -> None:
        """Read limits and users, unless they are known."""
        if self._loaded:
            return
        self._loaded = True
        for key, slots, on_full in append.rows(SELECT_LIMITS, ()):
            self._of(key).limit = v1.ConcurrencyLimit(limit=key, slots=slots, on_full=on_full)
        for run_id, key, is_task, count, holds, since in append.rows(SELECT_SLOT_USERS, ()):
            if holds:
                self._hold(bytes(run_id), {key: count})
            else:
                self._wait(bytes(run_id), Subject.TASK_RUN if is_task else Subject.FLOW_RUN, since, {key: count})

    def limit(self, key: str) -> v1.ConcurrencyLimit | None:
        """A limit as it is set."""
        return self._look(key).limit

    def set(self, key: str, limit: v1.ConcurrencyLimit | None) -> None:
        """Set a limit, or remove it."""
        known = self._of(key)
        known.limit = limit
        for run_id in known.waiting:
            waiter = self._waiters[run_id]
            if waiter.needs[key] > known.slots:
                self._singled[run_id] = waiter
        self._free(key)

    def needed(self, run: Run) -> dict[str, int]:
        """What a run needs of which limits that are set, in the order of their keys; nothing if it holds all of it."""
        if not self._limits and not run.spec.slots:
            return {}
        wanted = {f"name:{name}": count for name, count in run.spec.slots.items()}
        if isinstance(run.spec, v1.TaskRunSpec):
            wanted.update((f"tag:{tag}", 1) for tag in run.status.tags)
        elif run.spec.deployment_id:
            wanted[f"deployment:{run.spec.deployment_id}"] = 1
        needs = {key: wanted[key] for key in sorted(wanted) if self.limit(key) is not None}
        held = {slots.limit: slots.count for slots in run.status.slots}
        return needs if any(held.get(key) != count for key, count in needs.items()) else {}

    def describe(self, run_id: bytes, needs: dict[str, int], into: v1.Facts) -> None:
        """Tell the rules of the limits that a run needs slots of."""
        for key, count in needs.items():
            known = self._look(key)
            into.limits.add(
                limit=key,
                slots=known.slots,
                held=known.held_count - known.held.get(run_id, 0),
                ahead=known.ahead_of(run_id),
                needed=count,
                on_full=known.limit.on_full if known.limit is not None else v1.ENQUEUE,
            )

    def apply(self, run_id: bytes, subject: Subject, status: v1.RunStatus) -> None:
        """A run's status changed: it uses the slots that the status says, and no others."""
        waits = {held.limit: held.count for held in status.slot_wait.slots}
        waiter = self._waiters.get(run_id)
        if waiter is not None and waiter.needs != waits:
            del self._waiters[run_id]
            for key in waiter.needs:
                known = self._limits[key]
                del known.waiting[run_id]
                self._free(key)
            waiter = None
        holds = {held.limit: held.count for held in status.slots}
        for key in self._holders.pop(run_id, ()):
            known = self._limits[key]
            known.held_count -= known.held.pop(run_id)
            if key not in holds:
                self._free(key)
        if holds:
            self._hold(run_id, holds)
        if waits and waiter is None:
            self._wait(run_id, subject, status.slot_wait.since, waits)

    def follow_tags(self, run: Run, updated: v1.RunUpdated) -> None:
        """Let a run that waits, in `updated`, wait for what it needs with its new tags, in the place it has."""
        if not updated.status.HasField("slot_wait"):
            return
        waits = updated.status.slot_wait.slots
        needs = self.needed(replace(run, status=updated.status))
        if needs != {held.limit: held.count for held in waits}:
            updated.waited_for.extend(waits)
            del waits[:]
            waits.extend(v1.HeldSlots(limit=key, count=count) for key, count in needs.items())

    def look_at(self, run: Run) -> None:
        """What a run waits for has changed: it may have its turn, or never, and those behind it may."""
        self.apply(run.run_id, run.subject, run.status)
        waiter = Waiter(run.run_id, run.subject, run.status.slot_wait.since, {})
        self._singled[run.run_id] = self._waiters.get(run.run_id, waiter)

    def next_served(self) -> Iterator[Waiter]:
        """The waiters to be looked at in any case, then those that are first in all their lines, of limits that may
        have become free. The caller tells by `apply` who was refused or given slots, and goes on.
        """
        while self._singled:
            yield self._singled.pop(next(iter(self._singled)))
        while self._freed:
            key = next(iter(self._freed))
            first = self._limits[key].first()
            waiter = self._waiters[first] if first is not None else None
            if waiter is not None and all(self._limits[other].first() == first for other in waiter.needs):
                yield waiter
            if waiter is None or waiter.run_id in self._waiters:
                # Nobody, or somebody who waits for others first, or for more than is free.
                self._freed.pop(key, None)

    def catch_up(self, records: Iterable[Record]) -> None:
        """Others appended these events."""
        if not self._loaded:
            return
        for record in records:
            if record.kind == "concurrency_limit_set":
                self.reset()
                return
            if record.kind not in ("state_proposed", "run_updated", "slots_granted", "slots_refused"):
                continue
            if not self._limits and _LOCK_BYTES not in (record.payload or b""):
                continue
            event = event_of(record)
            if record.kind in ("slots_granted", "slots_refused"):
                served = event.slots_granted if record.kind == "slots_granted" else event.slots_refused
                is_task, status = served.task_run, served.status
            else:
                changed = event.run_updated if record.kind == "run_updated" else event.state_proposed
                is_task, status = changed.command.WhichOneof("run") == "task_run_id", changed.status
                if not changed.HasField("status"):
                    continue
            self.apply(record.stream, Subject.TASK_RUN if is_task else Subject.FLOW_RUN, status)
        # Whoever freed slots has given them, in the same transaction.
        self._freed.clear()

    def reset(self) -> None:
        """Forget everything."""
        self._loaded = False
        self._limits.clear()
        self._waiters.clear()
        self._holders.clear()
        self._freed.clear()
        self._singled.clear()

    @property
    def any_to_serve(self) -> bool:
        """Whether `next_served` may have somebody."""
        return bool(self._freed or self._singled)

    @property
    def any_set(self) -> bool:
        """Whether there is anything to keep: a limit, or a run that uses one that was removed."""
        return bool(self._limits)

    def _of(self, key: str) -> _Limit:
        """A limit, kept from now on."""
        return self._limits.setdefault(key, _Limit.unused(key))

    def _look(self, key: str) -> _Limit:
        """A limit, kept or not."""
        return self._limits.get(key) or _Limit.unused(key)

    def _hold(self, run_id: bytes, counts: dict[str, int]) -> None:
        self._holders[run_id] = (*self._holders.get(run_id, ()), *counts)
        for key, count in counts.items():
            known = self._of(key)
            known.held[run_id] = count
            known.held_count += count

    def _wait(self, run_id: bytes, subject: Subject, since: int, counts: dict[str, int]) -> None:
        waiter = self._waiters.setdefault(run_id, Waiter(run_id, subject, since, {}))
        waiter.needs.update(counts)
        for key in counts:
            waiting = self._of(key).waiting
            last = next(reversed(waiting), None)
            waiting[run_id] = None
            if last is not None and self._waiters[last].since > since:
                # It waited before, for other slots, and keeps its place: those who came later come after it.
                for other in [other for other in waiting if self._waiters[other].since > since]:
                    waiting.move_to_end(other)

    def _free(self, key: str) -> None:
        """There may be something to give to those who wait for a limit. One that nobody uses and that is not set, or is
        a lock, is forgotten.
        """
        known = self._limits[key]
        if known.waiting:
            self._freed[key] = None
        elif (known.limit is None or known.is_lock) and not known.held:
            del self._limits[key]
            self._freed.pop(key, None)
