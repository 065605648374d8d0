"""The difference of a run between two moments, printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from playhead import v1
from playhead.cli.documents import document_of
from playhead.cli.formats import state_text
from playhead.cli.moments import moment
from playhead.cli.output import Cell, console, print_json, print_table, shortened
from playhead.cli.runs import DECISION_COLUMNS, STATE_COLUMNS, decision_row, state_row
from playhead.cli.session import Session
from playhead.client.interface import (
    GET_FLOW_RUN,
    GET_TASK_RUN,
    LIST_DECISIONS,
    LIST_STATES,
    LIST_TASK_RUNS,
)
from playhead.replay.diff import Kind, RunDiff, diff_run


@dataclass(frozen=True, slots=True)
class _Runs:
    """The `Runs` service behind a session's client."""

    session: Session

    def get_flow_run(self, request: v1.GetFlowRunRequest) -> v1.GetFlowRunResponse:
        return self.session.call(GET_FLOW_RUN, request)

    def get_task_run(self, request: v1.GetTaskRunRequest) -> v1.GetTaskRunResponse:
        return self.session.call(GET_TASK_RUN, request)

    def list_task_runs(self, request: v1.ListTaskRunsRequest) -> v1.ListTaskRunsResponse:
        return self.session.call(LIST_TASK_RUNS, request)

    def list_states(self, request: v1.ListStatesRequest) -> v1.ListStatesResponse:
        return self.session.call(LIST_STATES, request)

    def list_decisions(self, request: v1.ListDecisionsRequest) -> v1.ListDecisionsResponse:
        return self.session.call(LIST_DECISIONS, request)


def show_diff(session: Session, kind: Kind, text: str, earlier: str, later: str) -> None:
    """Print what happened to a run between two moments."""
    until = moment(later, "--to")
    run_id = session.find_run(kind, text, until)
    revisions = session.revision(moment(earlier, "--from")), session.revision(until)
    diff = diff_run(_Runs(session), kind, run_id, *revisions)
    if session.as_json:
        print_json(_document(diff))
    else:
        _print(diff)


def _print(diff: RunDiff) -> None:
    out = console()
    what = diff.kind.replace("_", " ")
    out.print(Text(f"{what} {diff.name}  {diff.run_id}", style="bold"))
    if diff.created:
        out.print(f"created after revision {diff.earlier}")
    if not (diff.fields or diff.decisions or diff.task_runs):
        out.print(f"the same at revisions {diff.earlier} and {diff.later}")
    _section(
        "fields", ("field", f"at {diff.earlier}", f"at {diff.later}"), [_field_row(change) for change in diff.fields]
    )
    _section("states entered", STATE_COLUMNS, [state_row(state) for state in diff.states])
    _section("decisions", DECISION_COLUMNS, [decision_row(record) for record in diff.decisions])
    task_runs = [_task_run_row(task_run) for task_run in diff.task_runs]
    _section("task runs", ("id", "name", "", "states entered"), task_runs)


def _section(title: str, columns: tuple[str, ...], rows: list[list[Cell]]) -> None:
    if rows:
        console().print(f"\n[bold]{title}")
        print_table(columns, rows)


def _field_row(change: Any) -> list[Cell]:
    before, after = ("" if value is None else shortened(value, 60) for value in (change.before, change.after))
    return [change.field, before, after]


def _task_run_row(diff: RunDiff) -> list[Cell]:
    states = Text(" → ").join(state_text(state) for state in diff.states)
    return [diff.run_id, diff.name, "created" if diff.created else "changed", states]


def _document(diff: RunDiff) -> dict[str, Any]:
    return {
        "kind": diff.kind,
        "id": diff.run_id,
        "name": diff.name,
        "from_revision": diff.earlier,
        "to_revision": diff.later,
        "created": diff.created,
        "fields": [{"field": c.field, "before": c.before, "after": c.after} for c in diff.fields],
        "states": [document_of(state) for state in diff.states],
        "decisions": [document_of(record) for record in diff.decisions],
        "task_runs": [_document(task_run) for task_run in diff.task_runs],
    }
