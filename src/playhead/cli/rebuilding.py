"""`playhead views rebuild`."""

from __future__ import annotations

from typing import Any

import typer

from playhead import v1
from playhead.cli.output import Cell, print_json, print_table, shortened
from playhead.cli.progress import progress_bar
from playhead.cli.session import Session
from playhead.exceptions import RevisionNotReached
from playhead.journal.encoding import micros_of, text_of
from playhead.journal.journal import Journal
from playhead.replay.rebuild import (
    DIFFERENCES_MAX,
    Difference,
    Rebuilt,
    compare_views,
    drop_unfinished,
    rebuild_views,
    unfinished,
)

ID_COLUMNS = ("run_id", "flow_id", "task_run_id", "flow_run_id")
DIFFERENCE_COLUMNS = ("view", "row", "revision", "key", "live", "rebuilt")


def show_rebuild(session: Session, check: bool) -> None:
    """Rebuild or only compare, and print what differed. Exit status 1 when only compared, and something differs."""
    read_at = session.read_at
    if read_at.WhichOneof("at") is not None and not check:
        raise typer.BadParameter("only with --check: live views are of now.", param_hint="--as-of")
    journal: Journal = session.open_journal()
    try:
        with progress_bar("comparing" if check else "rebuilding") as progress:
            if check:
                rebuilt = compare_views(journal, _revision(journal, read_at), progress)
            else:
                rebuilt = rebuild_views(journal, progress)
        left = unfinished(journal)
    finally:
        journal.close()
    if session.as_json:
        print_json(_document(rebuilt))
    else:
        print_table(DIFFERENCE_COLUMNS, map(_row, rebuilt.differences), _note(rebuilt))
        if left:
            print_table((), (), f"other rebuilds have not ended: {len(left)}; if none goes on: views drop-unfinished")
    if check and rebuilt.differences:
        raise typer.Exit(1)


def show_dropped(session: Session) -> None:
    """Drop what rebuilds have left, and print how many they were."""
    journal: Journal = session.open_journal()
    try:
        dropped = drop_unfinished(journal)
    finally:
        journal.close()
    if session.as_json:
        print_json({"dropped": dropped})
    else:
        print_table((), (), f"unfinished rebuilds dropped: {len(dropped)}")


def _revision(journal: Journal, read_at: v1.ReadAt) -> int:
    head = journal.head()[0]
    if read_at.WhichOneof("at") == "time":
        return journal.revision_at(micros_of(read_at.time))
    if read_at.WhichOneof("at") is None:
        return head
    if read_at.revision > head:
        raise RevisionNotReached(f"The head is revision {head}.", head=head, asked=read_at.revision)
    return read_at.revision


def _note(rebuilt: Rebuilt) -> str:
    found = len(rebuilt.differences)
    if not found:
        said = f"the views are what the journal says, as of revision {rebuilt.revision}"
    else:
        said = (
            f"{found} rows differ from what the journal says as of revision {rebuilt.revision} "
            f"(at most {DIFFERENCES_MAX} of a kind are shown for each table)"
        )
    return f"{said}; the rebuilt ones are in their place" if rebuilt.swapped else said


def _row(difference: Difference) -> list[Cell]:
    return [
        difference.view,
        difference.what,
        str(difference.revision),
        _line(difference.key),
        _line(difference.live),
        _line(difference.rebuilt),
    ]


def _line(values: dict[str, object]) -> str:
    return shortened(", ".join(f"{name}={value}" for name, value in _plain(values).items()), 120)


def _plain(values: dict[str, object]) -> dict[str, Any]:
    """Column values with ids as UUIDs and other bytes in hexadecimal."""
    return {name: _value(name, value) for name, value in values.items()}


def _value(name: str, value: object) -> object:
    if not isinstance(value, bytes):
        return value
    return text_of(value) if name in ID_COLUMNS and len(value) == 16 else value.hex()


def _document(rebuilt: Rebuilt) -> dict[str, Any]:
    return {
        "revision": rebuilt.revision,
        "equal": not rebuilt.differences,
        "swapped": rebuilt.swapped,
        "differences": [
            {
                "view": difference.view,
                "what": difference.what,
                "revision": difference.revision,
                "key": _plain(difference.key),
                "live": _plain(difference.live),
                "rebuilt": _plain(difference.rebuilt),
            }
            for difference in rebuilt.differences
        ],
    }
