"""Runs, their states and their decisions, as rows and fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from playhead import v1
from playhead.cli.documents import document_of, json_of
from playhead.cli.formats import age, clock, decision_text, seconds, state_text, type_name
from playhead.cli.listing import all_pages, decisions_of, note
from playhead.cli.output import Cell, json_text, one_line, print_json, print_table, shortened
from playhead.cli.overdue import HINT
from playhead.cli.session import Session
from playhead.client.interface import LIST_DECISIONS, LIST_STATES
from playhead.engine.orchestration.asking import Due
from playhead.replay.diff import Kind

FLOW_RUN_COLUMNS = ("id", "name", "flow", "state", "revision", "runs", "created", "run time")
TASK_RUN_COLUMNS = ("id", "name", "task", "state", "revision", "runs", "created", "run time")
STATE_COLUMNS = ("revision", "time", "state", "type", "message")
FOUND_DECISION_COLUMNS = ("revision", "time", "run", "proposed", "decision", "rule", "state after", "actor", "reason")
DECISION_COLUMNS = ("revision", "time", "proposed", "decision", "rule", "state after", "actor", "reason")

OWN_KEYS = {"transaction", "commit-hook", "rollback-hook", "concurrency", "lock"}
"""Up to a colon, the task keys of runs that are no calls of tasks: the SDK makes them of transactions, hooks, slots."""

Fields = Iterator[tuple[str, Cell | None]]


def flow_run_row(run: v1.FlowRun, due: Due | None = None) -> list[Cell]:
    """A flow run in a list."""
    return [run.spec.id, run.status.name, run.flow_name, *_status_cells(run, due)]


def task_run_row(run: v1.TaskRun, due: Due | None = None) -> list[Cell]:
    """A task run in a list."""
    style = "dim" if is_own(run) else ""
    return [run.spec.id, Text(run.status.name, style), Text(run.spec.task_key, style), *_status_cells(run, due)]


def is_own(run: v1.TaskRun) -> bool:
    """Whether a task run is no call of a task, but made by the SDK for purposes of its own."""
    return run.spec.task_key.partition(":")[0] in OWN_KEYS


def flow_run_fields(response: v1.GetFlowRunResponse, due: Due | None = None) -> Fields:
    """A flow run in full."""
    run, spec = response.flow_run, response.flow_run.spec
    yield "flow run", spec.id
    yield "flow", f"{run.flow_name}  {spec.flow_id}"
    yield from _status_fields(run, due)
    yield "parameters", spec.parameters.decode("utf-8", "replace")
    yield "subflow of task run", spec.parent_task_run_id
    yield "forked from", spec.forked_from_run_id
    yield "deployment", spec.deployment_id
    yield "backfill", spec.backfill_id
    yield "idempotency key", spec.idempotency_key
    yield "code", " ".join(filter(None, (spec.entrypoint, spec.flow_version)))
    if run.status.HasField("lease"):
        lease = run.status.lease
        yield "lease", f"held by {lease.holder}, token {lease.token}, for {seconds(lease.ttl)} after each renewal"
    yield "as of revision", str(response.meta.revision)


def task_run_fields(response: v1.GetTaskRunResponse, due: Due | None = None) -> Fields:
    """A task run in full."""
    run, spec = response.task_run, response.task_run.spec
    yield "task run", spec.id
    yield "task", " ".join(filter(None, (spec.task_key, spec.task_version)))
    yield "call", spec.dynamic_key
    yield "in flow run", spec.flow_run_id
    yield from _status_fields(run, due)
    for name, inputs in sorted(spec.inputs.items()):
        sources = [getattr(source, source.WhichOneof("source") or "task_run_id") for source in inputs.inputs]
        yield f"input {name}", ", ".join(sources)
    yield "as of revision", str(response.meta.revision)


def show_history(session: Session, kind: Kind, text: str) -> None:
    """Print every state of a run."""
    run_id = session.find_run(kind, text)
    request = v1.ListStatesRequest(**_of(kind, run_id), read_at=session.read_at)
    response = all_pages(lambda page: session.call(LIST_STATES, page), request, "states", None)
    if session.as_json:
        print_json(document_of(response))
        return
    rows = (state_row(state) for state in response.states)
    print_table(STATE_COLUMNS, rows, note(response, len(response.states), "states"))


def show_decisions(session: Session, kind: Kind, text: str, only: list[str]) -> None:
    """Print every proposal for a run and its answer."""
    run_id = session.find_run(kind, text)
    request = v1.ListDecisionsRequest(**_of(kind, run_id), read_at=session.read_at, decisions=decisions_of(only))
    response = all_pages(lambda page: session.call(LIST_DECISIONS, page), request, "decisions", None)
    if session.as_json:
        print_json(document_of(response))
        return
    rows = (decision_row(record) for record in response.decisions)
    print_table(DECISION_COLUMNS, rows, note(response, len(response.decisions), "decisions"))


def state_row(state: v1.State) -> list[Cell]:
    """A state in a history."""
    message = one_line(state.message)
    return [str(state.revision), clock(state.timestamp), state_text(state), type_name(state.type), message]


def decision_row(record: v1.DecisionRecord) -> list[Cell]:
    """A decision in a list."""
    proposed = (record.proposed.name or type_name(record.proposed.type)) + (" (force)" if record.force else "")
    reason = one_line(record.reason) + (f" (wait {seconds(record.delay)})" if record.HasField("delay") else "")
    return [
        str(record.revision),
        clock(record.recorded_at),
        proposed,
        decision_text(record.decision),
        record.rule,
        state_text(record.after),
        record.actor,
        reason,
    ]


def found_decision_row(record: v1.DecisionRecord) -> list[Cell]:
    """A decision in a list of several runs."""
    revision, time, *rest = decision_row(record)
    return [revision, time, record.run_id, *rest]


def _status_cells(run: v1.FlowRun | v1.TaskRun, due: Due | None) -> list[Cell]:
    status = run.status
    state = state_text(status.state)
    if due is not None:
        state.append(f" ({due.why})", "bold red")
    return [
        state,
        str(status.state.revision or run.created_revision),
        str(status.run_count),
        age(run.created),
        _run_time(status),
    ]


def _status_fields(run: v1.FlowRun | v1.TaskRun, due: Due | None) -> Fields:
    status, retry = run.status, run.spec.retry
    yield "name", status.name
    yield "state", state_text(status.state)
    yield "overdue", f"{due.why}; {HINT}" if due is not None else ""
    yield "message", shortened(status.state.message, 2_000)
    yield "times out", clock(status.state.details.pause_timeout)
    yield "pause key", status.state.details.pause_key
    yield "asks for input", shortened(status.state.details.run_input_schema.decode("utf-8", "replace"), 2_000)
    yield "run input", shortened(status.state.details.run_input.decode("utf-8", "replace"), 2_000)
    yield "since", f"{clock(status.state.timestamp)}  revision {status.state.revision}" if status.state.revision else ""
    yield "result", _result(status.state.result) if status.state.HasField("result") else ""
    yield "tags", ", ".join(status.tags)
    yield "created", f"{clock(run.created)} by {run.created_by}  revision {run.created_revision}"
    yield "expected start", clock(status.expected_start_time)
    yield "start", clock(status.start_time)
    yield "end", clock(status.end_time)
    yield "runs", str(status.run_count)
    yield "run time", _run_time(status)
    if retry.retries:
        delays = f", after {', '.join(f'{delay:g}' for delay in retry.delays_s)} s" if retry.delays_s else ""
        yield "retries", f"{retry.retries}{delays}"
    yield "version", str(status.version)


def _run_time(status: v1.RunStatus) -> str:
    return seconds(status.total_run_time) if status.HasField("total_run_time") else ""


def _result(result: v1.Result) -> str:
    """Where a result is; the value itself when it is JSON and short."""
    if result.WhichOneof("stored") == "reference":
        return f"{result.reference.url}  {result.media_type}, {result.size_bytes} bytes"
    what = f"{result.media_type}, {result.size_bytes or len(result.inline)} bytes"
    if "json" not in result.media_type:
        return what
    try:
        return f"{shortened(json_text(json_of(result.inline)))}  {what}"
    except ValueError:
        return what  # not what its media type says


def _of(kind: Kind, run_id: str) -> Any:
    return {f"{kind}_id": run_id}
