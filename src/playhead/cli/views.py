"""`playhead views`."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli.options import connected, reading
from playhead.cli.session import Session

app = typer.Typer(no_args_is_help=True)


@app.callback()
def views() -> None:
    """The views: tables that are made of the journal."""


@app.command("rebuild")
@reading
def rebuild(
    session: Session,
    check: Annotated[bool, typer.Option("--check", help="Only compare; exit status 1 when something differs.")] = False,
) -> None:
    """Make all views anew from the journal beside the live ones, compare the two, and put the new ones in their place.

    Servers and flows on the same database work on meanwhile. With --check, --as-of compares the views as of a moment.

    Example: playhead views rebuild --check
    """
    from playhead.cli.rebuilding import show_rebuild

    show_rebuild(session, check)


@app.command("drop-unfinished")
@connected
def drop_unfinished(session: Session) -> None:
    """Drop the tables that killed rebuilds have left beside the live ones. A rebuild that is going on fails.

    Example: playhead views drop-unfinished --database journal.db
    """
    from playhead.cli.rebuilding import show_dropped

    show_dropped(session)
