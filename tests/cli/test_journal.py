"""The journal's head, its last events and its verification; views compared and rebuilt; on a database."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from playhead.journal.journal import Journal
from playhead.journal.opening import open_database
from playhead.projector.building import build, fresh_prefix
from tests.cli.conftest import Shell
from tests.replay.history import History
from tests.replay.tampering import Tampering


@pytest.fixture
def tampering(shell: Shell) -> Iterator[Tampering]:
    """All rights on the shell's journal."""
    journal = Journal(open_database(shell.database))
    yield Tampering.with_journal(journal)
    journal.close()


def lines(output: str) -> list[int]:
    """The revisions of events printed as JSON lines."""
    return [json.loads(line)["revision"] for line in output.splitlines()]


def test_the_head_has_a_root_to_keep(shell: Shell) -> None:
    head = shell.document("journal", "head")
    assert head["meta"]["revision"] == 19
    assert shell.document("journal", "verify", "--expect", f"19:{head['root_hash']}") == {
        "journal_id": head["meta"]["journal_id"],
        "revision": 19,
        "root_hash": head["root_hash"],
        "verified": True,
    }
    assert head["root_hash"] in shell.run("journal", "head")


def test_an_earlier_head_has_its_root_too(shell: Shell) -> None:
    head = shell.document("journal", "head", "--as-of", "14")
    assert head["meta"]["revision"] == 14
    assert head["recorded_at"]
    assert "1 … 19" in shell.run("journal", "verify", "--expect", f"14:{head['root_hash']}")
    assert "was noted" in shell.error("journal", "verify", "--expect", f"13:{head['root_hash']}")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), list(range(10, 20))),
        (("-n", "2"), [18, 19]),
        (("-n", "0"), []),
        (("-n", "3", "--as-of", "5"), [3, 4, 5]),
        (("-n", "100", "--kind", "flow_registered"), [2, 16]),
        (("-n", "100", "--kind", "flow_registered", "--kind", "run_updated"), [2, 13, 16]),
    ],
)
def test_the_last_events_are_json_lines(shell: Shell, options: tuple[str, ...], expected: list[int]) -> None:
    assert lines(shell.run("journal", "tail", "--json", *options)) == expected


def test_events_of_one_run(shell: Shell) -> None:
    assert lines(shell.run("journal", "tail", "--json", "--stream", shell.failed)) == [17, 18, 19]


def test_events_are_lines_with_what_they_say(shell: Shell) -> None:
    text = shell.run("journal", "tail", "-n", "19").splitlines()
    assert "journal_created" in text[0]
    assert "flow_registered" in text[1]
    assert "Failed REJECT by RetryFailedTasks" in text[9]
    assert "renamed" in text[12]
    assert len(text) == 19


def test_a_changed_journal_fails_verification_at_the_revision(shell: Shell, tampering: Tampering) -> None:
    tampering.run("UPDATE events SET actor = 'nobody' WHERE revision = 9")
    error = shell.error("journal", "verify")
    assert "Error: Revision 9 does not match its leaf" in error
    assert "compare it with a backup" in error
    document = json.loads(shell.error("journal", "verify", "--json"))
    assert document["error"]["reason"] == "CORRUPT_RECORD"
    assert document["error"]["facts"]["revision"] == "9"


@pytest.mark.parametrize("noted", ["19", "19:abc", "x:" + 64 * "0"])
def test_a_noted_root_must_be_one(shell: Shell, noted: str) -> None:
    assert "--expect" in shell.error("journal", "verify", "--expect", noted, status=2)


def test_views_are_compared_and_rebuilt(shell: Shell, tampering: Tampering) -> None:
    assert shell.document("views", "rebuild", "--check") == {
        "revision": 19,
        "equal": True,
        "swapped": False,
        "differences": [],
    }
    tampering.run("UPDATE flow_runs SET created_by = 'nobody' WHERE created_revision = 17")
    found = shell.document("views", "rebuild", "--check", status=1)
    assert [(d["view"], d["what"], d["revision"]) for d in found["differences"]] == [("flow_runs", "different", 17)]
    assert found["differences"][0]["live"] == {"created_by": "nobody"}
    assert "created_by=nobody" in shell.run("views", "rebuild", "--check", status=1)
    assert "created_by=nobody" in shell.run("views", "rebuild")
    assert "the views are what the journal says" in shell.run("views", "rebuild", "--check")


def test_views_are_compared_as_of_a_moment(shell: Shell, tampering: Tampering) -> None:
    tampering.run("DELETE FROM decisions WHERE revision = 15")
    assert shell.document("views", "rebuild", "--check", "--as-of", "14")["equal"]
    assert shell.document("views", "rebuild", "--check", "--as-of", "2001-01-01")["revision"] == 0
    assert not shell.document("views", "rebuild", "--check", "--as-of", "15", status=1)["equal"]
    assert "The head is revision 19" in shell.error("views", "rebuild", "--check", "--as-of", "20")
    assert "--check" in shell.error("views", "rebuild", "--as-of", "14", status=2)


def test_what_killed_rebuilds_have_left_is_told_and_dropped(shell: Shell, tampering: Tampering) -> None:
    build(tampering.journal, fresh_prefix())
    assert "other rebuilds have not ended: 1" in shell.run("views", "rebuild", "--check")
    assert len(shell.document("views", "drop-unfinished")["dropped"]) == 1
    assert "unfinished rebuilds dropped: 0" in shell.run("views", "drop-unfinished")


def test_on_postgresql(postgres_store: str) -> None:
    history = History(postgres_store)
    completed, failed = history.write()
    history.close()
    shell = Shell(postgres_store, completed, failed)
    assert len(shell.document("flow-run", "ls", "--as-of", "1h ago")["flow_runs"]) == 0
    assert len(shell.document("flow-run", "ls")["flow_runs"]) == 2
    assert shell.document("journal", "verify")["revision"] == 19
    assert shell.document("views", "rebuild", "--check")["equal"]
    assert shell.document("views", "rebuild")["swapped"]
