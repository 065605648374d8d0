"""What a list costs does not grow with history: every paged list is answered from indexes, no table is walked whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from playhead import v1
from playhead.journal import sql
from playhead.journal.database import Database, Row
from tests.histories import CALLERS, FLOW_RUN_IDS, FLOW_RUNS, TASK_RUN_IDS, TASK_RUNS, Life, an_id

STATE = v1.StateFilter(types=[v1.RUNNING, v1.PENDING])
AT = v1.ReadAt(revision=4)

RUN = FLOW_RUN_IDS[0]


def flow_runs(**conditions: Any) -> v1.ListFlowRunsRequest:
    """A list with these conditions in its filter."""
    return v1.ListFlowRunsRequest(filter=v1.FlowRunFilter(**conditions))


LISTS: dict[str, tuple[str, Any]] = {
    "flow runs": ("list_flow_runs", flow_runs()),
    "flow runs, oldest first": ("list_flow_runs", v1.ListFlowRunsRequest(order=v1.OLDEST_FIRST)),
    "flow runs then": ("list_flow_runs", v1.ListFlowRunsRequest(read_at=AT)),
    "flow runs in a state": ("list_flow_runs", flow_runs(state=STATE)),
    "flow runs of a flow": ("list_flow_runs", flow_runs(flow_ids=[an_id(1)])),
    "flow runs of a flow by name": ("list_flow_runs", flow_runs(flow_names=["etl"])),
    "flow runs of a deployment": ("list_flow_runs", flow_runs(deployment_ids=[an_id(1)])),
    "flow runs of a backfill": ("list_flow_runs", flow_runs(backfill_ids=[an_id(1)])),
    "forks of a flow run": ("list_flow_runs", flow_runs(forked_from_run_ids=[an_id(1)])),
    "subflow runs": ("list_flow_runs", flow_runs(parent_task_run_ids=[TASK_RUN_IDS[0]])),
    "flow runs with a tag": ("list_flow_runs", flow_runs(tags=v1.TagFilter(all=["a"]))),
    "task runs of a flow run": ("list_task_runs", v1.ListTaskRunsRequest(filter=v1.TaskRunFilter(flow_run_ids=[RUN]))),
    "task runs": ("list_task_runs", v1.ListTaskRunsRequest(read_at=AT)),
    "states": ("list_states", v1.ListStatesRequest(flow_run_id=RUN)),
    "decisions": ("list_decisions", v1.ListDecisionsRequest(flow_run_id=RUN)),
    "flows": ("list_flows", v1.ListFlowsRequest()),
    "a flow run": ("get_flow_run", v1.GetFlowRunRequest(flow_run_id=RUN, read_at=AT)),
    "counts by state": ("count_flow_runs", v1.CountFlowRunsRequest(read_at=AT)),
}
DECISIONS: dict[str, v1.DecisionFilter] = {
    "decisions": v1.DecisionFilter(),
    "decisions about runs": v1.DecisionFilter(run_ids=[RUN]),
    "decisions within a flow run": v1.DecisionFilter(within_flow_run_ids=[RUN]),
    "decisions about runs of a flow": v1.DecisionFilter(flow_names=["etl"], flow_ids=[an_id(1)]),
    "decisions about runs with tags": v1.DecisionFilter(tags=v1.TagFilter(any=["a"], none=["b"])),
    "decisions of an actor": v1.DecisionFilter(actors=["ada"], force=False, to_types=[v1.RUNNING]),
    "refusals": v1.DecisionFilter(decisions=[v1.REJECT, v1.ABORT]),
    "decisions of a rule": v1.DecisionFilter(rules=["RetryFailedTasks"]),
}
UNSORTED = ("flow runs", "flow runs then", "task runs", "task runs of a flow run", "flow runs of a flow", "states")


@pytest.mark.parametrize("name", LISTS)
def test_no_table_is_walked_whole(sqlite_store: str, name: str) -> None:
    with Life(sqlite_store) as life:
        database = life.orchestrator.journal.database
        with watched(database) as statements:
            method, request = LISTS[name]
            getattr(life.orchestrator.runs, method)(request)
        assert statements
        for statement, values in statements:
            steps = plan(database, statement, values)
            walked = [step for step in steps if step.startswith("SCAN")]
            assert walked == [], f"{statement}: {steps}"


@pytest.mark.parametrize("name", UNSORTED)
def test_pages_come_in_order_without_sorting(sqlite_store: str, name: str) -> None:
    with Life(sqlite_store) as life:
        database = life.orchestrator.journal.database
        with watched(database) as statements:
            method, request = LISTS[name]
            getattr(life.orchestrator.runs, method)(request)
        plans = [plan(database, statement, values) for statement, values in statements]
        assert not [step for steps in plans for step in steps if "ORDER BY" in step]


@pytest.mark.parametrize("order", [v1.NEWEST_FIRST, v1.OLDEST_FIRST])
@pytest.mark.parametrize("name", DECISIONS)
def test_decisions_are_looked_through_in_order(sqlite_store: str, name: str, order: v1.Order.ValueType) -> None:
    with Life(sqlite_store) as life:
        database = life.orchestrator.journal.database
        with watched(database) as statements:
            life.orchestrator.audit.find_decisions(v1.FindDecisionsRequest(filter=DECISIONS[name], order=order))
        steps = [step for statement, values in statements for step in plan(database, statement, values)]
        assert [step for step in steps if step.startswith("SCAN") or "ORDER BY" in step or "AUTOMATIC" in step] == []
        by_rules = [step for step in steps if "decisions_by_rules" in step]
        assert bool(by_rules) == (name in ("refusals", "decisions of a rule"))


def test_partial_indexes_are_the_same_on_both_databases(sqlite_store: str, postgres_store: str) -> None:
    on_sqlite = names(sqlite_store, "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'")
    on_postgres = names(postgres_store, "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%% WHERE %%'")
    assert on_postgres == on_sqlite
    assert {"events_by_request", "decisions_by_rules", "run_inputs_now", "log_records_by_flow_run"} <= on_sqlite


def names(store: str, query: str) -> set[str]:
    """What a query of a new database's catalogue names, without what a view's tables were called while it was made."""
    with Life(store) as life, life.orchestrator.journal.database.reading() as connection:
        life.orchestrator.logs.read_logs(v1.ReadLogsRequest())
        return {re.sub("^rebuild_[0-9a-f]+_", "", name) for (name,) in connection.exec_driver_sql(query)}


def test_what_is_due_is_found_without_walking_a_table(sqlite_store: str) -> None:
    with Life(sqlite_store) as life:
        running = v1.ProposeStateRequest(create_flow_run=FLOW_RUNS[1], state=v1.State(type=v1.RUNNING))
        task = v1.ProposeStateRequest(create_task_run=TASK_RUNS[2], state=v1.State(type=v1.RUNNING))
        for request in (running, task, v1.ProposeStateRequest(flow_run_id=RUN, state=v1.State(type=v1.CRASHED))):
            life.send("propose_state", request, CALLERS[0])
        crashed = v1.ProposeStateRequest(flow_run_id=FLOW_RUN_IDS[1], state=v1.State(type=v1.CRASHED))
        life.send("propose_state", crashed, CALLERS[0])
        life.settle()
        database = life.orchestrator.journal.database
        with watched(database) as statements:
            assert life.orchestrator.timers.tick() == 1
        looked = [(text, values) for text, values in statements if "_versions" in text]
        assert len({text for text, _ in looked}) == 8
        steps = [step for statement, values in looked for step in plan(database, statement, values)]
        assert [step for step in steps if step.startswith("SCAN") or "AUTOMATIC" in step] == []


@pytest.mark.parametrize("at", [v1.ReadAt(), AT])
def test_inputs_are_found_by_their_run_and_key_and_come_in_order(sqlite_store: str, at: v1.ReadAt) -> None:
    with Life(sqlite_store) as life:
        sent = v1.SendInputRequest(flow_run_id=RUN, key="k", value=b"7")
        life.send("send_input", sent, CALLERS[0])
        life.settle()
        database, inputs = life.orchestrator.journal.database, life.orchestrator.inputs
        with watched(database) as statements:
            inputs.read_input(v1.ReadInputRequest(flow_run_id=RUN, key="k", read_at=v1.ReadAt()))
            inputs.list_inputs(v1.ListInputsRequest(flow_run_id=RUN, key_prefix="k", read_at=at))
        steps = [step for statement, values in statements for step in plan(database, statement, values)]
        assert [step for step in steps if "SCAN" in step or "ORDER BY" in step or "AUTOMATIC" in step] == []


@contextmanager
def watched(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements that run meanwhile: those that SQLAlchemy makes, and those that go straight to the driver."""
    statements: list[tuple[str, Any]] = []

    def note(statement: str, values: Any) -> None:
        # The head is the last row of its table, found at once.
        if statement != sql.SELECT_HEAD:
            statements.append((statement, values))

    def made(connection: object, cursor: object, statement: str, values: Any, *rest: object) -> None:
        note(statement, values)

    def rows(statement: str, values: Sequence[Any] = ()) -> list[Row]:
        note(statement, values)
        return straight(statement, values)

    straight, database.rows = database.rows, rows  # type: ignore[method-assign] # for a while
    sa.event.listen(database.engine, "before_cursor_execute", made)
    yield statements
    sa.event.remove(database.engine, "before_cursor_execute", made)
    database.rows = straight  # type: ignore[method-assign]


def plan(database: Database, statement: str, values: Any) -> list[str]:
    """How SQLite goes about a statement."""
    return [row[3] for row in database.rows(f"EXPLAIN QUERY PLAN {statement}", values)]
