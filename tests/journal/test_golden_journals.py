"""A journal that the first release wrote verifies and is read; altered, it fails at the revision that was altered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from playhead import v1
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.journal.errors import CorruptRecord
from playhead.journal.journal import Journal
from playhead.journal.opening import open_database
from playhead.replay.verify import verify_journal
from tests.journal.golden_journals import ALTERED, WHOLE, restore

ROOT = "029a693d16428b26e8fa82d0470571b8181fb44b22e9c409e2d95da3d06d3173"


def opened(store: str, dump: str) -> Orchestrator:
    """An orchestrator on a journal made of a dump."""
    restore(dump, store)
    return Orchestrator.open(store, timers=False)


def test_the_journal_of_the_first_release_verifies_to_the_root_it_had(sqlite_store: str) -> None:
    with opened(sqlite_store, WHOLE.read_text()) as orchestrator:
        verified = verify_journal(orchestrator.journal)
        assert (verified.revision, verified.root.hex()) == (14, ROOT)


def test_the_journal_of_the_first_release_is_folded_and_read(sqlite_store: str) -> None:
    with opened(sqlite_store, WHOLE.read_text()) as orchestrator:
        run = orchestrator.runs.list_flow_runs(v1.ListFlowRunsRequest()).flow_runs[0]
        assert (run.flow_name, run.status.name, list(run.status.tags)) == ("etl", "weather", ["x"])
        task = orchestrator.runs.list_task_runs(v1.ListTaskRunsRequest()).task_runs[0]
        asked = v1.ListDecisionsRequest(task_run_id=task.spec.id)
        decisions = orchestrator.runs.list_decisions(asked).decisions
        assert [(v1.Decision.Name(d.decision), d.rule) for d in decisions] == [
            ("ACCEPT", ""),
            ("REJECT", "RetryFailedTasks"),
            ("WAIT", "WaitForScheduledTime"),
            ("ACCEPT", ""),
            ("ACCEPT", ""),
        ]
        at = v1.ReadAt(revision=8)
        then = orchestrator.runs.get_task_run(v1.GetTaskRunRequest(task_run_id=task.spec.id, read_at=at)).task_run
        assert (then.status.state.name, task.status.state.name) == ("AwaitingRetry", "Completed")


def test_one_letter_altered_in_one_payload_is_found_at_its_revision(sqlite_store: str) -> None:
    with opened(sqlite_store, ALTERED.read_text()) as orchestrator, pytest.raises(CorruptRecord) as found:
        verify_journal(orchestrator.journal)
    assert found.value.facts["revision"] == "8"


def without_line(start: str) -> Callable[[str], str]:
    """A dump without the one line that begins so."""

    def change(dump: str) -> str:
        lines = dump.splitlines()
        assert sum(line.startswith(start) for line in lines) == 1
        return "\n".join(line for line in lines if not line.startswith(start))

    return change


def replaced(old: str, new: str) -> Callable[[str], str]:
    """A dump with one thing replaced by another, once."""

    def change(dump: str) -> str:
        assert old in dump
        return dump.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "revision"),
    [
        (without_line('INSERT INTO "events" VALUES(5,'), 5),
        (without_line('INSERT INTO "events" VALUES(14,'), 14),
        (replaced("'grace'", "'ada'"), 12),
        (replaced("'state_proposed',1700000001500000", "'state_proposed',1700000001500001"), 4),
        (replaced("'run_updated'", "'run_renamed'"), 14),
    ],
    ids=["an event removed", "the last event removed", "another actor", "another time", "another kind"],
)
def test_whatever_is_altered_is_found_at_its_revision(
    sqlite_store: str, change: Callable[[str], str], revision: int
) -> None:
    restore(change(WHOLE.read_text()), sqlite_store)
    journal = Journal(open_database(sqlite_store))
    with pytest.raises(CorruptRecord) as found:
        verify_journal(journal)
    journal.close()
    assert found.value.facts["revision"] == str(revision)
