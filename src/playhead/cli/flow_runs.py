"""`playhead flow-run`: lists, one run, its past."""

from __future__ import annotations

from typing import Annotated, Any

import typer

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
    flows_of,
    note,
    note_unknown,
    state_filter,
)
from playhead.cli.options import connected, reading
from playhead.cli.session import Session

app = typer.Typer(no_args_is_help=True)

Run = Annotated[str, typer.Argument(metavar="RUN", help="Its id, the beginning of it, or its name.")]
FlowNames = Annotated[list[str], typer.Option("--flow", "-f", help="Of the flow of this name. Repeatable.")]
TopLevel = Annotated[bool, typer.Option("--top-level", help="Without subflow runs.")]
ChangesOnly = Annotated[
    bool, typer.Option("--changes-only", help="Without the refusals that kept its state; they are counted.")
]
Steps = Annotated[int, typer.Option("--steps", "-n", min=1, max=1_000, help="At most so many, the last ones.")]


@app.command("ls")
@reading
def ls(
    session: Session,
    state: States = [],  # noqa: B006 - typer's way of an option that repeats
    flow: FlowNames = [],  # noqa: B006
    tag: Tags = [],  # noqa: B006
    name: Name = "",
    top_level: TopLevel = False,
    limit: Limit = 20,
    all: All = False,
) -> None:
    """List flow runs, newest first, now or as of any moment.

    Example: playhead flow-run ls --state failed --flow etl --as-of '2h ago'
    """
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_json, print_table
    from playhead.cli.overdue import due_documents, due_note
    from playhead.cli.runs import FLOW_RUN_COLUMNS, flow_run_row
    from playhead.client.interface import COUNT_FLOW_RUNS, LIST_FLOW_RUNS

    def count(**only: Any) -> v1.CountRunsResponse:
        return session.call(
            COUNT_FLOW_RUNS, v1.CountFlowRunsRequest(filter=v1.FlowRunFilter(**only), read_at=session.read_at)
        )

    filter = v1.FlowRunFilter(
        state=state_filter(state, count),
        flow_names=flows_of(session, flow),
        tags=v1.TagFilter(all=tag),
        name_like=name,
        top_level_only=top_level,
    )
    request = v1.ListFlowRunsRequest(filter=filter, read_at=session.read_at)
    response = all_pages(lambda page: session.call(LIST_FLOW_RUNS, page), request, "flow_runs", None if all else limit)
    runs, due = response.flow_runs, session.due()
    overdue = [due[run.spec.id] for run in runs if run.spec.id in due]
    if session.as_json:
        print_json({**document_of(response), "due": due_documents(overdue)})
    else:
        rows = (flow_run_row(run, due.get(run.spec.id)) for run in runs)
        print_table(FLOW_RUN_COLUMNS, rows, note(response, len(runs), "flow runs") + due_note(overdue))
    if not response.flow_runs:
        note_unknown("--tag", tag, lambda text: count(tags=v1.TagFilter(all=[text])).total > 0)


@app.command("inspect")
@reading
def inspect(session: Session, run: Run) -> None:
    """Show everything that is known about a flow run.

    Example: playhead flow-run inspect blue-heron --as-of 120
    """
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_fields, print_json
    from playhead.cli.overdue import due_documents
    from playhead.cli.runs import flow_run_fields
    from playhead.client.interface import GET_FLOW_RUN

    request = v1.GetFlowRunRequest(flow_run_id=session.find_run("flow_run", run), read_at=session.read_at)
    response = session.call(GET_FLOW_RUN, request)
    due = session.due().get(response.flow_run.spec.id)
    if session.as_json:
        print_json({**document_of(response), "due": due_documents([due] if due else [])})
    else:
        print_fields(flow_run_fields(response, due))


@app.command("history")
@reading
def history(session: Session, run: Run) -> None:
    """Show every state that a flow run has been in, oldest first.

    Example: playhead flow-run history blue-heron
    """
    from playhead.cli.runs import show_history

    show_history(session, "flow_run", run)


@app.command("decisions")
@reading
def decisions(session: Session, run: Run, only: Decisions = []) -> None:  # noqa: B006 - typer's way of repeating
    """Show every proposal made for a flow run, refusals included, each with the rule that decided.

    Example: playhead flow-run decisions blue-heron --only reject --only abort
    """
    from playhead.cli.runs import show_decisions

    show_decisions(session, "flow_run", run, only)


@app.command("explain")
@reading
def explain(session: Session, run: Run, changes_only: ChangesOnly = False, steps: Steps = 100) -> None:
    """Explain why a flow run is, or was, as it is: what happened to it, by whom and by which rule, oldest first.

    Example: playhead flow-run explain blue-heron --as-of '10m ago'
    """
    from playhead.cli.explaining import show_explanation

    show_explanation(session, "flow_run", run, changes_only, steps)


@app.command("logs")
@connected
def logs(session: Session, run: Run, level: Level = "", lines: Lines = 0, follow: Follow = False) -> None:
    """Show what a flow run and its task runs have logged, oldest first.

    With --json: one JSON document on each line.

    Example: playhead flow-run logs blue-heron --level warning --follow
    """
    from playhead.cli.logs import show_logs

    show_logs(session, "flow_run", run, level, lines, follow)


@app.command("diff")
@connected
def diff(
    session: Session,
    run: Run,
    from_: Annotated[str, typer.Option("--from", metavar="MOMENT", help="The earlier moment, as for --as-of.")],
    to: Annotated[str, typer.Option("--to", metavar="MOMENT", help="The later moment.")] = "now",
) -> None:
    """Show what happened to a flow run between two moments: fields, states, decisions, task runs.

    Example: playhead flow-run diff blue-heron --from 80 --to 120
    """
    from playhead.cli.differences import show_diff

    show_diff(session, "flow_run", run, from_, to)
