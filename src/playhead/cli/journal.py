"""`playhead journal`: the head, the events, the proof that they are as they were written."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli.listing import LINES_MAX
from playhead.cli.options import connected, reading
from playhead.cli.session import Session

app = typer.Typer(no_args_is_help=True)

Kinds = Annotated[
    list[str], typer.Option("--kind", "-k", help="Only events of this kind (state_proposed). Repeatable.")
]
Stream = Annotated[
    str, typer.Option("--stream", metavar="ID", help="Only events of this stream: the id of a run or flow.")
]


@app.command("head")
@reading
def head(session: Session) -> None:
    """Show the last revision, and the root of the Merkle tree over all events up to it.

    Keep the root elsewhere: `journal verify --expect REVISION:ROOT` then shows that nothing up to there was rewritten.
    With --as-of the root is shown for a database only; a server tells that of its head.

    Example: playhead journal head --json
    """
    from playhead.cli.events import show_head

    show_head(session)


@app.command("tail")
@reading
def tail(
    session: Session,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=LINES_MAX, help="How many of the last events to show.")
    ] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with each event as it is recorded.")] = False,
    kind: Kinds = [],  # noqa: B006 - typer's way of an option that repeats
    stream: Stream = "",
) -> None:
    """Show the last events, oldest first.

    With --json: one JSON document on each line.

    Example: playhead journal tail -n 100 --follow --kind state_proposed
    """
    from playhead.cli.events import show_tail
    from playhead.cli.listing import kinds_of

    show_tail(session, lines, follow, kinds_of(kind), stream)


@app.command("due")
@connected
def due(
    session: Session,
    decide: Annotated[
        bool, typer.Option("--decide", help="Decide it now, as a server or a running flow would.")
    ] = False,
) -> None:
    """Show what has fallen due and nobody has decided yet: lapsed leases, pauses that timed out, runs that are late.

    Every process that keeps a database open, a server or a running flow, decides what falls due within a second. While
    there is none, runs stay on record as they were. No command decides it unless asked to with --decide.

    Example: playhead journal due --decide --database journal.db
    """
    from playhead.cli.overdue import show_due

    show_due(session, decide)


@app.command("verify")
@connected
def verify(
    session: Session,
    expect: Annotated[
        str,
        typer.Option("--expect", metavar="REVISION:ROOT", help="A root that was noted earlier, from `journal head`."),
    ] = "",
) -> None:
    """Compute everything again: every event's leaf, the order of each stream, the tree and its root.

    The first revision that is wrong is named, and the exit status is 1. On a database the stored tree is checked too,
    and that the triggers are there which keep its tables append-only; through a server, its events are read and its
    root is compared. On a copy that can not be written, this and the other commands that look work too.

    Example: playhead journal verify --database journal.db
    """
    from playhead.cli.verifying import show_verification

    show_verification(session, expect)
