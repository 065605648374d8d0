"""Why a run is as it is, printed: a summary, then its steps, each with what it followed from."""

from __future__ import annotations

from typing import Any

from playhead import v1
from playhead.cli.documents import document_of
from playhead.cli.formats import clock, state_text
from playhead.cli.output import Cell, print_json, print_line, print_table
from playhead.cli.session import Session
from playhead.client.interface import EXPLAIN_RUN
from playhead.replay.diff import Kind

STEP_COLUMNS = ("revision", "time", "state", "what happened")


def show_explanation(session: Session, kind: Kind, text: str, changes_only: bool, steps_max: int) -> None:
    """Print the explanation of a run."""
    run: Any = {f"{kind}_id": session.find_run(kind, text)}
    request = v1.ExplainRunRequest(**run, read_at=session.read_at, changes_only=changes_only, steps_max=steps_max)
    explained = session.call(EXPLAIN_RUN, request)
    if session.as_json:
        print_json(document_of(explained))
        return
    print_line(f"{explained.summary}\n")
    shown = f"{len(explained.steps)} of {len(explained.steps) + explained.left_out} steps"
    more = "; for earlier ones: --steps, or --as-of" if explained.left_out else ""
    print_table(STEP_COLUMNS, map(step_row, explained.steps), f"{shown} as of revision {explained.meta.revision}{more}")


def step_row(step: v1.ExplainStep) -> list[Cell]:
    """A step of an explanation."""
    sentence = step.sentence
    if step.HasField("cause"):
        sentence += f"\nIt followed from revision {step.cause.revision}. {step.cause.sentence}"
    return [str(step.revision), clock(step.recorded_at), state_text(step.state), sentence]
