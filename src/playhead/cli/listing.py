"""What the lists of runs share: filters, limits, pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from playhead import v1

PAGE_SIZE_MAX = 1_000

States = Annotated[
    list[str],
    typer.Option("--state", "-s", help="In a state of this type (failed) or, else, name (AwaitingRetry). Repeatable."),
]
Tags = Annotated[list[str], typer.Option("--tag", "-t", help="With this tag. Repeatable: with all of them.")]
Name = Annotated[str, typer.Option("--name", "-n", help="With this in its name, letter case ignored.")]
Limit = Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many, newest first.")]
All = Annotated[bool, typer.Option("--all", "-a", help="No limit.")]


def state_filter(texts: list[str]) -> v1.StateFilter:
    """The filter for states given by type, in any letter case, or by name. Raises BadParameter for a mixture."""
    from playhead import v1

    types = [text for text in texts if text.upper() in v1.StateType.keys()]  # noqa: SIM118 - an enum wrapper is no mapping
    names = [text for text in texts if text not in types]
    if types and names:
        raise typer.BadParameter(
            f"{', '.join(types)} are types and {', '.join(names)} are names: ask for one or the other.",
            param_hint="--state",
        )
    return v1.StateFilter(types=[v1.StateType.Value(text.upper()) for text in types], names=names)


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
