"""Folding events into rows. `fold` remembers what happened and never refuses it.

Every event holds the whole of what it changed, so a fold needs nothing but the event: folding the same events, in the
order of their revisions, gives the same rows, whether one at a time or a million.

| event                 | rows                                                                                |
|-----------------------|-------------------------------------------------------------------------------------|
| flow_registered       | flows                                                                               |
| flow_run_created      | flow_runs, first version                                                            |
| task_run_created      | task_runs, first version                                                            |
| state_proposed        | decisions, unless it was accepted as it was; if the run changed: version, slot      |
|                       | users; cache entry if completed                                                     |
| run_updated           | version                                                                             |
| concurrency_limit_set | concurrency limits                                                                  |
| slots_granted         | version, slot users                                                                 |
| input_sent            | run inputs                                                                          |
| input_deleted         | run inputs                                                                          |
| slots_refused         | as slots_granted                                                                    |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from playhead import v1
from playhead.journal.encoding import bytes_of, micros_of
from playhead.journal.errors import NewerDatabase
from playhead.journal.record import Record
from playhead.projector.sql import OPEN, RunStatements, ViewStatements, statements

VIEWS_VERSION = 7
"""Version of these folds and their tables. A process that finds rows of an older one rebuilds them."""

Write = Callable[[str, Sequence[Sequence[Any]]], None]


class UnknownEvent(NewerDatabase):
    """An event of a kind this version does not know: the journal was written by a newer one. Upgrade, do not guess."""


class _Runs:
    """Rows of one kind of run that are not written yet."""

    __slots__ = ("_are_flow_runs", "_statements", "closings", "open", "runs", "versions")

    def __init__(self, statements: RunStatements, are_flow_runs: bool) -> None:
        self._statements = statements
        self._are_flow_runs = are_flow_runs
        self._clear()

    def _clear(self) -> None:
        self.runs: list[tuple[Any, ...]] = []
        self.versions: list[list[Any]] = []
        self.closings: list[tuple[int, bytes]] = []
        self.open: dict[bytes, list[Any]] = {}

    def change(
        self,
        run_id: bytes,
        revision: int,
        status: v1.RunStatus,
        *,
        first: bool = False,
        accepted_from: int | None = None,
    ) -> None:
        """From `revision` on the run's status is this. `accepted_from`: see the table."""
        previous = self.open.get(run_id)
        if previous is not None:
            previous[2] = revision
        elif not first:
            self.closings.append((revision, run_id))
        state = status.state
        tags = status.tags
        row = [
            run_id,
            revision,
            OPEN,
            state.type,
            state.name,
            state.revision,
            status.name.casefold(),
            "\n" + "\n".join(tags) + "\n" if tags else "",
            micros_of(status.start_time) if status.HasField("start_time") else None,
            micros_of(status.expected_start_time) if status.HasField("expected_start_time") else None,
            due_at(status, self._are_flow_runs),
            accepted_from,
            status.SerializeToString(),
        ]
        self.open[run_id] = row
        self.versions.append(row)

    def flush(self, write: Write) -> None:
        if not self.versions:
            return
        write(self._statements.insert_run, self.runs)
        # Close before opening: at no moment has a run two open rows.
        write(self._statements.close_version, self.closings)
        write(self._statements.insert_version, self.versions)
        self._clear()


def due_at(status: v1.RunStatus, is_flow_run: bool) -> int | None:
    """When something may fall due about a run that nobody asks for, in microseconds since the Unix epoch; or None.

    slots given to it while it waited     until it has to claim them
    flow run SCHEDULED as "Scheduled"     when it was to start: some time later it is late
    flow run PAUSED                       when its pause times out
    flow run CANCELLING without a lease   since it is: some time later nobody will end it
    """
    moments = [micros_of(held.claim_by) for held in status.slots if held.HasField("claim_by")] if status.slots else []
    state = status.state
    if is_flow_run and state.type in DUE_TYPES:
        if state.type == v1.SCHEDULED and state.name == "Scheduled":
            moments.append(micros_of(status.next_scheduled_start_time))
        elif state.type == v1.PAUSED and state.details.HasField("pause_timeout"):
            moments.append(micros_of(state.details.pause_timeout))
        elif state.type == v1.CANCELLING and not status.HasField("lease"):
            moments.append(micros_of(state.timestamp))
    return min(moments) if moments else None


DUE_TYPES = frozenset({v1.SCHEDULED, v1.PAUSED, v1.CANCELLING})


class _Slots:
    """Rows of concurrency limits and of who uses their slots that are not written yet."""

    __slots__ = ("_limit_closings", "_limits", "_open_limits", "_open_users", "_statements", "_user_closings", "_users")

    def __init__(self, statements: ViewStatements) -> None:
        self._statements = statements
        self._clear()

    def _clear(self) -> None:
        self._limits: list[list[Any]] = []
        self._limit_closings: list[tuple[int, str]] = []
        self._open_limits: dict[str, list[Any]] = {}
        self._users: list[list[Any]] = []
        self._user_closings: list[tuple[int, bytes]] = []
        # The rows of a run that are open and not written; none, once those that were written are to be closed.
        self._open_users: dict[bytes, list[list[Any]]] = {}

    def set_limit(self, revision: int, key: str, limit: v1.ConcurrencyLimit | None) -> None:
        """From `revision` on the limit is this, None: there is none."""
        previous = self._open_limits.pop(key, None)
        if previous is not None:
            previous[2] = revision
        else:
            self._limit_closings.append((revision, key))
        if limit is not None:
            row = [key, revision, OPEN, limit.slots, limit.on_full]
            self._open_limits[key] = row
            self._limits.append(row)

    def change(self, run_id: bytes, revision: int, before: v1.RunStatus, after: v1.RunStatus, is_task: bool) -> None:
        """From `revision` on the run uses other slots, if it does."""
        # Asked first for what is nearly always so.
        if not (after.slots or before.slots or after.HasField("slot_wait") or before.HasField("slot_wait")):
            return
        users = slot_users(after)
        if users == slot_users(before):
            return
        previous = self._open_users.get(run_id)
        if previous is None:
            self._user_closings.append((revision, run_id))
        else:
            for row in previous:
                row[3] = revision
        rows = [
            [run_id, revision, key, OPEN, is_task, count, holds, revision if holds else after.slot_wait.since]
            for key, count, holds in users
        ]
        self._open_users[run_id] = rows
        self._users += rows

    def flush(self, write: Write) -> None:
        # Nearly always there is nothing.
        if not (self._limit_closings or self._open_users):
            return
        text = self._statements
        write(text.close_limit, self._limit_closings)
        write(text.insert_limit, self._limits)
        write(text.close_slot_users, self._user_closings)
        write(text.insert_slot_user, self._users)
        self._clear()


def slot_users(status: v1.RunStatus) -> list[tuple[str, int, bool]]:
    """The limits a run uses: key, slots, and whether it holds them or waits for them."""
    users = [(held.limit, held.count, True) for held in status.slots]
    if status.HasField("slot_wait"):
        users += [(held.limit, held.count, False) for held in status.slot_wait.slots]
    return users


class _Inputs:
    """Rows of inputs that are not written yet."""

    __slots__ = ("_closings", "_open", "_rows", "_statements")

    def __init__(self, statements: ViewStatements) -> None:
        self._statements = statements
        self._clear()

    def _clear(self) -> None:
        self._rows: list[list[Any]] = []
        self._open: dict[tuple[bytes, str], list[Any]] = {}
        self._closings: list[tuple[int, bytes, str]] = []

    def send(self, revision: int, run_id: bytes, key: str) -> None:
        """From `revision` on it is there."""
        row = self._open[run_id, key] = [revision, OPEN, run_id, key]
        self._rows.append(row)

    def delete(self, revision: int, run_id: bytes, key: str) -> None:
        """From `revision` on it is not."""
        row = self._open.pop((run_id, key), None)
        if row is not None:
            row[1] = revision
        else:
            self._closings.append((revision, run_id, key))

    def flush(self, write: Write) -> None:
        if not (self._closings or self._rows):
            return
        # Close before opening: a key may have been sent anew.
        write(self._statements.close_input, self._closings)
        write(self._statements.insert_input, self._rows)
        self._clear()


class Fold:
    """Events on their way into the views: `apply` each, then `flush` the rows."""

    __slots__ = (
        "_cache",
        "_decisions",
        "_flow_runs",
        "_flows",
        "_inputs",
        "_slots",
        "_statements",
        "_task_runs",
    )

    def __init__(self, prefix: str = "") -> None:
        self._statements: ViewStatements = statements(prefix)
        self._flow_runs = _Runs(self._statements.flow_runs, are_flow_runs=True)
        self._task_runs = _Runs(self._statements.task_runs, are_flow_runs=False)
        self._slots = _Slots(self._statements)
        self._inputs = _Inputs(self._statements)
        self._clear()

    def _clear(self) -> None:
        self._flows: list[tuple[Any, ...]] = []
        self._decisions: list[tuple[Any, ...]] = []
        self._cache: list[tuple[Any, ...]] = []

    def apply(self, record: Record, event: v1.Event) -> None:
        """Fold one event. `event` is the record's payload."""
        folding = FOLDINGS.get(record.kind)
        if folding is None:
            raise UnknownEvent(
                f"Revision {record.revision} is of the unknown kind {record.kind!r}: upgrade Playhead.",
                revision=record.revision,
            )
        folding(self, record, event)

    def flush(self, write: Write) -> None:
        """Hand the rows to `write(statement, rows)` and begin anew."""
        text = self._statements
        self._flow_runs.flush(write)
        self._task_runs.flush(write)
        self._slots.flush(write)
        self._inputs.flush(write)
        if self._flows or self._decisions or self._cache:  # nearly always there is nothing
            write(text.insert_flow, self._flows)
            write(text.insert_decision, self._decisions)
            write(text.insert_cache, self._cache)
            self._clear()

    def _journal_created(self, record: Record, event: v1.Event) -> None:
        """The journal's own first event is in no view."""

    def _flow_registered(self, record: Record, event: v1.Event) -> None:
        flow = event.flow_registered
        self._flows.append((record.revision, bytes_of(flow.flow_id), flow.name, record.recorded_at))

    def _flow_run_created(self, record: Record, event: v1.Event) -> None:
        created = event.flow_run_created
        spec = created.spec
        self._flow_runs.runs.append(
            (
                record.revision,
                record.stream,
                record.recorded_at,
                record.actor,
                spec.SerializeToString(deterministic=True),
                bytes_of(spec.flow_id),
                _id_or_none(spec.parent_task_run_id),
                _id_or_none(spec.deployment_id),
                _id_or_none(spec.backfill_id),
                _id_or_none(spec.forked_from_run_id),
                spec.idempotency_key or None,
            )
        )
        self._flow_runs.change(record.stream, record.revision, created.status, first=True)

    def _task_run_created(self, record: Record, event: v1.Event) -> None:
        created = event.task_run_created
        spec = created.spec
        self._task_runs.runs.append(
            (
                record.revision,
                record.stream,
                record.recorded_at,
                record.actor,
                spec.SerializeToString(deterministic=True),
                _id_or_none(spec.flow_run_id),
                spec.task_key,
            )
        )
        self._task_runs.change(record.stream, record.revision, created.status, first=True)

    def _state_proposed(self, record: Record, event: v1.Event) -> None:
        proposed = event.state_proposed
        command = proposed.command
        before, status = proposed.facts.status, proposed.status
        before_type, proposed_type = before.state.type, command.state.type
        as_it_was = proposed.decision == v1.ACCEPT and not proposed.rule and status.state.type == proposed_type
        accepted_from = before_type if as_it_was and not command.force else None
        if accepted_from is None:
            decided = proposed.decision, proposed.rule, before_type, proposed_type, int(command.force)
            self._decisions.append((record.revision, record.stream, *decided))
        if not proposed.HasField("status"):
            return
        is_task = command.WhichOneof("run") == "task_run_id"
        runs = self._task_runs if is_task else self._flow_runs
        runs.change(record.stream, record.revision, status, accepted_from=accepted_from)
        self._slots.change(record.stream, record.revision, before, status, is_task)
        if is_task and proposed.decision == v1.ACCEPT and command.state.type == v1.COMPLETED:
            self._insert_cache(record, status.state)

    def _run_updated(self, record: Record, event: v1.Event) -> None:
        updated = event.run_updated
        is_task = updated.command.WhichOneof("run") == "task_run_id"
        (self._task_runs if is_task else self._flow_runs).change(record.stream, record.revision, updated.status)
        if updated.waited_for:
            before = v1.RunStatus(slot_wait=v1.SlotWait(slots=updated.waited_for))
            self._slots.change(record.stream, record.revision, before, updated.status, is_task)

    def _concurrency_limit_set(self, record: Record, event: v1.Event) -> None:
        changed = event.concurrency_limit_set
        limit = changed.limit if changed.HasField("limit") else None
        self._slots.set_limit(record.revision, changed.command.limit, limit)

    def _slots_granted(self, record: Record, event: v1.Event) -> None:
        self._served(record, event.slots_granted)

    def _slots_refused(self, record: Record, event: v1.Event) -> None:
        self._served(record, event.slots_refused)

    def _served(self, record: Record, served: v1.SlotsGranted | v1.SlotsRefused) -> None:
        runs = self._task_runs if served.task_run else self._flow_runs
        runs.change(record.stream, record.revision, served.status)
        self._slots.change(record.stream, record.revision, served.facts.status, served.status, served.task_run)

    def _input_sent(self, record: Record, event: v1.Event) -> None:
        sent = event.input_sent.command
        self._inputs.send(record.revision, bytes_of(sent.flow_run_id), sent.key)

    def _input_deleted(self, record: Record, event: v1.Event) -> None:
        deleted = event.input_deleted.command
        self._inputs.delete(record.revision, bytes_of(deleted.flow_run_id), deleted.key)

    def _insert_cache(self, record: Record, state: v1.State) -> None:
        details = state.details
        if details.cache_key:
            expires = micros_of(details.cache_expiration) if details.HasField("cache_expiration") else None
            self._cache.append((details.cache_key, record.revision, record.stream, expires, state.SerializeToString()))


FOLDINGS: dict[str, Callable[[Fold, Record, v1.Event], None]] = {
    "journal_created": Fold._journal_created,
    "flow_registered": Fold._flow_registered,
    "flow_run_created": Fold._flow_run_created,
    "task_run_created": Fold._task_run_created,
    "state_proposed": Fold._state_proposed,
    "run_updated": Fold._run_updated,
    "concurrency_limit_set": Fold._concurrency_limit_set,
    "slots_granted": Fold._slots_granted,
    "input_sent": Fold._input_sent,
    "input_deleted": Fold._input_deleted,
    "slots_refused": Fold._slots_refused,
}


def _id_or_none(text: str) -> bytes | None:
    return bytes_of(text) if text else None
