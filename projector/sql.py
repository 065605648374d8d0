"""All SQL of the views: tables and the statements that fold events into them.

A run has one row in a base table (what never changes) and one row per change in a versions table, valid in revisions
[valid_from, valid_to); the open row ends at `OPEN`. `spec` and `status` are serialized `playhead.v1` messages; what
filters ask for stands in columns of its own. `made_of(prefix)` gives the whole set of tables under a prefix, so that a
rebuild can be written beside the live ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa

from playhead import v1

OPEN = 2**63 - 1
"""valid_to of the row that is true now."""

BY_A_RULE = sa.literal_column("rule") != sa.literal_column("''")
"""What holds for decisions that a rule made, every refusal among them. A query that says it word for word has an index.
"""

Id = sa.LargeBinary(16)
Revision = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# One row: by which version of the folds the live tables were made.
views = sa.Table(
    "views",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


@dataclass(frozen=True)
class RunTables:
    """The two tables of one kind of run."""

    runs: sa.Table
    versions: sa.Table


@dataclass(frozen=True)
class ViewTables:
    """All tables of the views, under one prefix."""

    metadata: sa.MetaData
    flows: sa.Table
    flow_runs: RunTables
    task_runs: RunTables
    decisions: sa.Table
    cache: sa.Table
    limits: sa.Table
    slot_users: sa.Table
    inputs: sa.Table

    @property
    def all(self) -> list[sa.Table]:
        return list(self.metadata.sorted_tables)

    def decided(self) -> tuple[sa.FromClause, ...]:
        """Where decisions are, each once and all with the columns of `decisions`: that table, and the versions that
        proposals made which were accepted as they were.
        """
        return self.decisions, *(_accepted(kind.versions) for kind in (self.flow_runs, self.task_runs))


@lru_cache(maxsize=4)
def made_of(prefix: str = "") -> ViewTables:
    """The tables of the views, their names and indexes beginning with `prefix`."""
    metadata = sa.MetaData()
    flows = sa.Table(
        f"{prefix}flows",
        metadata,
        sa.Column("created_revision", Revision, primary_key=True, autoincrement=False),
        sa.Column("flow_id", Id, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    flow_runs = sa.Table(
        f"{prefix}flow_runs",
        metadata,
        *_base_columns(),
        sa.Column("flow_id", Id, nullable=False),
        sa.Column("parent_task_run_id", Id),
        sa.Column("deployment_id", Id),
        sa.Column("backfill_id", Id),
        sa.Column("forked_from_run_id", Id),
        sa.Column("idempotency_key", sa.Text),
        sa.Index(f"{prefix}flow_runs_by_flow", "flow_id", "created_revision"),
        _partial(f"{prefix}flow_runs_by_parent", "parent_task_run_id"),
        _partial(f"{prefix}flow_runs_by_deployment", "deployment_id", "created_revision"),
        _partial(f"{prefix}flow_runs_by_backfill", "backfill_id", "created_revision"),
        _partial(f"{prefix}flow_runs_by_key", "idempotency_key", "flow_id", unique=True),
    )
    task_runs = sa.Table(
        f"{prefix}task_runs",
        metadata,
        *_base_columns(),
        sa.Column("flow_run_id", Id),
        sa.Column("task_key", sa.Text, nullable=False),
        _partial(f"{prefix}task_runs_by_flow_run", "flow_run_id", "created_revision"),
    )
    return ViewTables(
        metadata,
        flows,
        RunTables(flow_runs, _versions(f"{prefix}flow_run_versions", metadata)),
        RunTables(task_runs, _versions(f"{prefix}task_run_versions", metadata)),
        # Decisions of rules, all refusals among them, and what was forced. See `decided` for the others.
        sa.Table(
            f"{prefix}decisions",
            metadata,
            sa.Column("revision", Revision, primary_key=True, autoincrement=False),
            sa.Column("run_id", Id, nullable=False),
            sa.Column("decision", sa.SmallInteger, nullable=False),
            sa.Column("rule", sa.Text, nullable=False),
            sa.Column("before_type", sa.SmallInteger, nullable=False),
            sa.Column("proposed_type", sa.SmallInteger, nullable=False),
            sa.Column("forced", sa.SmallInteger, nullable=False),
            sa.Index(f"{prefix}decisions_by_rules", "revision", sqlite_where=BY_A_RULE),
        ),
        sa.Table(
            f"{prefix}cache_entries",
            metadata,
            sa.Column("cache_key", sa.Text, primary_key=True),
            sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("task_run_id", Id, nullable=False),
            sa.Column("expires_at", sa.BigInteger),
            sa.Column("state", sa.LargeBinary, nullable=False),
            sqlite_with_rowid=False,
        ),
        sa.Table(
            f"{prefix}concurrency_limits",
            metadata,
            sa.Column("limit_key", sa.Text, primary_key=True),
            sa.Column("valid_from", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("valid_to", sa.BigInteger, nullable=False),
            sa.Column("slots", sa.BigInteger, nullable=False),
            sa.Column("on_full", sa.SmallInteger, nullable=False),
            sqlite_with_rowid=False,
        ),
        # Who holds slots of a limit, and who waits for them.
        sa.Table(
            f"{prefix}slot_users",
            metadata,
            sa.Column("run_id", Id, primary_key=True),
            sa.Column("valid_from", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("limit_key", sa.Text, primary_key=True),
            sa.Column("valid_to", sa.BigInteger, nullable=False),
            sa.Column("is_task", sa.Boolean, nullable=False),
            sa.Column("count", sa.BigInteger, nullable=False),
            sa.Column("holds", sa.Boolean, nullable=False),
            sa.Column("since", sa.BigInteger, nullable=False),
            sa.Index(f"{prefix}slot_users_by_limit", "limit_key", "valid_to", "holds", "since"),
            sqlite_with_rowid=False,
        ),
        # The input itself is in the event of its first revision.
        sa.Table(
            f"{prefix}run_inputs",
            metadata,
            sa.Column("valid_from", Revision, primary_key=True, autoincrement=False),
            sa.Column("valid_to", sa.BigInteger, nullable=False),
            sa.Column("run_id", Id, nullable=False),
            sa.Column("input_key", sa.Text, nullable=False),
            sa.Index(f"{prefix}run_inputs_by_run", "run_id", "valid_from"),
            sa.Index(f"{prefix}run_inputs_by_key", "run_id", "input_key", "valid_from"),
            # Those that are there: no two of a run have the same key.
            sa.Index(
                f"{prefix}run_inputs_now",
                "run_id",
                "input_key",
                unique=True,
                sqlite_where=sa.text(f"valid_to = {OPEN}"),
            ),
        ),
    )


def _base_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("created_revision", Revision, primary_key=True, autoincrement=False),
        sa.Column("run_id", Id, nullable=False, unique=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("spec", sa.LargeBinary, nullable=False),
    ]


def _versions(name: str, metadata: sa.MetaData) -> sa.Table:
    due = sa.text(f"due_at IS NOT NULL AND valid_to = {OPEN}")
    return sa.Table(
        name,
        metadata,
        sa.Column("run_id", Id, nullable=False),
        # An event changes one run, so this is a key; and rows are written in its order, at the end of the table.
        sa.Column("valid_from", Revision, primary_key=True, autoincrement=False),
        sa.Column("valid_to", sa.BigInteger, nullable=False),
        sa.Column("state_type", sa.SmallInteger, nullable=False),
        sa.Column("state_name", sa.Text, nullable=False),
        # Of the event that brought the state, which is in it: `valid_from`, where this version has a new one.
        sa.Column("state_revision", sa.BigInteger, nullable=False),
        # Case-folded, as filters compare it; lower() of SQLite knows no letters but those of English.
        sa.Column("folded_name", sa.Text, nullable=False),
        # Each tag between two line feeds, which no tag can hold.
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("start_time", sa.BigInteger),
        sa.Column("expected_start_time", sa.BigInteger),
        # When something is to be done about the run although nobody asks: see `fold.due_at`.
        sa.Column("due_at", sa.BigInteger),
        # Of a version that a proposal made that was accepted as it was: the type of the state before. Such a decision,
        # as nearly all are, has no row among the decisions.
        sa.Column("accepted_from", sa.SmallInteger),
        sa.Column("status", sa.LargeBinary, nullable=False),
        sa.Index(f"{name}_by_run", "run_id", "valid_from", unique=True),
        # Which runs are, or at a revision were, in a state, for states that few runs are in.
        sa.Index(f"{name}_by_state", "state_type", "valid_to", "valid_from", "state_name"),
        sa.Index(f"{name}_due", "due_at", "valid_from", sqlite_where=due),
        info={"fillfactor": 90},
    )


def _accepted(versions: sa.Table) -> sa.FromClause:
    """The decisions that versions tell of."""
    row = versions.c
    return (
        sa.select(
            row.valid_from.label("revision"),
            row.run_id,
            sa.literal(int(v1.ACCEPT)).label("decision"),
            sa.literal("", sa.Text).label("rule"),
            row.accepted_from.label("before_type"),
            (row.state_type + 0).label("proposed_type"),  # no index by state: decisions are walked in order
            sa.literal(0).label("forced"),
        )
        .where(row.accepted_from.is_not(None))
        .subquery()
    )


def _partial(name: str, *columns: str, unique: bool = False) -> sa.Index:
    where = sa.text(f"{columns[0]} IS NOT NULL")
    return sa.Index(name, *columns, unique=unique, sqlite_where=where)


@dataclass(frozen=True)
class RunStatements:
    """What the fold says to one kind of run's tables, written with `?`."""

    insert_run: str
    insert_version: str
    close_version: str
    # With `{ids}`: what the decision core reads of runs as they are now.
    current: str


@dataclass(frozen=True)
class ViewStatements:
    """What the folds say to the tables under one prefix."""

    flow_runs: RunStatements
    task_runs: RunStatements
    insert_flow: str
    insert_decision: str
    insert_cache: str
    close_limit: str
    insert_limit: str
    close_slot_users: str
    insert_slot_user: str
    close_input: str
    insert_input: str


@lru_cache(maxsize=4)
def statements(prefix: str = "") -> ViewStatements:
    """The statements for the tables under a prefix."""
    tables = made_of(prefix)
    return ViewStatements(
        _run_statements(tables.flow_runs),
        _run_statements(tables.task_runs),
        _insert(tables.flows),
        _insert(tables.decisions),
        _insert(tables.cache),
        f"UPDATE {tables.limits.name} SET valid_to = ? WHERE limit_key = ? AND valid_to = {OPEN}",
        _insert(tables.limits),
        f"UPDATE {tables.slot_users.name} SET valid_to = ? WHERE run_id = ? AND valid_to = {OPEN}",
        _insert(tables.slot_users),
        f"UPDATE {tables.inputs.name} SET valid_to = ? WHERE run_id = ? AND input_key = ? AND valid_to = {OPEN}",
        _insert(tables.inputs),
    )


def _run_statements(tables: RunTables) -> RunStatements:
    runs, versions = tables.runs.name, tables.versions.name
    return RunStatements(
        _insert(tables.runs),
        _insert(tables.versions),
        f"UPDATE {versions} SET valid_to = ? WHERE valid_from = "
        f"(SELECT max(valid_from) FROM {versions} WHERE run_id = ?)",
        f"SELECT r.run_id, r.spec, v.status FROM {runs} AS r JOIN {versions} AS v ON v.valid_from = "
        f"(SELECT max(valid_from) FROM {versions} WHERE run_id = r.run_id) WHERE r.run_id IN ({{ids}})",
    )


def _insert(table: sa.Table) -> str:
    columns = [column.name for column in table.columns]
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


SELECT_FLOW = "SELECT flow_id, name, created_at, created_revision FROM flows WHERE name = ?"
SELECT_FLOW_BY_ID = "SELECT flow_id, name, created_at, created_revision FROM flows WHERE flow_id = ?"
SELECT_RUN_BY_KEY = "SELECT run_id FROM flow_runs WHERE flow_id = ? AND idempotency_key = ?"
# The newest entry of a cache key that has not expired.
SELECT_CACHE = """
    SELECT task_run_id, state FROM cache_entries
    WHERE cache_key = ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY revision DESC LIMIT 1
"""
SELECT_LIMITS = f"SELECT limit_key, slots, on_full FROM concurrency_limits WHERE valid_to = {OPEN}"
# All users of slots, those who came first before the others.
SELECT_SLOT_USERS = f"""
    SELECT run_id, limit_key, is_task, count, holds, since FROM slot_users WHERE valid_to = {OPEN} ORDER BY since
"""
SELECT_INPUT = f"SELECT 1 FROM run_inputs WHERE run_id = ? AND input_key = ? AND valid_to = {OPEN}"
COUNT_INPUTS = f"SELECT count(*) FROM run_inputs WHERE run_id = ? AND valid_to = {OPEN}"
