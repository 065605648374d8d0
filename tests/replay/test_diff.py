"""What happened to a run between two revisions, and nothing of what happened before or after."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from playhead import v1
from playhead.exceptions import BadRequest, NotFound
from playhead.replay.diff import FieldChange, RunDiff, diff_run, field_changes
from tests.replay.history import History, new_id


@pytest.fixture
def journal(store: str) -> Iterator[History]:
    """An open journal with a flow and no runs."""
    opened = History(store)
    yield opened
    opened.close()


def diff(journal: History, run_id: str, earlier: int, later: int) -> RunDiff:
    """The difference of a flow run."""
    return diff_run(journal.client.orchestrator.runs, "flow_run", run_id, earlier, later)


def test_fields_states_and_decisions_of_the_time_in_between(journal: History) -> None:
    run = journal.flow_run("first")
    earlier = journal.head()
    journal.rename(run, "renamed")
    journal.propose(v1.State(type=v1.COMPLETED, message="done"), flow_run_id=run)
    journal.propose(v1.State(type=v1.CANCELLING), flow_run_id=run)
    later = journal.head()
    journal.rename(run, "renamed again")
    found = diff(journal, run, earlier, later)
    assert (found.name, found.created) == ("renamed", False)
    assert [(state.name, state.message) for state in found.states] == [("Completed", "done")]
    assert [record.decision for record in found.decisions] == [v1.ACCEPT, v1.ABORT]
    changes = {change.field: (change.before, change.after) for change in found.fields}
    assert changes["name"] == ("first", "renamed")
    assert changes["state.type"] == ("RUNNING", "COMPLETED")
    assert changes["state.message"] == (None, "done")
    assert "tags" not in changes
    assert "start_time" not in changes


def test_task_runs_that_were_created_or_changed(journal: History) -> None:
    run = journal.flow_run("first")
    untouched, changed = journal.task_run(run, "untouched"), journal.task_run(run, "changed")
    earlier = journal.head()
    journal.propose(v1.State(type=v1.COMPLETED), task_run_id=changed)
    created = journal.task_run(run, "created")
    journal.propose(v1.State(type=v1.FAILED), task_run_id=created)
    journal.task_run(journal.flow_run("another"), "created")
    later = journal.head()
    journal.propose(v1.State(type=v1.COMPLETED), task_run_id=untouched)
    found = diff(journal, run, earlier, later).task_runs
    assert [(d.run_id, d.created, [state.name for state in d.states]) for d in found] == [
        (changed, False, ["Completed"]),
        (created, True, ["Running", "Failed"]),
    ]


def test_a_run_that_was_created_in_between_differs_in_all_it_has(journal: History) -> None:
    earlier = journal.head()
    run = journal.flow_run("first", "nightly")
    found = diff(journal, run, earlier, journal.head())
    assert found.created
    assert FieldChange("name", None, "first") in found.fields
    assert FieldChange("tags", None, ["nightly"]) in found.fields
    assert diff(journal, run, 0, journal.head()).fields == found.fields


def test_a_task_run_has_a_difference_too(journal: History) -> None:
    task_run = journal.task_run(journal.flow_run("first"), "load")
    earlier = journal.head()
    journal.propose(v1.State(type=v1.COMPLETED), task_run_id=task_run)
    found = diff_run(journal.client.orchestrator.runs, "task_run", task_run, earlier, journal.head())
    assert [state.name for state in found.states] == ["Completed"]
    assert found.task_runs == []


def test_nothing_in_between_is_no_difference(journal: History) -> None:
    run = journal.flow_run("first")
    found = diff(journal, run, journal.head(), journal.head())
    assert (found.fields, found.states, found.decisions, found.task_runs) == ([], [], [], [])


def test_more_task_runs_than_a_page_has(journal: History) -> None:
    run = journal.flow_run("first")
    proposals = [
        v1.ProposeStatesItem(
            request=v1.ProposeStateRequest(
                request_id=new_id(),
                state=v1.State(type=v1.RUNNING),
                create_task_run=v1.TaskRunSpec(flow_run_id=run, task_key="many", dynamic_key=str(number)),
            )
        )
        for number in range(1_100)
    ]
    earlier = journal.head()
    for batch in (proposals[:1_000], proposals[1_000:]):
        journal.propose_all(batch)
    assert len(diff(journal, run, earlier, journal.head()).task_runs) == 1_100


def test_revisions_out_of_order_are_refused(journal: History) -> None:
    run = journal.flow_run("first")
    with pytest.raises(BadRequest, match="to: 1 is before 2"):
        diff(journal, run, 2, 1)


def test_a_run_that_is_not_there_at_the_later_revision_is_not_found(journal: History) -> None:
    run = journal.flow_run("first")
    with pytest.raises(NotFound):
        diff(journal, run, 0, 1)


def test_fields_come_in_the_order_of_the_contract() -> None:
    before = v1.RunStatus(name="a", run_count=2, state=v1.State(type=v1.RUNNING))
    after = v1.RunStatus(name="b", tags=["x"], state=v1.State(type=v1.FAILED))
    assert field_changes(before, after) == [
        FieldChange("state.type", "RUNNING", "FAILED"),
        FieldChange("name", "a", "b"),
        FieldChange("tags", None, ["x"]),
        FieldChange("run_count", 2, None),
    ]
