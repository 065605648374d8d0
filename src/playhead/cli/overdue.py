"""What has fallen due and nobody has decided yet. Until a process has the journal open, a run whose process died, or
that is late, is on record as it was before: lists say so, and nothing is decided because somebody looks.
"""

from __future__ import annotations

from typing import Any

import typer

from playhead import v1
from playhead.cli.documents import document_of
from playhead.cli.formats import state_text
from playhead.cli.output import Cell, one_line, print_json, print_table
from playhead.cli.session import Session
from playhead.engine.orchestration.asking import Due
from playhead.exceptions import NotOffered
from playhead.journal.encoding import timestamp
from playhead.journal.payload import event_of
from playhead.projector.showing import decision_record
from playhead.replay.sentences import moment_text, sentence_of

DUE_COLUMNS = ("run", "kind", "overdue", "is to be", "because")
ANSWER_COLUMN = "asked already"

HINT = "nobody has decided it yet: playhead journal due"


def show_due(session: Session, decide: bool) -> None:
    """Print what is due, or decide it and print how many proposals that took and what is due none the less, with exit
    status 1. Raises NotOffered for a server.
    """
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
    _print_due(due, f"{len(due)} due{step}")


def due_documents(due: list[Due]) -> list[dict[str, Any]]:
    """What is due, as JSON."""
    return [_document(one) for one in due]


def due_note(due: list[Due]) -> str:
    """What a list says below of those in it that are overdue."""
    return f"; {len(due)} overdue, {HINT}" if due else ""


def _document(due: Due) -> dict[str, Any]:
    asked = due.asked
    return {
        "run_id": due.run_id,
        "why": due.why,
        "proposed": document_of(due.request.state),
        "answered": document_of(decision_record(asked.record, event_of(asked.record))) if asked else None,
        "asked_again_at": timestamp(asked.again_at).ToJsonString() if asked else None,
    }


def _print_due(dues: list[Due], note: str) -> None:
    """A table of what is due, with what came of it where it was proposed already."""
    if any(due.asked for due in dues):
        print_table((*DUE_COLUMNS, ANSWER_COLUMN), ([*_row(due), _answer(due)] for due in dues), note)
    else:
        print_table(DUE_COLUMNS, map(_row, dues), note)


def _row(due: Due) -> list[Cell]:
    state: v1.State = due.request.state
    kind = "flow run" if due.request.flow_run_id else "task run"
    return [due.run_id, kind, due.why, state_text(state), one_line(state.message)]


def _answer(due: Due) -> str:
    if due.asked is None:
        return ""
    said = sentence_of(due.asked.record, event_of(due.asked.record))
    return f"Revision {due.asked.record.revision}: {said} Again from {moment_text(timestamp(due.asked.again_at))} on."


def _print_decided(session: Session, proposed: int) -> None:
    left = list(session.due().values())
    if session.as_json:
        print_json({"proposed": proposed, "due": due_documents(left)})
    else:
        shown = ": playhead audit decisions --actor playhead/timers" if proposed else ""
        note = f"{proposed} proposed{shown}; {f'{len(left)} still due' if left else 'nothing is due'}"
        _print_due(left, note)
    if left:
        raise typer.Exit(1)
