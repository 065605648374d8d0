"""Every single transition, compared with what a Prefect 3.7.2 server answered: transitions.txt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from playhead import v1
from playhead.engine.orchestration.policy import Subject
from tests.orchestration import given
from tests.orchestration.given import FLOW, STORED, TASK, decided, facts, inside, short, state

RECORDED = Path(__file__).with_name("transitions.txt")

BEFORE = {
    "NONE": (None, 0),
    "SCHEDULED": (state(v1.SCHEDULED, scheduled_time=given.at(-1)), 0),
    "LATER": (state(v1.SCHEDULED, scheduled_time=given.at(60)), 0),
    "PENDING": (state(v1.PENDING), 0),
    "RUNNING": (state(v1.RUNNING), 1),
    "PAUSED": (state(v1.PAUSED), 0),
    "SUSPENDED": (state(v1.PAUSED, "Suspended", pause_reschedule=True), 0),
    "CANCELLING": (state(v1.CANCELLING), 0),
    "COMPLETED": (state(v1.COMPLETED), 0),
    "UNSTORED": (state(v1.COMPLETED, result=v1.Result(media_type="application/json")), 0),
    "STORED": (state(v1.COMPLETED, result=STORED), 0),
    "FAILED": (state(v1.FAILED), 0),
    "CRASHED": (state(v1.CRASHED), 0),
    "CANCELLED": (state(v1.CANCELLED), 0),
}
"""Row -> the run's state and how often it ran."""

PROPOSED = {
    "S": state(v1.SCHEDULED),
    "P": state(v1.PENDING),
    "R": state(v1.RUNNING),
    "H": state(v1.PAUSED),
    "G": state(v1.CANCELLING),
    "C": state(v1.COMPLETED),
    "F": state(v1.FAILED),
    "X": state(v1.CRASHED),
    "L": state(v1.CANCELLED),
    "U": state(v1.PAUSED, pause_reschedule=True),
}

CANCELLED_PAUSE = "a blocking pause can be cancelled: the process that waits in it ends the run"
NOBODY_TO_CANCEL = "no process holds a lease on the run, so none would ever end it"
DIFFERENCES: dict[tuple[str, str, str], tuple[str, str]] = {
    ("flow", "PAUSED", "G"): ("A", CANCELLED_PAUSE),
    ("flow deployment", "PAUSED", "G"): ("A", CANCELLED_PAUSE),
    **{
        (section, row, "G"): ("R>Cancelled", NOBODY_TO_CANCEL)
        for section, rows in {
            "flow": ("NONE", "PENDING"),
            "flow forced": ("NONE", "PENDING"),
            "flow deployment": ("NONE", "PENDING"),
            "flow deployment forced": ("PENDING",),
        }.items()
        for row in rows
    },
}
"""(section, row, column) -> our answer, where it differs on purpose, and why: a sentence for docs/transitions.md.

What else is done otherwise shows in names, times, counts and leases: the rules' docstrings say "Differs", and the
rules' own tests hold it.
"""


def recorded() -> Iterator[tuple[str, str, dict[str, str]]]:
    """(section, row, {column: answer}) of the whole file."""
    section, columns = "", [""]
    for line in RECORDED.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        first, *cells = line.split()
        if line.startswith("["):
            section = line.strip("[]")
        elif first == "from":
            columns = cells
        else:
            yield section, first, dict(zip(columns, cells, strict=True))


@pytest.mark.parametrize(("section", "row", "answers"), list(recorded()))
def test_each_transition_is_answered_as_recorded(section: str, row: str, answers: dict[str, str]) -> None:
    expected = {column: DIFFERENCES.get((section, row, column), (told, ""))[0] for column, told in answers.items()}
    assert {column: answer(section, row, column) for column in answers} == expected


def test_the_record_is_whole() -> None:
    """Ten kinds of run and 1,182 transitions: an edit that loses some would otherwise go unnoticed."""
    rows = list(recorded())
    assert len({section for section, _, _ in rows}) == 10
    assert sum(len(answers) for _, _, answers in rows) == 1182


def answer(section: str, row: str, column: str) -> str:
    """What we answer, in the notation of the record."""
    subject, run = facts_of(section, row)
    return short(decided(subject, run, PROPOSED[column], force="forced" in section))


def facts_of(section: str, row: str) -> tuple[Subject, v1.Facts]:
    """The run that a row of a section is about."""
    kind, *words = section.split()
    before, run_count = BEFORE[row]
    run = facts(before, run_count=run_count)
    if kind == "flow":
        run.has_deployment = "deployment" in words
        return FLOW, run
    flow_run = [word for word in words if word != "forced"]
    return TASK, inside(run, v1.StateType.Value(flow_run[0])) if flow_run else run
