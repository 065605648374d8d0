"""Filters of the contract as SQL: each condition that is set becomes one clause, all of them must hold."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from playhead import v1
from playhead.exceptions import BadRequest
from playhead.journal import checks
from playhead.journal.sql import events
from playhead.projector.sql import RunTables, ViewTables

TAGS_MAX = 100
"""Tags in one list of a filter."""

Clause = sa.ColumnElement[bool]


def flow_run_clauses(filter: v1.FlowRunFilter, tables: ViewTables) -> list[Clause]:
    """The clauses of a FlowRunFilter. Raises BadRequest naming the field at fault."""
    runs, versions = tables.flow_runs.runs.c, tables.flow_runs.versions.c
    clauses = [
        *_ids(runs.run_id, filter.ids, "filter.ids"),
        *_ids(runs.flow_id, filter.flow_ids, "filter.flow_ids"),
        *_ids(runs.parent_task_run_id, filter.parent_task_run_ids, "filter.parent_task_run_ids"),
        *_ids(runs.deployment_id, filter.deployment_ids, "filter.deployment_ids"),
        *_ids(runs.backfill_id, filter.backfill_ids, "filter.backfill_ids"),
        *_ids(runs.forked_from_run_id, filter.forked_from_run_ids, "filter.forked_from_run_ids"),
        *_common(filter, tables.flow_runs),
        *time_clauses(versions.expected_start_time, filter.expected_start, "filter.expected_start"),
    ]
    if filter.flow_names:
        names = checks.bounded_texts(filter.flow_names, "filter.flow_names")
        flows = tables.flows.c
        clauses.append(runs.flow_id.in_(sa.select(flows.flow_id).where(flows.name.in_(names))))
    if filter.top_level_only:
        clauses.append(runs.parent_task_run_id.is_(None))
    return clauses


def task_run_clauses(filter: v1.TaskRunFilter, tables: ViewTables) -> list[Clause]:
    """The clauses of a TaskRunFilter. Raises BadRequest naming the field at fault."""
    runs = tables.task_runs.runs.c
    clauses = [
        *_ids(runs.run_id, filter.ids, "filter.ids"),
        *_ids(runs.flow_run_id, filter.flow_run_ids, "filter.flow_run_ids"),
        *_common(filter, tables.task_runs),
    ]
    if filter.task_keys:
        clauses.append(runs.task_key.in_(checks.bounded_texts(filter.task_keys, "filter.task_keys")))
    return clauses


def decision_clauses(filter: v1.DecisionFilter, tables: ViewTables, decided: sa.FromClause) -> list[Clause]:
    """The clauses of a DecisionFilter but for its ranges, for decisions in one of `tables.decided()`, joined with their
    events. Raises BadRequest naming the field at fault.
    """
    decisions, runs, flows = decided.c, tables.flow_runs.runs.c, tables.flows.c
    for index, decision in enumerate(filter.decisions):
        checks.known_enum(decision, v1.Decision.values(), f"filter.decisions[{index}]")
    for index, state_type in enumerate(filter.to_types):
        checks.known_enum(state_type, v1.StateType.values(), f"filter.to_types[{index}]")
    for index, state_type in enumerate(filter.from_types):
        if state_type:  # UNSPECIFIED is a run without a state
            checks.known_enum(state_type, v1.StateType.values(), f"filter.from_types[{index}]")
    clauses = _ids(decisions.run_id, filter.run_ids, "filter.run_ids")
    for column, ids, field in (
        (runs.run_id, filter.within_flow_run_ids, "filter.within_flow_run_ids"),
        (runs.flow_id, filter.flow_ids, "filter.flow_ids"),
    ):
        clauses += [_in_flow_run(tables, decided, clause) for clause in _ids(column, ids, field)]
    if filter.flow_names:
        names = checks.bounded_texts(filter.flow_names, "filter.flow_names")
        named = sa.select(flows.flow_id).where(flows.name.in_(names))
        clauses.append(_in_flow_run(tables, decided, runs.flow_id.in_(named)))
    if filter.HasField("tags"):
        kinds = tables.flow_runs, tables.task_runs
        clauses.append(sa.or_(*(_tagged(decided, kind, filter.tags) for kind in kinds)))
    if filter.actors:
        clauses.append(events.c.actor.in_(checks.bounded_texts(filter.actors, "filter.actors")))
    if filter.rules:
        clauses.append(decisions.rule.in_(checks.bounded_texts(filter.rules, "filter.rules")))
    for smallint, values in (
        (decisions.decision, filter.decisions),
        (decisions.before_type, filter.from_types),
        (decisions.proposed_type, filter.to_types),
    ):
        if values:
            clauses.append(smallint.in_(sorted(set(values))))
    if filter.HasField("force"):
        clauses.append(decisions.forced == int(filter.force))
    return clauses


def by_a_rule(filter: v1.DecisionFilter) -> bool:
    """Whether only decisions that a rule made can pass: every refusal has its rule."""
    refusals = bool(filter.decisions) and v1.ACCEPT not in filter.decisions
    return refusals or (bool(filter.rules) and "" not in filter.rules)


def state_types(filter: v1.FlowRunFilter | v1.TaskRunFilter) -> list[int]:
    """The state types asked for, checked; empty: any."""
    for index, value in enumerate(filter.state.types):
        checks.known_enum(value, v1.StateType.values(), f"filter.state.types[{index}]")
    return sorted(set(filter.state.types))


def _common(filter: v1.FlowRunFilter | v1.TaskRunFilter, tables: RunTables) -> list[Clause]:
    runs, versions = tables.runs.c, tables.versions.c
    clauses: list[Clause] = []
    types = state_types(filter)
    if types:
        clauses.append(versions.state_type.in_(types))
    if filter.state.names:
        clauses.append(versions.state_name.in_(checks.bounded_texts(filter.state.names, "filter.state.names")))
    if filter.name_like:
        checks.bounded_text(filter.name_like, "filter.name_like", 500)
        checks.without_zeros(filter.name_like, "filter.name_like")
        clauses.append(versions.folded_name.contains(filter.name_like.casefold(), autoescape=True))
    clauses += _tags(versions.tags, filter.tags)
    clauses += time_clauses(runs.created_at, filter.created, "filter.created")
    clauses += time_clauses(versions.start_time, filter.started, "filter.started")
    return clauses


def _ids(column: sa.ColumnElement[bytes], texts: Sequence[str], field: str) -> list[Clause]:
    return [column.in_(checks.ids_bytes(texts, field))] if texts else []


def _tags(column: sa.ColumnElement[str], tags: v1.TagFilter) -> list[Clause]:
    for field, values in (("all", tags.all), ("any", tags.any), ("none", tags.none)):
        for index, tag in enumerate(checks.bounded_texts(values, f"filter.tags.{field}", TAGS_MAX)):
            if not tag:
                raise BadRequest("must not be empty: no run has such a tag", field=f"filter.tags.{field}[{index}]")
            if "\n" in tag:
                raise BadRequest("no tag has a line feed", field=f"filter.tags.{field}[{index}]")
    clauses = [_has(column, tag) for tag in tags.all]
    if tags.any:
        clauses.append(sa.or_(*(_has(column, tag) for tag in tags.any)))
    clauses += [sa.not_(_has(column, tag)) for tag in tags.none]
    return clauses


def _has(column: sa.ColumnElement[str], tag: str) -> Clause:
    # LIKE would ignore letter case on SQLite; replace() is exact on both databases.
    return sa.func.replace(column, f"\n{tag}\n", "") != column


def _in_flow_run(tables: ViewTables, decided: sa.FromClause, condition: Clause) -> Clause:
    """That a decision is about such a flow run, or about a task run in one. Looked up row by row."""
    runs, task_runs, run_id = tables.flow_runs.runs.c, tables.task_runs.runs.c, decided.c.run_id
    itself = sa.exists().where(runs.run_id == run_id, condition)
    around = sa.exists().where(runs.run_id == task_runs.flow_run_id, task_runs.run_id == run_id, condition)
    return sa.or_(itself, around)


def _tagged(decided: sa.FromClause, kind: RunTables, tags: v1.TagFilter) -> Clause:
    """That the run of a decision had such tags before it."""
    decisions, versions = decided.c, kind.versions
    earlier = versions.alias("earlier").c
    before = (
        sa.select(sa.func.max(earlier.valid_from))
        .where(earlier.run_id == decisions.run_id, earlier.valid_from < decisions.revision)
        .correlate(decided)
        .scalar_subquery()
    )
    return sa.exists().where(versions.c.valid_from == before, *_tags(versions.c.tags, tags))


def time_range(times: v1.TimeRange, field: str) -> tuple[int | None, int | None]:
    """From and until, in microseconds; None where a range is open. Raises BadRequest."""
    start = checks.micros(times.__getattribute__("from"), f"{field}.from") if times.HasField("from") else None
    until = checks.micros(times.until, f"{field}.until") if times.HasField("until") else None
    if start is not None and until is not None and until < start:
        raise BadRequest("ends before it begins", field=field)
    return start, until


def time_clauses(column: sa.ColumnElement[int], times: v1.TimeRange, field: str) -> list[Clause]:
    """The clauses of a TimeRange on a column of microseconds. Raises BadRequest naming the field at fault."""
    start, until = time_range(times, field)
    clauses: list[Clause] = []
    if start is not None:
        clauses.append(column >= start)
    if until is not None:
        clauses.append(column < until)
    return clauses
