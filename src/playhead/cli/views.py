"""`playhead views`."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli.options import connected
from playhead.cli.session import Session

app = typer.Typer(no_args_is_help=True)


@app.callback()
def views() -> None:
    """The views: tables that are made of the journal."""


@app.command("rebuild")
@connected
def rebuild(
    session: Session,
    check: Annotated[bool, typer.Option("--check", help="Only compare; exit status 1 when something differs.")] = False,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="MOMENT", help="With --check: compare the views as of this moment.")
    ] = None,
) -> None:
    """Make all views anew from the journal beside the live ones, compare the two, and put the new ones in their place.

    Servers and flows on the same database work on meanwhile.

    Example: playhead views rebuild --check
    """
    from playhead.cli.rebuilding import show_rebuild

    if as_of is not None and not check:
        raise typer.BadParameter("only with --check: live views are of now.", param_hint="--as-of")
    show_rebuild(session, check, as_of)
