"""What the lists of runs share: filters, limits, pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from playhead import v1
    from playhead.cli.session import Session

Value = TypeVar("Value")

PAGE_SIZE_MAX = 1_000

LINES_MAX = 1_000_000_000
"""More than anybody reads, and no more than a number in a request can be."""

# The names of states that Playhead gives, beside those of their types: see state.proto.
STATE_NAMES = {
    *("Late", "AwaitingRetry", "AwaitingConcurrencySlot", "Resuming", "NotReady", "Submitting", "Retrying"),
    *("Rerunning", "Cached", "RolledBack", "TimedOut", "Suspended"),
}

States = Annotated[
    list[str],
    typer.Option("--state", "-s", help="In a state of this type (failed) or, else, name (AwaitingRetry). Repeatable."),
]
Tags = Annotated[list[str], typer.Option("--tag", "-t", help="With this tag. Repeatable: with all of them.")]
Name = Annotated[str, typer.Option("--name", "-n", help="With this in its name, letter case ignored.")]
Decisions = Annotated[
    list[str],
    typer.Option("--only", "--decision", help="Only accept, reject, wait or abort. Repeatable.", metavar="DECISION"),
]
Level = Annotated[
    str, typer.Option("--level", help="At least: debug, info, warning, error, critical, or a number.", metavar="LEVEL")
]
Lines = Annotated[
    int, typer.Option("--lines", "-n", min=0, max=LINES_MAX, help="At most so many records, the last ones.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with each record, until the run has ended.")]
Limit = Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many, newest first.")]
All = Annotated[bool, typer.Option("--all", "-a", help="No limit.")]


def state_filter(texts: list[str], count: Callable[[], v1.CountRunsResponse]) -> v1.StateFilter:
    """The filter for states given by type or by name, in any letter case. Raises BadParameter for a mixture, and for
    a name that is neither one of Playhead's own nor that of a state which some run, of all that `count` counts, is in.
    """
    from playhead import v1

    types = [text for text in texts if text.lower() in _known(v1.StateType)]
    names = [text for text in texts if text not in types]
    if types and names:
        raise typer.BadParameter(
            f"{', '.join(types)} are types and {', '.join(names)} are names: ask for one or the other.",
            param_hint="--state",
        )
    known = {name.lower(): name for name in STATE_NAMES}
    if any(name.lower() not in known for name in names):
        known |= {counted.name.lower(): counted.name for counted in count().counts if counted.name}
    for name in names:
        if name.lower() not in known:
            raise typer.BadParameter(
                f"{name!r} is no type of state ({', '.join(_known(v1.StateType))}) and not the name of one "
                f"({', '.join(sorted(known.values()))}).",
                param_hint="--state",
            )
    return v1.StateFilter(types=types_of(types, "--state"), names=[known[name.lower()] for name in names])


def types_of(texts: list[str], option: str, none: str = "") -> list[v1.StateType.ValueType]:
    """Types of states, in any letter case; `none` is the word for no state, where it is a choice. Raises BadParameter
    naming the option.
    """
    from playhead import v1

    known = {**({none: v1.STATE_TYPE_UNSPECIFIED} if none else {}), **_known(v1.StateType)}
    return [_one_of(known, text, option) for text in texts]


def decisions_of(texts: list[str]) -> list[v1.Decision.ValueType]:
    """Decisions, in any letter case. Raises BadParameter for what is none."""
    from playhead import v1

    return [_one_of(_known(v1.Decision), text, "--only") for text in texts]


def kinds_of(texts: list[str]) -> list[str]:
    """Kinds of events. Raises BadParameter for what is none."""
    from playhead import v1

    known = {field.name: field.name for field in v1.Event.DESCRIPTOR.oneofs_by_name["what"].fields}
    return [_one_of(known, text, "--kind") for text in texts]


def flows_of(session: Session, names: list[str]) -> list[str]:
    """Names of flows that were registered, whenever that was. Raises BadParameter for any other."""
    from playhead import v1
    from playhead.client.interface import GET_FLOW, LIST_FLOWS
    from playhead.exceptions import NotFound
    from playhead.journal.checks import closest

    for name in names:
        try:
            session.call(GET_FLOW, v1.GetFlowRequest(name=name))
        except NotFound:
            flows = all_pages(lambda page: session.call(LIST_FLOWS, page), v1.ListFlowsRequest(), "flows", None).flows
            near = closest(name, (flow.name for flow in flows)) or "."
            raise typer.BadParameter(
                f"no flow is named {name!r}{near} See which there are: playhead flow ls", param_hint="--flow"
            ) from None
    return names


def note_unknown(option: str, values: list[str], is_on_record: Callable[[str], bool]) -> None:
    """Say below an empty list which value of an option nothing on record has: it may be mistyped."""
    for value in values:
        if not is_on_record(value):
            typer.echo(f"{option} {value!r}: there is none on record. Is it mistyped?", err=True)


def _known(enum: Any) -> dict[str, Any]:
    """The values of an enum by their names in lower case, but for its zero."""
    return {name.lower(): value for name, value in enum.items() if value}


def _one_of(known: dict[str, Value], text: str, option: str) -> Value:
    if text.lower() not in known:
        raise typer.BadParameter(f"{text!r} is not one of: {', '.join(known)}.", param_hint=option)
    return known[text.lower()]


def all_pages(fetch: Callable[[Any], Any], request: Any, items: str, limit: int | None) -> Any:
    """The first page's response with the items of further pages added, up to `limit` (None: all). The pages are of one
    moment. `next_page_token` is empty when there is no more.
    """
    request.page_size = min(limit or PAGE_SIZE_MAX, PAGE_SIZE_MAX)
    gathered = fetch(request)
    while gathered.next_page_token and (limit is None or len(getattr(gathered, items)) < limit):
        left = PAGE_SIZE_MAX if limit is None else min(limit - len(getattr(gathered, items)), PAGE_SIZE_MAX)
        request.page_size, request.page_token = left, gathered.next_page_token
        page = fetch(request)
        getattr(gathered, items).extend(getattr(page, items))
        gathered.next_page_token = page.next_page_token
    return gathered


def note(response: Any, shown: int, things: str) -> str:
    """The line below a list: how many, as of which revision, whether there are more."""
    more = "; there are more: --all" if response.next_page_token else ""
    return f"{shown} {things if shown != 1 else things.removesuffix('s')} as of revision {response.meta.revision}{more}"
