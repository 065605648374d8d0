"""Views made anew equal the live ones at every revision; what was tampered with is found, and healed by the swap."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from playhead import v1
from playhead.client.interface import GET_FLOW_RUN, LIST_FLOW_RUNS
from playhead.journal.errors import CorruptRecord, JournalError
from playhead.projector.building import REBUILD_PREFIX, build, fresh_prefix
from playhead.projector.reads import all_rows
from playhead.projector.sql import OPEN, made_of
from playhead.replay.rebuild import Difference, compare_views, drop_unfinished, rebuild_views, unfinished
from tests.replay.history import History
from tests.replay.tampering import Tampering

# A statement that changes a view, and what the comparison says: table, kind of difference, revision, columns.
TAMPERINGS: dict[str, tuple[str, tuple[str, str, int, set[str]]]] = {
    "a state changed": (
        f"UPDATE flow_run_versions SET state_name = 'Late', state_type = 1 WHERE valid_from = 14 AND valid_to = {OPEN}",
        ("flow_run_versions", "different", 14, {"state_name", "state_type"}),
    ),
    "an older version changed": (
        "UPDATE flow_run_versions SET tags = '' WHERE valid_from = 4",
        ("flow_run_versions", "different", 4, {"tags"}),
    ),
    "a version closed": (
        f"UPDATE task_run_versions SET valid_to = 10 WHERE valid_from = 7 AND valid_to = {OPEN}",
        ("task_run_versions", "different", 7, {"valid_to"}),
    ),
    "a null filled": (
        "UPDATE cache_entries SET expires_at = 5 WHERE revision = 7",
        ("cache_entries", "different", 7, {"expires_at"}),
    ),
    "a version that the next event would close": (
        f"UPDATE flow_run_versions SET valid_to = 20 WHERE valid_from = 14 AND valid_to = {OPEN}",
        ("flow_run_versions", "different", 14, {"valid_to"}),
    ),
    "a decision of the future": (
        "INSERT INTO decisions (revision, run_id, decision, rule, before_type, proposed_type, forced) "
        "SELECT 99, run_id, decision, rule, before_type, proposed_type, forced FROM decisions WHERE revision = 15",
        ("decisions", "surplus", 99, set()),
    ),
    "a decision deleted": ("DELETE FROM decisions WHERE revision = 15", ("decisions", "missing", 15, set())),
    "a flow renamed": (
        "UPDATE flows SET name = 'spy' WHERE created_revision = 16",
        ("flows", "different", 16, {"name"}),
    ),
    "a decision added": (
        "INSERT INTO decisions (revision, run_id, decision, rule, before_type, proposed_type, forced) "
        "SELECT 16, run_id, decision, rule, before_type, proposed_type, forced FROM decisions WHERE revision = 15",
        ("decisions", "surplus", 16, set()),
    ),
}


def test_views_made_anew_equal_the_live_ones_as_of_every_revision(history: History) -> None:
    for at in range(history.head() + 1):
        compared = compare_views(history.journal, at)
        assert (compared.revision, compared.differences, compared.swapped) == (at, [], False)


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_was_tampered_with_is_found_and_healed(history: History, name: str) -> None:
    statement, expected = TAMPERINGS[name]
    Tampering(history.journal, history.journal.database.connect_writer()).run(statement)
    assert [_told(difference) for difference in compare_views(history.journal).differences] == [expected]
    healed = rebuild_views(history.journal)
    assert [_told(difference) for difference in healed.differences] == [expected]
    assert healed.swapped
    assert compare_views(history.journal).differences == []


def test_a_difference_is_not_seen_as_of_a_revision_before_it(history: History) -> None:
    Tampering(history.journal, history.journal.database.connect_writer()).run(TAMPERINGS["a decision deleted"][0])
    assert compare_views(history.journal, 14).differences == []
    assert len(compare_views(history.journal, 15).differences) == 1


def test_rows_of_events_that_were_cut_off_are_found(history: History) -> None:
    Tampering.with_journal(history.journal).run("DELETE FROM events WHERE revision > 14")
    found = {(difference.view, difference.what) for difference in compare_views(history.journal).differences}
    assert found == {
        ("decisions", "surplus"),
        ("flow_run_versions", "surplus"),
        ("flow_runs", "surplus"),
        ("flows", "surplus"),
    }


def test_differences_are_bounded_for_each_table(history: History) -> None:
    tampering = Tampering(history.journal, history.journal.database.connect_writer())
    tampering.run("DELETE FROM task_run_versions")
    tampering.run("UPDATE decisions SET rule = 'Spy'")
    found = compare_views(history.journal, differences_max=2).differences
    assert [(difference.view, difference.what) for difference in found] == [
        *[("decisions", "different")] * 2,
        *[("task_run_versions", "missing")] * 2,
    ]


def test_a_difference_has_both_values(history: History) -> None:
    Tampering(history.journal, history.journal.database.connect_writer()).run(TAMPERINGS["a flow renamed"][0])
    (difference,) = compare_views(history.journal).differences
    assert (difference.key, difference.live, difference.rebuilt) == (
        {"created_revision": 16},
        {"name": "spy"},
        {"name": "report"},
    )


def test_tables_that_are_missing_or_of_another_version_are_told_and_replaced(history: History) -> None:
    tampering = Tampering(history.journal, history.journal.database.connect_writer())
    tampering.connection.execute("DROP TABLE decisions")
    tampering.connection.execute("ALTER TABLE flows RENAME COLUMN name TO called")
    missing, renamed = rebuild_views(history.journal).differences
    assert (missing.view, missing.revision, missing.live) == ("decisions", 0, {"columns": []})
    assert (renamed.view, renamed.live["columns"]) == ("flows", ["created_revision", "flow_id", "called", "created_at"])
    assert compare_views(history.journal).differences == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE events SET payload = ? WHERE revision = 9", v1.CORRUPT_RECORD),
        ("UPDATE events SET kind = 'of_the_future' WHERE payload <> ? AND revision = 9", v1.NEWER_DATABASE),
    ],
)
def test_an_event_that_can_not_be_read_is_named(history: History, statement: str, reason: int) -> None:
    Tampering.with_journal(history.journal).run(statement, b"\xff\xff")
    with pytest.raises(JournalError) as fault:
        rebuild_views(history.journal)
    assert (fault.value.reason, fault.value.facts["revision"]) == (reason, "9")


def test_writers_and_readers_go_on_while_views_are_rebuilt_and_after_it(history: History) -> None:
    written: list[str] = []

    def write(reached: int, head: int) -> None:
        written.append(history.flow_run(f"meanwhile {reached}"))

    rebuilt = rebuild_views(history.journal, progress=write)
    assert rebuilt.differences == []
    after = history.flow_run("after")
    history.propose(v1.State(type=v1.COMPLETED), flow_run_id=written[0])
    listed = history.client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest()).flow_runs
    assert [run.spec.id for run in listed[:2]] == [after, written[0]]
    assert history.client.unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=written[0])).flow_run.status.version == 3
    assert compare_views(history.journal).differences == []


def test_a_rebuild_that_fails_leaves_the_live_views_and_nothing_else(history: History) -> None:
    before = _rows(history)
    Tampering.with_journal(history.journal).run("UPDATE events SET payload = NULL WHERE revision = 9")
    with pytest.raises(CorruptRecord) as fault:
        rebuild_views(history.journal)
    assert fault.value.facts["revision"] == "9"
    assert _rows(history) == before
    assert _leftovers(history) == []


def test_an_interrupted_rebuild_leaves_nothing_behind(history: History) -> None:
    def interrupt(reached: int, head: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild_views(history.journal, progress=interrupt)
    assert _leftovers(history) == []


def test_what_a_killed_rebuild_has_left_is_dropped_when_asked_for(history: History) -> None:
    prefix = fresh_prefix()
    build(history.journal, prefix)
    assert rebuild_views(history.journal).differences == []
    assert unfinished(history.journal) == [prefix]
    assert drop_unfinished(history.journal) == [prefix]
    assert _leftovers(history) == []


@pytest.mark.parametrize("rebuild", [compare_views, rebuild_views])
def test_no_tables_are_left_behind(history: History, rebuild: Callable[..., object]) -> None:
    rebuild(history.journal)
    assert _leftovers(history) == []


def _told(difference: Difference) -> tuple[str, str, int, set[str]]:
    columns = set(difference.live) if difference.what == "different" else set[str]()
    return difference.view, difference.what, difference.revision, columns


def _rows(history: History) -> list[tuple[object, ...]]:
    return [row for table in made_of().all for row in all_rows(history.journal.database, table)]


def _leftovers(history: History) -> list[str]:
    with history.journal.database.reading() as connection:
        names = sa.inspect(connection).get_table_names()
    return [name for name in names if name.startswith(REBUILD_PREFIX)]
