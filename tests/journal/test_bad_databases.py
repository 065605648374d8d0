"""Databases that are not what they should be: each is refused by name, and left as it was."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from playhead import v1
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.journal import sql, sqlite
from playhead.journal.errors import (
    CorruptRecord,
    JournalError,
    JournalFull,
    JournalReadOnly,
    JournalUnavailable,
    NewerDatabase,
    NotAJournal,
)
from playhead.journal.journal import Journal
from playhead.journal.opening import open_database
from playhead.journal.postgres import PostgresDatabase
from playhead.journal.sqlite import SqliteDatabase
from tests.journal.notes import AUTHOR, Note, OpenNotes, new_id

NOBODY = 65_534
HANG_UP = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def opened(address: str) -> None:
    """Open a database as every process does, and close it again."""
    Orchestrator.open(address, timers=False).close()


def written(address: str) -> None:
    """Open a database and record something."""
    with Orchestrator.open(address, timers=False) as orchestrator:
        request = v1.RegisterFlowRequest(request_id=str(uuid.uuid4()), flow_id=str(uuid.uuid4()), name="flow")
        orchestrator.orchestration.register_flow(request, AUTHOR).result(60)


def change(address: str, *statements: str) -> None:
    """Change a database behind the journal's back."""
    if address.startswith("postgresql"):
        with psycopg.connect(address, autocommit=True) as postgres:
            for statement in statements:
                postgres.execute(statement.encode())
        return
    connection = sqlite3.connect(address, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_file_of_a_newer_version_is_refused(sqlite_store: str) -> None:
    opened(sqlite_store)
    change(sqlite_store, "PRAGMA user_version=2")
    with pytest.raises(NewerDatabase) as refused:
        opened(sqlite_store)
    assert (refused.value.facts["found"], refused.value.facts["known"]) == ("2", "1")


def test_a_journal_of_a_newer_format_is_refused(store: str) -> None:
    newer_row = f"INSERT INTO journal (id, format) SELECT id, {sql.JOURNAL_FORMAT + 1} FROM old"
    with OpenNotes(store):
        pass
    change(
        store,
        "CREATE TABLE old AS SELECT * FROM journal",
        "DROP TABLE journal",
        "CREATE TABLE journal (id BLOB, format INTEGER)"
        if not store.startswith("postgresql")
        else "CREATE TABLE journal (id bytea, format integer)",
        newer_row,
    )
    with pytest.raises(NewerDatabase) as refused:
        Journal(open_database(store))
    assert refused.value.facts["found"] == "2"


def test_views_of_a_newer_version_are_refused_and_kept(store: str) -> None:
    opened(store)
    change(store, "UPDATE views SET version = 99")
    with pytest.raises(NewerDatabase) as refused:
        opened(store)
    assert refused.value.facts["found"] == "99"


def test_views_of_an_older_version_are_rebuilt(store: str) -> None:
    opened(store)
    change(store, "UPDATE views SET version = 0", "DROP TABLE flow_runs")
    opened(store)
    with Orchestrator.open(store, timers=False) as orchestrator:
        assert orchestrator.journal.head()[0] == 1


@pytest.mark.parametrize(
    "content", [b"hello, world\n", b"\x00" * 5_000, os.urandom(5_000)], ids=["text", "zeros", "chance"]
)
def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(NotAJournal, match=r"notes\.txt"):
        opened(str(path))
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_an_sqlite_database_of_something_else_is_refused_and_kept(sqlite_store: str) -> None:
    change(sqlite_store, "CREATE TABLE flows (mine TEXT)", "INSERT INTO flows VALUES ('precious')")
    before = Path(sqlite_store).read_bytes()
    with pytest.raises(NotAJournal):
        opened(sqlite_store)
    assert Path(sqlite_store).read_bytes() == before


@pytest.mark.parametrize("table", ["flows", "journal", "events", "decisions"])
def test_a_postgresql_database_with_tables_of_something_else_is_refused_and_kept(
    postgres_store: str, table: str
) -> None:
    change(postgres_store, f"CREATE TABLE {table} (mine TEXT)", f"INSERT INTO {table} VALUES ('precious')")
    with pytest.raises(NotAJournal):
        opened(postgres_store)
    with psycopg.connect(postgres_store) as connection:
        assert connection.execute(f"SELECT mine FROM {table}".encode()).fetchall() == [("precious",)]


@pytest.mark.parametrize("address", ["", ":memory:", "sqlite:///:memory:", "/", "sqlite:////"])
def test_what_is_no_file_is_refused(address: str) -> None:
    with pytest.raises(NotAJournal):
        opened(address)


def test_a_file_cut_short_is_damage_not_a_new_journal(sqlite_store: str) -> None:
    with OpenNotes(sqlite_store) as notes:
        notes.writer.submit([Note("x" * 1_000)] * 100, finish=list).result(60)
    with Path(sqlite_store).open("r+b") as file:
        file.truncate(3 * 4_096)
    with pytest.raises(CorruptRecord):
        opened(sqlite_store)


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalReadOnly, match="can not be made"):
        opened(str(tmp_path / "file" / "folder" / "journal.db"))


@pytest.mark.parametrize("writable", ["nothing", "the folder", "the file"])
def test_what_can_not_be_written_is_refused_as_read_only(writable: str) -> None:
    with somebody_elses_folder() as folder:
        path = folder / "journal.db"
        opened(str(path))
        path.chmod(0o666 if writable == "the file" else 0o444)
        folder.chmod(0o777 if writable == "the folder" else 0o555)
        with as_nobody(), pytest.raises(JournalReadOnly, match=r"journal\.db"):
            written(str(path))
        folder.chmod(0o777)
        for file in folder.iterdir():
            file.chmod(0o666)
        with as_nobody():
            written(str(path))


def test_a_journal_can_not_be_made_in_a_read_only_folder() -> None:
    with somebody_elses_folder() as folder:
        folder.chmod(0o555)
        with as_nobody(), pytest.raises(JournalError, match=r"journal\.db") as refused:
            opened(str(folder / "journal.db"))
        assert isinstance(refused.value, JournalReadOnly)
        assert list(folder.iterdir()) == []


def test_a_read_only_postgresql_is_named_and_goes_on_when_it_is_writable_again(postgres_store: str) -> None:
    read_only = f"ALTER DATABASE {sa.make_url(postgres_store).database} SET default_transaction_read_only = {{}}"
    with OpenNotes(postgres_store) as notes:
        notes.write("a")
        change(postgres_store, read_only.format("on"), HANG_UP)
        first, second = (notes.submit(Note("b"))[0].exception(60) for _ in range(2))
        assert [type(first), type(second)] == [JournalUnavailable, JournalReadOnly]
        change(postgres_store, "SET default_transaction_read_only = off", read_only.format("off"))
        assert notes.write("c") == [3]


class SmallDisk(SqliteDatabase):
    """A file on a disk with room for few pages: SQLite itself reports the disk full."""

    pages = 1 << 30

    def connect_writer(self) -> sqlite3.Connection:
        connection = super().connect_writer()
        connection.execute(f"PRAGMA max_page_count={self.pages}")
        return connection


class SmallServer(PostgresDatabase):
    """A PostgreSQL that says its disk is full whenever the test says so."""

    FULL = """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON tree_nodes EXECUTE FUNCTION full_disk()
    """
    FREE = "DROP TRIGGER full_disk ON tree_nodes"


Fill = Callable[[], None]


@contextmanager
def small_store(store: str) -> Iterator[tuple[OpenNotes, Fill, Fill]]:
    """Notes on a database that can be filled and freed."""
    if store.startswith("postgresql"):
        with OpenNotes(store) as notes:
            yield notes, lambda: change(store, SmallServer.FULL), lambda: change(store, SmallServer.FREE)
        return
    disk = SmallDisk(store)
    with OpenNotes(disk) as notes:

        def fill() -> None:
            disk.pages = 1
            # The limit belongs to a connection: a defect makes the writer take a new one.
            notes.submit(Note("break me"))[0].exception(60)

        yield notes, fill, lambda: setattr(disk, "pages", 1 << 30)


def test_a_full_disk_records_nothing_and_is_written_to_when_space_returns(store: str) -> None:
    stream, requests = new_id(), [new_id() for _ in range(40)]
    with small_store(store) as (notes, fill, free):
        notes.write("a", "b", stream=stream)
        fill()
        big = [Note("x" * 4_000, stream, request) for request in requests]
        before, root = notes.all(), notes.journal.root(3)
        for _ in range(2):
            failed = notes.writer.submit(big, finish=list).exception(60)
            assert isinstance(failed, JournalFull)
            assert (notes.all(), notes.journal.root(3)) == (before, root)
        free()
        # The connection that met the limit was given up.
        assert notes.writer.submit(big, finish=list).result(60) == list(range(4, 44))
        assert [record.stream_version for record in notes.all()[1:]] == list(range(1, 43))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system; the test before needs none")
def test_a_file_system_without_space_is_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], check=False)
    if mount.returncode:
        pytest.skip("this container may not mount a file system; the test before needs none")
    try:
        ballast = folder / "ballast"
        with OpenNotes(str(folder / "journal.db")) as notes:
            notes.write("a")
            ballast.write_bytes(bytes(300_000))
            while (failed := notes.submit(Note("x" * 20_000))[0].exception(60)) is None:
                pass
            assert isinstance(failed, JournalFull)
            head = notes.journal.head()[0]
            ballast.unlink()
            assert notes.write("b") == [head + 1]
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_database_held_by_another_is_unavailable_and_waited_for(
    sqlite_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT_S", 0.01)
    with OpenNotes(sqlite_store) as notes:
        other = sqlite3.connect(sqlite_store, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable):
            notes.write("a")
        other.execute("ROLLBACK")
        other.close()
        assert notes.write("a") == [2]


def test_a_lost_connection_to_postgresql_is_made_again(postgres_store: str) -> None:
    with OpenNotes(postgres_store) as notes:
        notes.write("a")
        change(postgres_store, HANG_UP)
        assert isinstance(notes.submit(Note("b"))[0].exception(60), JournalUnavailable)
        assert notes.write("c") == [3]


@pytest.mark.parametrize("address", ["postgresql://nobody@127.0.0.1:1/none"])
def test_a_server_that_is_not_there_is_unavailable(address: str) -> None:
    with pytest.raises(JournalUnavailable):
        opened(address)


def test_a_postgresql_database_that_is_not_there_is_named(postgres_store: str) -> None:
    with pytest.raises(NotAJournal, match="no_such_database"):
        opened(postgres_store.replace("/journal_", "/no_such_database_"))


def test_many_can_open_a_new_database_at_once(store: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        orchestrators = list(pool.map(lambda _: Orchestrator.open(store, timers=False), range(6)))
    assert len({orchestrator.journal.id for orchestrator in orchestrators}) == 1
    assert orchestrators[0].journal.head()[0] == 1
    for orchestrator in orchestrators:
        orchestrator.close()


def test_many_processes_can_open_a_new_database_at_once(store: str) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(opened, [store] * 2, chunksize=1)
    with OpenNotes(store) as notes:
        assert [record.kind for record in notes.all()] == ["journal_created"]


@contextmanager
def somebody_elses_folder() -> Iterator[Path]:
    """A folder that everybody can reach, for permissions to be set on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755 | stat.S_IWUSR)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permission bits do not bind root: be somebody whom they do."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
