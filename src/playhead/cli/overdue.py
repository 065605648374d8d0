"""What has fallen due and nobody has decided yet. Until a process has the journal open, a run whose process died, or
that is late, is on record as it was before: lists say so, and nothing is decided because somebody looks.
"""

from __future__ import annotations

from typing import Any

from playhead import v1
from playhead.cli.documents import document_of
from playhead.cli.formats import state_text
from playhead.cli.output import Cell, one_line, print_json, print_table
from playhead.cli.session import Session
from playhead.engine.orchestration.timers import Due
from playhead.exceptions import NotOffered

DUE_COLUMNS = ("run", "kind", "overdue", "is to be", "because")

HINT = "nobody has decided it yet: playhead journal due"


def show_due(session: Session, decide: bool) -> None:
    """Print what is due, or decide it and print how many proposals that took. Raises NotOffered for a server."""
    if session.database is None:
        raise NotOffered("A server decides what falls due within a second. A database without one: --database.")
    if decide:
        _print_decided(session, session.decide_due())
        return
    due = list(session.due().values())
    if session.as_json:
        print_json({"due": due_documents(due)})
        return
    step = "; decide it: playhead journal due --decide" if due else ""
    print_table(DUE_COLUMNS, map(_row, due), f"{len(due)} due{step}")


def due_documents(due: list[Due]) -> list[dict[str, Any]]:
    """What is due, as JSON."""
    return [{"run_id": one.run_id, "why": one.why, "proposed": document_of(one.request.state)} for one in due]


def due_note(due: list[Due]) -> str:
    """What a list says below of those in it that are overdue."""
    return f"; {len(due)} overdue, {HINT}" if due else ""


def _row(due: Due) -> list[Cell]:
    state: v1.State = due.request.state
    kind = "flow run" if due.request.flow_run_id else "task run"
    return [due.run_id, kind, due.why, state_text(state), one_line(state.message)]


def _print_decided(session: Session, proposed: int) -> None:
    if session.as_json:
        print_json({"proposed": proposed})
    else:
        shown = ": playhead audit decisions --actor playhead/timers" if proposed else "; nothing was due"
        print_table((), (), f"{proposed} proposed{shown}")
