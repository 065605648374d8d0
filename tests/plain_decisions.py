"""The plain answer to every search for decisions: a Python list of proposals, and conditions in Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from playhead import v1
from playhead.journal.encoding import micros_of, text_of
from playhead.journal.record import Record
from tests.plain_runs import PlainRuns


@dataclass(frozen=True)
class PlainDecision:
    """A proposal on record, and what was known of its run before it."""

    record: Record
    proposed: v1.StateProposed
    flow_run: v1.FlowRun | None
    tags: frozenset[str]


def decisions_of(records: Iterable[Record]) -> list[PlainDecision]:
    """All proposals, oldest first."""
    runs, found = PlainRuns(), []
    for record in records:
        if record.kind == "state_proposed":
            event = v1.Event.FromString(record.payload or b"")
            run_id = text_of(record.stream)
            run = runs.flow_runs.get(run_id) or runs.task_runs[run_id]
            around = run.spec.flow_run_id if isinstance(run, v1.TaskRun) else run_id
            found.append(
                PlainDecision(record, event.state_proposed, runs.flow_runs.get(around), frozenset(run.status.tags))
            )
        runs.add(record)
    return found


def passes(decision: PlainDecision, wanted: v1.DecisionFilter) -> bool:
    """Whether a filter lets a decision through."""
    record, proposed, flow_run, tags = decision.record, decision.proposed, decision.flow_run, decision.tags
    times = wanted.recorded
    return (
        _among(text_of(record.stream), wanted.run_ids)
        and _among(flow_run and flow_run.spec.id, wanted.within_flow_run_ids)
        and _among(flow_run and flow_run.spec.flow_id, wanted.flow_ids)
        and _among(flow_run and flow_run.flow_name, wanted.flow_names)
        and tags.issuperset(wanted.tags.all)
        and (not wanted.tags.any or not tags.isdisjoint(wanted.tags.any))
        and tags.isdisjoint(wanted.tags.none)
        and _among(record.actor, wanted.actors)
        and _among(proposed.decision, wanted.decisions)
        and _among(proposed.rule, wanted.rules)
        and _among(proposed.facts.status.state.type, wanted.from_types)
        and _among(proposed.command.state.type, wanted.to_types)
        and (not times.HasField("from") or micros_of(getattr(times, "from")) <= record.recorded_at)
        and (not times.HasField("until") or record.recorded_at < micros_of(times.until))
        and wanted.first_revision <= record.revision
        and (not wanted.last_revision or record.revision <= wanted.last_revision)
        and (not wanted.HasField("force") or proposed.command.force == wanted.force)
    )


def _among(value: object, wanted: Iterable[object]) -> bool:
    values = list(wanted)
    return not values or value in values
