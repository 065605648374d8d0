"""`playhead audit`: what was decided, across all runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from playhead.cli.flow_runs import FlowNames
from playhead.cli.listing import (
    All,
    Decisions,
    Limit,
    Tags,
    all_pages,
    decisions_of,
    flows_of,
    note,
    note_unknown,
    types_of,
)
from playhead.cli.options import none_empty, not_empty, reading
from playhead.cli.session import Session

if TYPE_CHECKING:
    from playhead import v1
    from playhead.exceptions import BadRequest

app = typer.Typer(no_args_is_help=True)

FlowRuns = Annotated[
    list[str],
    typer.Option("--flow-run", "-r", help="Of this flow run and the task runs in it. Repeatable.", metavar="RUN"),
]
TaskRuns = Annotated[list[str], typer.Option("--task-run", help="Of this task run. Repeatable.", metavar="RUN")]
Actors = Annotated[
    list[str],
    typer.Option("--actor", callback=none_empty, help="Proposed by this actor, named as it is shown. Repeatable."),
]
Rules = Annotated[
    list[str],
    typer.Option("--rule", callback=none_empty, help="Decided by this rule (RetryFailedTasks). Repeatable."),
]
FromStates = Annotated[
    list[str],
    typer.Option("--from-state", metavar="TYPE", help="The run was in a state of this type, or none. Repeatable."),
]
ToStates = Annotated[
    list[str], typer.Option("--to-state", metavar="TYPE", help="A state of this type was proposed. Repeatable.")
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="MOMENT", callback=not_empty, help="Recorded from then on: a moment, as for --as-of."
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="MOMENT", callback=not_empty, help="Recorded before that time, or up to that revision."
    ),
]
Force = Annotated[bool | None, typer.Option("--force/--no-force", help="Proposed by force, or not.")]
OldestFirst = Annotated[bool, typer.Option("--oldest-first", help="In the order of their revisions.")]

OPTIONS = {"rules": "--rule", "actors": "--actor", "tags": "--tag", "recorded": "--since/--until"}
"""Fields of the filter that the service checks, and the options that fill them."""


@app.command("decisions")
@reading
def decisions(
    session: Session,
    only: Decisions = [],  # noqa: B006 - typer's way of an option that repeats
    rule: Rules = [],  # noqa: B006
    flow_run: FlowRuns = [],  # noqa: B006
    task_run: TaskRuns = [],  # noqa: B006
    flow: FlowNames = [],  # noqa: B006
    tag: Tags = [],  # noqa: B006
    actor: Actors = [],  # noqa: B006
    from_state: FromStates = [],  # noqa: B006
    to_state: ToStates = [],  # noqa: B006
    force: Force = None,
    since: Since = None,
    until: Until = None,
    oldest_first: OldestFirst = False,
    limit: Limit = 20,
    all: All = False,
) -> None:
    """List proposals and how they were decided, of all runs, newest first: who asked, what was answered, by which rule.

    All options must hold; of one that is repeated, one of its values, but every tag. With --json each decision comes
    with its facts and every rule that had a say.

    Example: playhead audit decisions --only reject --only abort --flow etl --since '1d ago'
    """
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_json, print_table
    from playhead.cli.runs import FOUND_DECISION_COLUMNS, found_decision_row
    from playhead.client.interface import FIND_DECISIONS
    from playhead.exceptions import BadRequest

    _refuse_rules_without_proposals(rule)
    filter = v1.DecisionFilter(
        run_ids=[session.find_run("task_run", text) for text in task_run],
        within_flow_run_ids=[session.find_run("flow_run", text) for text in flow_run],
        flow_names=flows_of(session, flow),
        actors=actor,
        decisions=decisions_of(only),
        rules=rule,
        from_types=types_of(from_state, "--from-state", none="none"),
        to_types=types_of(to_state, "--to-state"),
        force=force,
    )
    if tag:
        filter.tags.all.extend(tag)
    _between(filter, since, until)
    order = v1.OLDEST_FIRST if oldest_first else v1.NEWEST_FIRST
    request = v1.FindDecisionsRequest(filter=filter, read_at=session.read_at, order=order)
    try:
        response = all_pages(
            lambda page: session.call(FIND_DECISIONS, page), request, "decisions", None if all else limit
        )
    except BadRequest as error:
        raise _of_the_option(error) from error
    if session.as_json:
        print_json(document_of(response))
    else:
        found = response.decisions
        print_table(FOUND_DECISION_COLUMNS, map(found_decision_row, found), note(response, len(found), "decisions"))
    if not response.decisions:
        note_unknown("--actor", actor, lambda name: _is_on_record(session, v1.DecisionFilter(actors=[name])))
        note_unknown(
            "--tag", tag, lambda text: _is_on_record(session, v1.DecisionFilter(tags=v1.TagFilter(all=[text])))
        )


def _refuse_rules_without_proposals(names: list[str]) -> None:
    """Rules that serve those who wait in line answer no proposals: say where their events are."""
    from playhead.engine.orchestration.rules.slots import GRANT_SLOTS, REFUSE_SLOTS

    for name, kind in ((GRANT_SLOTS, "slots_granted"), (REFUSE_SLOTS, "slots_refused")):
        if name in names:
            raise typer.BadParameter(
                f"{name} answers no proposals: playhead journal tail --kind {kind}", param_hint="--rule"
            )


def _of_the_option(error: BadRequest) -> Exception:
    """What is wrong with a field of the filter, as a mistake in the option that fills it."""
    field = error.field.removeprefix("filter.").partition("[")[0].partition(".")[0]
    option = OPTIONS.get(field)
    return typer.BadParameter(f"{error.description}.", param_hint=option) if option else error


def _is_on_record(session: Session, filter: v1.DecisionFilter) -> bool:
    from playhead import v1
    from playhead.client.interface import FIND_DECISIONS

    request = v1.FindDecisionsRequest(filter=filter)
    return bool(all_pages(lambda page: session.call(FIND_DECISIONS, page), request, "decisions", 1).decisions)


def _between(filter: v1.DecisionFilter, since: str | None, until: str | None) -> None:
    """Take the moments between which decisions were recorded into a filter."""
    from playhead.cli.moments import moment

    first, last = moment(since, "--since"), moment(until, "--until")
    if last.HasField("revision") and not last.revision:
        raise typer.BadParameter("revisions begin at 1.", param_hint="--until")
    filter.first_revision, filter.last_revision = first.revision, last.revision
    if last.revision and first.revision > last.revision:
        raise typer.BadParameter(f"{since} is after --until {until}.", param_hint="--since")
    if first.HasField("time"):
        getattr(filter.recorded, "from").CopyFrom(first.time)
    if last.HasField("time"):
        filter.recorded.until.CopyFrom(last.time)
