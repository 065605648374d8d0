"""The plain answer to every read: runs in Python lists, made of the events up to a revision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from playhead import v1
from playhead.journal.encoding import micros_of, text_of, timestamp
from playhead.journal.record import Record

Run = v1.FlowRun | v1.TaskRun


@dataclass
class PlainRuns:
    """All runs as of the last record that was added, in creation order."""

    flows: dict[str, v1.Flow] = field(default_factory=dict)
    flow_runs: dict[str, v1.FlowRun] = field(default_factory=dict)
    task_runs: dict[str, v1.TaskRun] = field(default_factory=dict)
    states: dict[str, list[v1.State]] = field(default_factory=dict)
    decisions: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> PlainRuns:
        """Runs as of the last of these records."""
        runs = cls()
        for record in records:
            runs.add(record)
        return runs

    def add(self, record: Record, event: v1.Event | None = None) -> None:
        """Take one more record into account; `event` is its payload, where that was read before."""
        event = event or v1.Event.FromString(record.payload or b"")
        run_id, created = text_of(record.stream), timestamp(record.recorded_at)
        if record.kind == "flow_registered":
            flow = event.flow_registered
            self.flows[flow.flow_id] = v1.Flow(
                id=flow.flow_id, name=flow.name, created=created, created_revision=record.revision
            )
        elif record.kind == "flow_run_created":
            self.flow_runs[run_id] = v1.FlowRun(
                spec=event.flow_run_created.spec,
                flow_name=self.flows[event.flow_run_created.spec.flow_id].name,
                created=created,
                created_revision=record.revision,
                created_by=record.actor,
            )
            self._change(run_id, event.flow_run_created.status, True)
        elif record.kind == "task_run_created":
            self.task_runs[run_id] = v1.TaskRun(
                spec=event.task_run_created.spec,
                created=created,
                created_revision=record.revision,
                created_by=record.actor,
            )
            self._change(run_id, event.task_run_created.status, True)
        elif record.kind == "state_proposed":
            self.decisions.setdefault(run_id, []).append(record.revision)
            if event.state_proposed.HasField("status"):
                self._change(run_id, event.state_proposed.status, True)
        elif record.kind in ("slots_granted", "slots_refused"):
            self._change(run_id, getattr(event, record.kind).status, True)
        elif record.kind == "run_updated":
            self._change(run_id, event.run_updated.status, False)

    def _change(self, run_id: str, status: v1.RunStatus, new_state: bool) -> None:
        run = self.flow_runs.get(run_id) or self.task_runs[run_id]
        run.status.CopyFrom(status)
        if new_state and status.HasField("state") and status.state not in self.states.get(run_id, []):
            self.states.setdefault(run_id, []).append(status.state)

    def listed_flow_runs(self, wanted: v1.FlowRunFilter, newest_first: bool = True) -> list[v1.FlowRun]:
        """The flow runs that a filter lets through, in order."""
        runs = [run for run in self.flow_runs.values() if flow_run_passes(run, wanted)]
        return runs[::-1] if newest_first else runs

    def listed_task_runs(self, wanted: v1.TaskRunFilter, newest_first: bool = True) -> list[v1.TaskRun]:
        """The task runs that a filter lets through, in order."""
        runs = [run for run in self.task_runs.values() if task_run_passes(run, wanted)]
        return runs[::-1] if newest_first else runs


def flow_run_passes(run: v1.FlowRun, wanted: v1.FlowRunFilter) -> bool:
    """Whether a filter lets a flow run through."""
    spec = run.spec
    return (
        _among(spec.flow_id, wanted.flow_ids)
        and _among(run.flow_name, wanted.flow_names)
        and _among(spec.parent_task_run_id, wanted.parent_task_run_ids)
        and _among(spec.deployment_id, wanted.deployment_ids)
        and _among(spec.backfill_id, wanted.backfill_ids)
        and _among(spec.forked_from_run_id, wanted.forked_from_run_ids)
        and not (wanted.top_level_only and spec.parent_task_run_id)
        and _within(run.status, "expected_start_time", wanted.expected_start)
        and _passes(run, wanted)
    )


def task_run_passes(run: v1.TaskRun, wanted: v1.TaskRunFilter) -> bool:
    """Whether a filter lets a task run through."""
    return (
        _among(run.spec.flow_run_id, wanted.flow_run_ids)
        and _among(run.spec.task_key, wanted.task_keys)
        and _passes(run, wanted)
    )


def counts_of(runs: Iterable[Run]) -> dict[tuple[int, str], int]:
    """How many runs are in each state."""
    return Counter((run.status.state.type, run.status.state.name) for run in runs)


def _passes(run: Run, wanted: v1.FlowRunFilter | v1.TaskRunFilter) -> bool:
    tags, state = set(run.status.tags), run.status.state
    return (
        _among(run.spec.id, wanted.ids)
        and _among(state.type, wanted.state.types)
        and _among(state.name, wanted.state.names)
        and tags.issuperset(wanted.tags.all)
        and (not wanted.tags.any or not tags.isdisjoint(wanted.tags.any))
        and tags.isdisjoint(wanted.tags.none)
        and wanted.name_like.casefold() in run.status.name.casefold()
        and _within(run, "created", wanted.created)
        and _within(run.status, "start_time", wanted.started)
    )


def _among(value: object, wanted: Iterable[object]) -> bool:
    values = list(wanted)
    return not values or value in values


def _within(message: Run | v1.RunStatus, name: str, times: v1.TimeRange) -> bool:
    start = getattr(times, "from")
    if not (times.HasField("from") or times.HasField("until")):
        return True
    if not message.HasField(name):  # type: ignore[arg-type] # the name of a time of this message
        return False
    time = micros_of(getattr(message, name))
    return (not times.HasField("from") or micros_of(start) <= time) and (
        not times.HasField("until") or time < micros_of(times.until)
    )
