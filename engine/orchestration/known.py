"""What the decision core knows of runs and flows: an LRU in front of set-based reads inside the append transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from playhead import v1
from playhead.engine.orchestration import sql
from playhead.engine.orchestration.policy import Subject
from playhead.exceptions import NotFound
from playhead.journal.append import Append
from playhead.journal.encoding import bytes_of, micros_of, stamp, text_of
from playhead.journal.lru import Lru
from playhead.journal.payload import event_of
from playhead.journal.record import Record
from playhead.projector.showing import status_of
from playhead.projector.sql import (
    SELECT_CACHE,
    SELECT_FLOW,
    SELECT_FLOW_BY_ID,
    SELECT_RUN_BY_KEY,
    RunStatements,
    statements,
)

RUNS_MAX = 10_000
"""Runs kept in memory; the others are read when they are asked for."""

RESULT_BYTES_MAX = 1_024
"""Runs that have ended with a larger result inside are not kept: few ask for them again."""

FLOWS_MAX = 1_000


@dataclass(slots=True)
class Run:
    """A run as it is now."""

    subject: Subject
    run_id: bytes
    spec: v1.FlowRunSpec | v1.TaskRunSpec
    status: v1.RunStatus
    flow_run_id: bytes | None
    """Of a task run: the flow run it is in."""


class Known:
    """Runs, flows, cache entries and leases, as of the append transaction."""

    def __init__(self) -> None:
        self._runs: Lru[bytes, Run] = Lru(RUNS_MAX)
        self._flows: Lru[bytes | str, v1.Flow] = Lru(FLOWS_MAX)
        live = statements()
        self._statements: dict[Subject, RunStatements] = {
            Subject.FLOW_RUN: live.flow_runs,
            Subject.TASK_RUN: live.task_runs,
        }
        # Entries and keys of this transaction, which are not in the tables yet.
        self._new_cache: dict[str, tuple[int | None, v1.CacheEntry]] = {}
        self._new_keys: dict[tuple[bytes, str], bytes] = {}
        self._large: list[bytes] = []

    def load(self, append: Append, wanted: Sequence[tuple[Subject, bytes]]) -> None:
        """Read the runs, and the flow runs they are in, that are not known yet."""
        missing = [(subject, run_id) for subject, run_id in wanted if run_id not in self._runs]
        if not missing:
            return
        append.load_heads(run_id for _, run_id in missing)
        found = self._load(append, missing)
        parents = {run.flow_run_id for run in found if run.flow_run_id is not None}
        self._load(append, [(Subject.FLOW_RUN, parent) for parent in parents])

    def run(self, append: Append, subject: Subject, run_id: bytes) -> Run | None:
        """A run as it is now; None when there is none of this kind."""
        run = self._runs.get(run_id)
        if run is None and append.version(run_id):
            self._load(append, [(subject, run_id)])
            run = self._runs.get(run_id)
        return run if run is not None and run.subject is subject else None

    def existing(self, append: Append, subject: Subject, run_id: bytes, field: str) -> Run:
        """A run as it is now. Raises NotFound."""
        run = self.run(append, subject, run_id)
        if run is None:
            kind = "flow run" if subject is Subject.FLOW_RUN else "task run"
            raise NotFound(f"{field}: no {kind} {text_of(run_id)}.", field=field, id=text_of(run_id))
        return run

    def keep(self, run: Run) -> None:
        """A run that was created, or changed otherwise than in its status."""
        self._runs.put(run.run_id, run)

    def ended(self, run: Run) -> None:
        """A run has ended in this transaction. Until it is written, it is known from here alone."""
        if run.status.state.result.ByteSize() > RESULT_BYTES_MAX:
            self._large.append(run.run_id)

    def flow(self, append: Append, key: bytes | str) -> v1.Flow | None:
        """A flow by id or name."""
        flow = self._flows.get(key)
        if flow is None:
            text = SELECT_FLOW_BY_ID if isinstance(key, bytes) else SELECT_FLOW
            for flow_id, name, created_at, revision in append.rows(text, (key,)):
                flow = v1.Flow(id=text_of(bytes(flow_id)), name=name, created_revision=revision)
                stamp(flow.created, created_at)
                self.keep_flow(flow)
        return flow

    def keep_flow(self, flow: v1.Flow) -> None:
        """A flow that was registered."""
        self._flows.put(flow.name, flow)
        self._flows.put(bytes_of(flow.id), flow)

    def run_by_key(self, append: Append, flow_id: bytes, key: str) -> Run | None:
        """The flow run of a flow that has this idempotency key."""
        run_id = self._new_keys.get((flow_id, key))
        if run_id is None:
            rows = append.rows(SELECT_RUN_BY_KEY, (flow_id, key))
            run_id = bytes(rows[0][0]) if rows else None
        return self.run(append, Subject.FLOW_RUN, run_id) if run_id is not None else None

    def keep_key(self, flow_id: bytes, key: str, run_id: bytes) -> None:
        """An idempotency key that was used in this transaction."""
        self._new_keys[flow_id, key] = run_id

    def cache_entry(self, append: Append, key: str) -> v1.CacheEntry | None:
        """The newest entry of a cache key that has not expired."""
        new = self._new_cache.get(key)
        if new is not None and (new[0] is None or new[0] > append.now):
            return new[1]
        for task_run_id, state in append.rows(SELECT_CACHE, (key, append.now)):
            return v1.CacheEntry(task_run_id=text_of(bytes(task_run_id)), state=v1.State.FromString(bytes(state)))
        return None

    def keep_cache_entry(self, run_id: bytes, state: v1.State) -> None:
        """A state that completed under a cache key in this transaction."""
        details = state.details
        expires = micros_of(details.cache_expiration) if details.HasField("cache_expiration") else None
        self._new_cache[details.cache_key] = expires, v1.CacheEntry(task_run_id=text_of(run_id), state=state)

    def lease_expires(self, append: Append, run: Run) -> int:
        """When the run's lease lapses, in microseconds since the Unix epoch."""
        lease = run.status.lease
        for token, expires_at in append.rows(sql.SELECT_LEASE, (run.run_id,)):
            if token == lease.token:
                return int(expires_at)
        return micros_of(run.status.state.timestamp) + micros_of(lease.ttl)

    def written(self) -> None:
        """What this transaction added is in the tables now."""
        self._new_cache.clear()
        self._new_keys.clear()
        for run_id in self._large:
            self._runs.drop(run_id)
        self._large.clear()

    def catch_up(self, records: Iterable[Record]) -> None:
        """Others appended these events: what is known of their runs follows them."""
        for record in records:
            run = self._runs.get(record.stream)
            if run is None:
                continue
            event = v1.Event() if record.payload is None else event_of(record)
            if event.HasField("state_proposed") and not event.state_proposed.HasField("status"):
                # Refused: nothing about the run has changed.
                continue
            status = status_of(event)
            if status.version and status.state.result.ByteSize() <= RESULT_BYTES_MAX:
                run.status = status
            else:
                # Too large to keep, or said by an event that is not known here: read again when it is asked for.
                self._runs.drop(record.stream)

    def reset(self) -> None:
        """Forget everything."""
        self._runs.clear()
        self._flows.clear()
        self.written()

    def _load(self, append: Append, wanted: Iterable[tuple[Subject, bytes]]) -> list[Run]:
        runs: list[Run] = []
        missing: dict[Subject, list[bytes]] = {}
        for subject, run_id in wanted:
            run = self._runs.get(run_id)
            if run is not None:
                runs.append(run)
            elif append.version(run_id):
                missing.setdefault(subject, []).append(run_id)
        for subject, ids in missing.items():
            for row in append.rows_of(self._statements[subject].current, ids):
                run = _run(subject, *row)
                self._runs.put(run.run_id, run)
                runs.append(run)
        return runs


def _run(subject: Subject, run_id: Any, spec: Any, status: Any) -> Run:
    now = v1.RunStatus.FromString(bytes(status))
    if subject is Subject.FLOW_RUN:
        return Run(subject, bytes(run_id), v1.FlowRunSpec.FromString(bytes(spec)), now, None)
    task = v1.TaskRunSpec.FromString(bytes(spec))
    return Run(subject, bytes(run_id), task, now, bytes_of(task.flow_run_id) if task.flow_run_id else None)
