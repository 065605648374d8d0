"""What runs say is shown as it is and never obeyed: escapes, and what turns the direction of a text, are spelt."""

from __future__ import annotations

import json

import pytest

from playhead import v1
from playhead.cli.errors import report
from playhead.cli.events import event_line
from playhead.cli.output import print_line, print_table, printable
from tests.cli.conftest import Shell
from tests.replay.history import History, new_id

ERASES = "gone\x1b[2A\x1b[2K \x9b1m \x7f \u202eback \x1b]0;title\x07"
SHOWN = r"gone\x1b[2A\x1b[2K \x9b1m \x7f \u202eback \x1b]0;title"


@pytest.fixture
def run(shell: Shell) -> str:
    """A run whose code and message hold what a terminal obeys."""
    history = History(shell.database)
    spec = v1.FlowRunSpec(id=new_id(), flow_id=history.flow_id, entrypoint=ERASES, parameters=b"{}")
    run_id = history.propose(v1.State(type=v1.RUNNING), create_flow_run=spec).run_id
    history.propose(v1.State(type=v1.FAILED, message=ERASES), flow_run_id=run_id)
    history.close()
    return run_id


@pytest.mark.parametrize("command", ["inspect", "history", "explain"])
def test_what_a_terminal_would_obey_is_shown_as_its_escape(shell: Shell, run: str, command: str) -> None:
    said = shell.run("flow-run", command, run)
    assert SHOWN.split()[0] in said
    assert not [character for character in ERASES if character in said and not character.isprintable()]


def test_json_has_escapes_too_and_is_still_the_same(shell: Shell, run: str) -> None:
    said = shell.run("flow-run", "inspect", run, "--json")
    assert not [character for character in said.rstrip("\n") if not character.isprintable()]
    assert json.loads(said)["flow_run"]["status"]["state"]["message"] == ERASES


def test_a_line_of_the_journal_is_shown_with_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    proposed = v1.StateProposed(reason=ERASES, rule="Spy", decision=v1.REJECT)
    print_line(event_line(v1.JournalEvent(event=v1.Event(state_proposed=proposed), kind="state_proposed")))
    assert f"Spy: {SHOWN}" in capsys.readouterr().out


def test_a_cell_with_markup_newlines_and_tabs_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [("[bold]x", "one\ntwo")], note="note\x1b[1m")
    assert capsys.readouterr().out.split() == ["a", "b", "[bold]x", "one", "two", r"note\x1b[1m"]
    assert printable("\tone\ntwo") == "\tone\ntwo"


def test_a_row_that_a_program_reads_is_one_whole_line(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    history = History(shell.database)
    run_id = history.flow_run("long")
    message = " ".join(f"word-{number}" for number in range(150))
    history.propose(v1.State(type=v1.FAILED, message=message), flow_run_id=run_id)
    history.close()
    assert any(line.endswith(message) for line in shell.run("flow-run", "history", run_id).splitlines())
    print_table(("a", "b"), [("x", "y " * 300), ("x", "")])
    assert [len(line) for line in capsys.readouterr().out.splitlines()] == [4, 602, 1]


def test_an_error_is_shown_with_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    report(OSError(ERASES), as_json=False)
    assert capsys.readouterr().err.startswith(f"Error: {SHOWN}")
    report(OSError(ERASES), as_json=True)
    said = capsys.readouterr().err.rstrip("\n")
    assert said.isprintable()
    assert json.loads(said)["error"]["message"] == ERASES
