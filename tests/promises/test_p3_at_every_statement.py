"""P3: no half event. A process is killed before each SQL statement in turn, and inside writes to the log."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.checking import check_journal
from tests.processes.dying import Death, Dying, go_on_after

TORN_WRITES = 20
SHARED_MEMORY_BYTES = 32_768  # of SQLite's index of the log: a file too, but not what is torn here


@pytest.fixture
def dying() -> Iterator[Dying]:
    """A process whose children die."""
    with Dying() as process:
        yield process


def test_killed_before_any_statement_of_an_append(dying: Dying, store: str) -> None:
    go_on_after(store, dying.work(store, seed=0))
    for statement in range(1, 1_000):
        death = dying.work(store, seed=statement, statement=statement)
        go_on_after(store, death)
        if not death.killed:
            break
    assert statement > 20
    check_journal(store)


def test_killed_while_the_journal_is_made(dying: Dying, tmp_path: Path) -> None:
    statements = dying.work(str(tmp_path / "all.db"), seed=0).statements
    for statement in range(1, statements, 4):
        database = str(tmp_path / f"{statement}.db")
        death = dying.work(database, seed=0, statement=statement)
        assert death.killed
        go_on_after(database, death)
        check_journal(database)
        if death.answers:
            return
    pytest.fail("nothing was ever answered")


def test_killed_inside_a_write(dying: Dying, sqlite_store: str) -> None:
    dying.work(sqlite_store, seed=0)
    whole = dying.work(sqlite_store, seed=1)
    chance = random.Random(11)
    deaths: list[Death] = []
    for seed in range(2, TORN_WRITES + 2):
        file_bytes = chance.randrange(SHARED_MEMORY_BYTES, whole.log_bytes * 2 // 3)
        deaths.append(dying.work(sqlite_store, seed, file_bytes=file_bytes))
        go_on_after(sqlite_store, deaths[-1])
    assert all(death.killed for death in deaths)
    assert len({len(death.answers) for death in deaths}) > 2
    check_journal(sqlite_store)
