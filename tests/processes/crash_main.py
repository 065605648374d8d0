"""A process that does the same few commands again and again, each time in a child that dies at a chosen moment.

It reads lines of JSON, {"database": ADDRESS, "seed": of the commands} with "statement": N or "file_bytes": N, and
answers each with {"killed": whether the child was, "answers": [those it gave, in hex], "statements": how many it began,
"log_bytes": how long SQLite's log became}. The child is killed before its N-th SQL statement, or inside the write that
makes a file longer than N bytes.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import psycopg

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import PROPOSE_STATE, Command
from playhead.journal.postgres import PostgresDatabase
from playhead.journal.sqlite import SqliteDatabase
from tests.processes.killing import first
from tests.processes.load import Asked, Load

ALONE, TOGETHER = 2, 3

PROPOSE_TOGETHER = Command(
    "Orchestration", "ProposeStates", "propose_states", v1.ProposeStatesRequest, v1.ProposeStatesResponse
)


def commands(seed: int) -> list[Asked]:
    """What the child asks for: some commands one after the other, then some in one transaction."""
    load = Load(seed, runs=1)
    alone = first(load, ALONE)
    proposals = (request for method, request in load.commands() if method is PROPOSE_STATE)
    batch = v1.ProposeStatesRequest()
    for request in itertools.islice(proposals, TOGETHER):
        batch.items.add(request=request)
    return [*alone, (PROPOSE_TOGETHER, batch)]


def main() -> None:
    """Answer the lines of standard input."""
    # What each child would otherwise load and compile anew.
    with tempfile.TemporaryDirectory() as folder:
        EmbeddedClient(f"{folder}/journal.db", timers=False).close()
    for line in sys.stdin:
        print(json.dumps(_in_child(json.loads(line))), flush=True)


def _in_child(order: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_end(order, writing)
    os.close(writing)
    with open(reading, encoding="ascii") as lines:
        said = [line.split() for line in lines]
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"the child ended with status {status}"
    return {
        "killed": os.WIFSIGNALED(status),
        "answers": [words[1] for words in said if words[0] == "answer"],
        "statements": sum(int(words[1]) for words in said if words[0] == "statements"),
        "log_bytes": sum(int(words[1]) for words in said if words[0] == "log_bytes"),
    }


def _work_and_end(order: dict[str, Any], writing: int) -> None:
    """The child's life. It never returns."""
    began = 0
    deadly = order.get("statement", 0)

    def statement(*_: object) -> None:
        nonlocal began
        began += 1
        if began == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def say(word: str, value: object) -> None:
        os.write(writing, f"{word} {value}\n".encode("ascii"))

    try:
        _watch(statement)
        if "file_bytes" in order:
            # Python ignores the signal of a file over its limit; by default it ends the process inside the write.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_bytes"], resource.RLIM_INFINITY))
        client = EmbeddedClient(order["database"], timers=False)
        for method, request in commands(order["seed"]):
            say("answer", client.unary(method, request).SerializeToString(deterministic=True).hex())
        log = order["database"] + "-wal"
        say("log_bytes", os.path.getsize(log) if os.path.exists(log) else 0)
        client.close()
        say("statements", began)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _watch(statement: Callable[..., None]) -> None:
    """Have `statement` called before each SQL statement of this process: on SQLite of all connections, on PostgreSQL of
    the writer's.
    """
    connect_sqlite, connect_postgres = SqliteDatabase._connect, PostgresDatabase.connect_writer

    class Watched(psycopg.Cursor[Any]):
        def execute(self, *arguments: Any, **options: Any) -> Any:
            statement()
            return super().execute(*arguments, **options)

        def executemany(self, *arguments: Any, **options: Any) -> Any:
            statement()
            return super().executemany(*arguments, **options)

    def watched_sqlite(database: SqliteDatabase) -> sqlite3.Connection:
        connection = connect_sqlite(database)
        connection.set_trace_callback(statement)
        return connection

    def watched_postgres(database: PostgresDatabase) -> Any:
        connection = connect_postgres(database)
        connection.cursor_factory = Watched
        return connection

    SqliteDatabase._connect = watched_sqlite  # type: ignore[assignment, method-assign] # of this process only
    PostgresDatabase.connect_writer = watched_postgres  # type: ignore[assignment, method-assign] # as above


if __name__ == "__main__":
    main()
