"""`playhead task-run`: lists, one run, its past."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from playhead.cli.flow_runs import ChangesOnly, Run, Steps
from playhead.cli.listing import (
    All,
    Decisions,
    Follow,
    Level,
    Limit,
    Lines,
    Name,
    States,
    Tags,
    all_pages,
    note,
    note_unknown,
    state_filter,
)
from playhead.cli.options import connected, reading
from playhead.cli.session import Session

app = typer.Typer(no_args_is_help=True)

FlowRuns = Annotated[list[str], typer.Option("--flow-run", "-r", help="In this flow run. Repeatable.", metavar="RUN")]
TaskKeys = Annotated[list[str], typer.Option("--task", help="Of the task with this key. Repeatable.", metavar="KEY")]


@app.command("ls")
@reading
def ls(
    session: Session,
    flow_run: FlowRuns = [],  # noqa: B006 - typer's way of an option that repeats
    state: States = [],  # noqa: B006
    task: TaskKeys = [],  # noqa: B006
    tag: Tags = [],  # noqa: B006
    name: Name = "",
    limit: Limit = 20,
    all: All = False,
) -> None:
    """List task runs, newest first, now or as of any moment.

    Example: playhead task-run ls --flow-run blue-heron --state failed
    """
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_json, print_table
    from playhead.cli.overdue import due_documents, due_note
    from playhead.cli.runs import TASK_RUN_COLUMNS, is_own, task_run_row
    from playhead.client.interface import COUNT_TASK_RUNS, LIST_TASK_RUNS

    def count(**only: Any) -> v1.CountRunsResponse:
        return session.call(
            COUNT_TASK_RUNS, v1.CountTaskRunsRequest(filter=v1.TaskRunFilter(**only), read_at=session.read_at)
        )

    filter = v1.TaskRunFilter(
        flow_run_ids=[session.find_run("flow_run", text) for text in flow_run],
        state=state_filter(state, count),
        task_keys=task,
        tags=v1.TagFilter(all=tag),
        name_like=name,
    )
    request = v1.ListTaskRunsRequest(filter=filter, read_at=session.read_at)
    response = all_pages(lambda page: session.call(LIST_TASK_RUNS, page), request, "task_runs", None if all else limit)
    runs, due = response.task_runs, session.due()
    overdue = [due[run.spec.id] for run in runs if run.spec.id in due]
    if session.as_json:
        print_json({**document_of(response), "due": due_documents(overdue)})
    else:
        rows = (task_run_row(run, due.get(run.spec.id)) for run in runs)
        own = sum(map(is_own, runs))
        of_own = f"; {own} of them for transactions, hooks, slots and locks" if own else ""
        print_table(TASK_RUN_COLUMNS, rows, note(response, len(runs), "task runs") + of_own + due_note(overdue))
    if not response.task_runs:
        note_unknown("--task", task, lambda key: count(task_keys=[key]).total > 0)
        note_unknown("--tag", tag, lambda text: count(tags=v1.TagFilter(all=[text])).total > 0)


@app.command("inspect")
@reading
def inspect(session: Session, run: Run) -> None:
    """Show everything that is known about a task run.

    Example: playhead task-run inspect clean-3
    """
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_fields, print_json
    from playhead.cli.overdue import due_documents
    from playhead.cli.runs import task_run_fields
    from playhead.client.interface import GET_TASK_RUN

    request = v1.GetTaskRunRequest(task_run_id=session.find_run("task_run", run), read_at=session.read_at)
    response = session.call(GET_TASK_RUN, request)
    due = session.due().get(response.task_run.spec.id)
    if session.as_json:
        print_json({**document_of(response), "due": due_documents([due] if due else [])})
    else:
        print_fields(task_run_fields(response, due))


@app.command("history")
@reading
def history(session: Session, run: Run) -> None:
    """Show every state that a task run has been in, oldest first.

    Example: playhead task-run history clean-3
    """
    from playhead.cli.runs import show_history

    show_history(session, "task_run", run)


@app.command("decisions")
@reading
def decisions(session: Session, run: Run, only: Decisions = []) -> None:  # noqa: B006 - typer's way of repeating
    """Show every proposal made for a task run, refusals included, each with the rule that decided.

    Example: playhead task-run decisions clean-3
    """
    from playhead.cli.runs import show_decisions

    show_decisions(session, "task_run", run, only)


@app.command("explain")
@reading
def explain(session: Session, run: Run, changes_only: ChangesOnly = False, steps: Steps = 100) -> None:
    """Explain why a task run is, or was, as it is: what happened to it, by whom and by which rule, oldest first.

    Example: playhead task-run explain clean-3 --changes-only
    """
    from playhead.cli.explaining import show_explanation

    show_explanation(session, "task_run", run, changes_only, steps)


@app.command("logs")
@connected
def logs(session: Session, run: Run, level: Level = "", lines: Lines = 0, follow: Follow = False) -> None:
    """Show what a task run has logged, oldest first.

    With --json: one JSON document on each line.

    Example: playhead task-run logs clean-3 --lines 20
    """
    from playhead.cli.logs import show_logs

    show_logs(session, "task_run", run, level, lines, follow)


@app.command("diff")
@connected
def diff(
    session: Session,
    run: Run,
    from_: Annotated[str, typer.Option("--from", metavar="MOMENT", help="The earlier moment, as for --as-of.")],
    to: Annotated[str, typer.Option("--to", metavar="MOMENT", help="The later moment.")] = "now",
) -> None:
    """Show what happened to a task run between two moments: fields, states, decisions.

    Example: playhead task-run diff clean-3 --from '1h ago'
    """
    from playhead.cli.differences import show_diff

    show_diff(session, "task_run", run, from_, to)
