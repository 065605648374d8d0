"""Reading the views at a revision. Now and then are the same query: valid_from <= at < valid_to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from playhead import v1
from playhead.journal.database import Database
from playhead.journal.sql import events
from playhead.projector.filters import Clause
from playhead.projector.sql import BY_A_RULE, RunTables, ViewTables, made_of

RARE_RUNS_MAX = 1_000
"""Runs in the states asked for up to which they are looked up one by one, rather than all runs walked newest first."""

LOOKED_THROUGH_MAX = 5_000
"""Decisions that are looked through for one page."""

STATE_TYPES = range(10)

AT = "at"
"""The parameter of a statement that is the revision it reads at."""

Row = sa.Row[Any]


class Reads:
    """The queries of the `Runs` service, on the live tables or on those under a prefix."""

    def __init__(self, database: Database, prefix: str = "") -> None:
        self._database = database
        self.tables: ViewTables = made_of(prefix)

    def flow(self, column: str, value: object, at: int) -> Row | None:
        """A flow by one of its columns, if it was registered by then."""
        flows = self.tables.flows
        query = sa.select(flows).where(flows.c[column] == value, flows.c.created_revision <= at)
        with self._database.reading() as connection:
            return connection.execute(query).one_or_none()

    def flows(self, at: int, after: int | None, size: int) -> Sequence[Row]:
        """Flows in the order of their registration."""
        created = self.tables.flows.c.created_revision
        query = sa.select(self.tables.flows).where(created <= at, created > (after or 0)).order_by(created).limit(size)
        with self._database.reading() as connection:
            return connection.execute(query).all()

    def run(self, tables: RunTables, run_id: bytes, at: int) -> Row | None:
        """One run as it was."""
        with self._database.reading() as connection:
            query = self._runs(tables).where(tables.runs.c.run_id == run_id)
            return connection.execute(query, {AT: at}).one_or_none()

    def runs(
        self,
        tables: RunTables,
        at: int,
        clauses: list[Clause],
        types: list[int],
        *,
        after: int | None,
        newest_first: bool,
        size: int,
    ) -> list[Row]:
        """A page of runs in creation order: walk the base rows and look each run's version up."""
        created = tables.runs.c.created_revision
        query = self._runs(tables).where(*clauses).order_by(created.desc() if newest_first else created)
        if after is not None:
            query = query.where(created < after if newest_first else created > after)
        with self._database.reading() as connection:
            if types:
                rare = self._rare(connection, tables, at, types)
                if rare is not None:
                    query = query.where(tables.runs.c.run_id.in_(rare))
            return list(connection.execute(query.limit(size), {AT: at}))

    def counts(self, tables: RunTables, at: int, clauses: list[Clause], bucket_us: int | None) -> list[Row]:
        """(bucket, state type, state name, runs) in one grouped query; bucket 0 when none are asked for."""
        runs, versions = tables.runs.c, tables.versions.c
        bucket = sa.literal(0) if bucket_us is None else runs.created_at - runs.created_at % bucket_us
        query = (
            sa.select(bucket.label("bucket"), versions.state_type, versions.state_name, sa.func.count().label("runs"))
            .where(_valid(tables, at), *clauses)
            .group_by(sa.text("bucket"), versions.state_type, versions.state_name)
            .order_by(sa.text("bucket"), versions.state_type, versions.state_name)
        )
        if clauses or bucket_us is not None:
            query = query.select_from(tables.versions.join(tables.runs, runs.run_id == versions.run_id))
        else:
            # Named one by one, the index by state serves all of them.
            query = query.where(versions.state_type.in_(STATE_TYPES))
        with self._database.reading() as connection:
            return list(connection.execute(query))

    def states(self, tables: RunTables, run_id: bytes, at: int, after: int | None, size: int) -> list[Row]:
        """The events that brought a run to another state, oldest first."""
        versions = tables.versions.c
        query = _of_run(run_id, at, after, size).join(tables.versions, versions.valid_from == events.c.revision)
        with self._database.reading() as connection:
            return list(connection.execute(query.where(versions.state_revision == versions.valid_from)))

    def proposals(self, run_id: bytes, at: int, after: int | None, size: int, decisions: Sequence[int]) -> list[Row]:
        """The events of the proposals made for a run that were decided so (empty: in any way), oldest first."""
        query = _of_run(run_id, at, after, size).where(events.c.kind == "state_proposed")
        if decisions:
            view = self.tables.decisions
            decided = sa.func.coalesce(view.c.decision, int(v1.ACCEPT)).in_(decisions)
            query = query.outerjoin(view, view.c.revision == events.c.revision).where(decided)
        with self._database.reading() as connection:
            return list(connection.execute(query))

    def limits(self, at: int, key: str | None, after: int | None, size: int) -> Sequence[Row]:
        """Concurrency limits, all or one, in the order in which they were set; how much is held and how many wait."""
        limits, users = self.tables.limits.c, self.tables.slot_users.c
        used = [users.limit_key == limits.limit_key, users.valid_from <= at, users.valid_to > at]
        held = sa.select(sa.func.coalesce(sa.func.sum(users.count), 0)).where(*used, users.holds)
        waiting = sa.select(sa.func.count()).where(*used, sa.not_(users.holds))
        query = (
            sa.select(
                self.tables.limits, held.scalar_subquery().label("held"), waiting.scalar_subquery().label("waiting")
            )
            .where(limits.valid_from <= at, limits.valid_to > at, limits.valid_from > (after or 0))
            .order_by(limits.valid_from)
            .limit(size)
        )
        if key is not None:
            query = query.where(limits.limit_key == key)
        with self._database.reading() as connection:
            return list(connection.execute(query))

    def inputs(self, run_id: bytes, at: int, clauses: list[Clause], *, after: int = 0, size: int = 1) -> Sequence[Row]:
        """The events by which a run's inputs were sent that were there, in the order in which they were sent."""
        view = self.tables.inputs
        query = (
            sa.select(events)
            .select_from(events.join(view, view.c.valid_from == events.c.revision))
            .where(view.c.run_id == run_id, view.c.valid_from <= at, view.c.valid_to > at, view.c.valid_from > after)
            .where(*clauses)
            .order_by(view.c.valid_from)
            .limit(size)
        )
        with self._database.reading() as connection:
            return connection.execute(query).all()

    def slot_users(self, at: int, key: str, holds: bool, after: int | None, size: int) -> Sequence[Row]:
        """Who held slots of a limit, or waited for them, those who came first before the others, with each one's status
        and when it came, and the flow run that it is in.
        """
        users = self.tables.slot_users.c
        place = sa.func.row_number().over(order_by=users.since).label("place")
        line = (
            sa.select(users.run_id, users.is_task, users.count, users.holds, users.since, place)
            .where(users.limit_key == key, users.valid_from <= at, users.valid_to > at, users.holds == holds)
            .subquery()
        )
        kinds = self.tables.flow_runs, self.tables.task_runs
        flow_runs, task_runs = (sa.and_(kind.versions.c.run_id == line.c.run_id, _valid(kind, at)) for kind in kinds)
        of_flow, of_task = (kind.versions for kind in kinds)
        tasks, around = self.tables.task_runs.runs, of_flow.alias("around")
        in_it = sa.and_(around.c.run_id == tasks.c.flow_run_id, around.c.valid_from <= at, around.c.valid_to > at)
        status = sa.func.coalesce(of_flow.c.status, of_task.c.status).label("status")
        query = (
            sa.select(line, events.c.recorded_at, status, tasks.c.flow_run_id, around.c.status.label("around"))
            .select_from(line.join(events, events.c.revision == line.c.since))
            .outerjoin(of_flow, flow_runs)
            .outerjoin(of_task, task_runs)
            .outerjoin(tasks, tasks.c.run_id == line.c.run_id)
            .outerjoin(around, in_it)
            .where(line.c.since > (after or 0))
            .order_by(line.c.since)
            .limit(size)
        )
        with self._database.reading() as connection:
            return list(connection.execute(query))

    def decisions(
        self, decided: sa.FromClause, among: list[Clause], clauses: list[Clause], *, newest_first: bool, size: int
    ) -> tuple[list[Row], int | None]:
        """Events of the decisions in one of `tables.decided()` that pass `clauses`, in order, and where looking ended:
        the revision of the last decision looked at, None when there are no more. `among` says which are looked at, and
        has an index.
        """
        revision = decided.c.revision
        order = revision.desc() if newest_first else revision.asc()
        query = sa.select(events).select_from(decided.join(events, events.c.revision == revision)).where(*clauses)
        with self._database.reading() as connection:
            looked = sa.select(revision).where(*among).order_by(order).offset(LOOKED_THROUGH_MAX - 1).limit(1)
            edge = connection.execute(looked).scalar_one_or_none()
            if edge is not None:
                query = query.where(revision >= edge if newest_first else revision <= edge)
            return list(connection.execute(query.where(*among).order_by(order).limit(size))), edge

    def rules(self, after: int, until: int) -> frozenset[str]:
        """The rules that have decided after a revision, and up to another."""
        view = self.tables.decisions.c
        query = sa.select(view.rule).distinct().where(view.revision > after, view.revision <= until, BY_A_RULE)
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def few_events(self, run_ids: list[bytes], within: list[bytes]) -> list[int] | None:
        """The revisions of these runs' events, or of those within these flow runs; None if they are many."""
        task_runs = self.tables.task_runs.runs.c
        with self._database.reading() as connection:
            if not run_ids:
                inner = sa.select(task_runs.run_id).where(task_runs.flow_run_id.in_(within)).limit(RARE_RUNS_MAX + 1)
                run_ids = within + list(connection.execute(inner).scalars())
                if len(run_ids) > len(within) + RARE_RUNS_MAX:
                    return None
            query = sa.select(events.c.revision).where(events.c.stream.in_(run_ids)).limit(LOOKED_THROUGH_MAX + 1)
            revisions = list(connection.execute(query).scalars())
        return revisions if len(revisions) <= LOOKED_THROUGH_MAX else None

    def _runs(self, tables: RunTables) -> sa.Select[Any]:
        return _runs_with_flows(tables, self.tables.flows if tables is self.tables.flow_runs else None)

    def _rare(self, connection: sa.Connection, tables: RunTables, at: int, types: list[int]) -> list[bytes] | None:
        """The runs in these states, if they are few; None if they are many."""
        versions = tables.versions.c
        query = (
            sa.select(versions.run_id)
            .where(versions.state_type.in_(types), _valid(tables, at))
            .limit(RARE_RUNS_MAX + 1)
        )
        ids = list(connection.execute(query).scalars())
        return ids if len(ids) <= RARE_RUNS_MAX else None


def _of_run(run_id: bytes, at: int, after: int | None, size: int) -> sa.Select[Any]:
    """Events of a run, oldest first."""
    wanted = events.c.stream == run_id, events.c.revision <= at, events.c.revision > (after or 0)
    return sa.select(events).where(*wanted).order_by(events.c.stream_version).limit(size)


@lru_cache(maxsize=8)
def _runs_with_flows(tables: RunTables, flows: sa.Table | None) -> sa.Select[Any]:
    """Runs as of the revision AT, with the names of their flows. Kept: to build it takes as long as to run it."""
    at: sa.BindParameter[int] = sa.bindparam(AT, type_=sa.BigInteger)
    runs, versions = tables.runs, tables.versions
    query = sa.select(
        runs.c.created_revision, runs.c.created_at, runs.c.created_by, runs.c.spec, versions.c.status
    ).select_from(runs.join(versions, versions.c.run_id == runs.c.run_id))
    if flows is not None:
        # Flows are few and never renamed, so a look-up per row is cheap.
        name = sa.select(flows.c.name).where(flows.c.flow_id == runs.c.flow_id).scalar_subquery()
        query = query.add_columns(name.label("flow_name"))
    return query.where(runs.c.created_revision <= at, _valid(tables, at))


def _valid(tables: RunTables, at: int | sa.BindParameter[int]) -> Clause:
    versions = tables.versions.c
    return sa.and_(versions.valid_from <= at, versions.valid_to > at)


def all_rows(database: Database, table: sa.Table, page: int = 2_000) -> Iterator[tuple[Any, ...]]:
    """All rows of a view's table in the order of its key: for comparing two of them."""
    keys = list(table.primary_key.columns)
    last: tuple[Any, ...] | None = None
    while True:
        query = sa.select(table).order_by(*keys).limit(page)
        if last is not None:
            query = query.where(sa.tuple_(*keys) > sa.tuple_(*last) if len(keys) > 1 else keys[0] > last[0])
        with database.reading() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return
        for row in rows:
            yield tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
        last = tuple(rows[-1]._mapping[key] for key in keys)
