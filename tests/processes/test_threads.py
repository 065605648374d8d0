"""One embedded client in many threads, closed while requests wait, and in a process that forks."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from playhead.client.embedded import EmbeddedClient
from playhead.engine.orchestration.timers import TIMERS
from playhead.exceptions import QueueFull, ShuttingDown
from playhead.journal.errors import JournalUnavailable
from tests.processes.checking import check_journal
from tests.processes.killing import first
from tests.processes.load import Asked, Load

THREADS = 8
COMMANDS = 60
ENOUGH = 400


def test_eight_threads_share_one_client(store: str) -> None:
    with closing(EmbeddedClient(store)) as client, ThreadPoolExecutor(THREADS) as threads:
        start = threading.Barrier(THREADS)

        def work(seed: int) -> list[bytes]:
            start.wait()
            return [encoded(client.unary(*asked)) for asked in first(Load(seed), COMMANDS)]

        answers = list(threads.map(work, range(THREADS)))
        assert list(threads.map(work, range(THREADS))) == answers
    assert count(check_journal(store)) == sum(map(len, answers))


def test_closing_answers_everybody_who_waits(store: str) -> None:
    client = EmbeddedClient(store)
    submitted: list[tuple[Asked, Future[Any]]] = []
    enough = threading.Event()

    def work(seed: int) -> None:
        load = Load(seed)
        for asked in itertools.chain(load.opening(), load.commands()):
            future = client.submit(*asked)
            if future.done() and isinstance(future.exception(), ShuttingDown):
                break
            if future.done() and isinstance(future.exception(), QueueFull):
                submitted[-1][1].exception()  # which waits
            submitted.append((asked, future))
            if len(submitted) >= ENOUGH:
                enough.set()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    enough.wait()
    client.close()
    for thread in threads:
        thread.join()
    assert all(future.done() for _, future in submitted)
    answered = {asked[1].request_id.replace("-", "") for asked, future in submitted if future.exception() is None}
    recorded = {record.request_id.hex() for record in check_journal(store) if record.request_id}
    assert recorded == answered


def test_a_client_closed_twice_refuses_commands(store: str) -> None:
    client = EmbeddedClient(store)
    client.close()
    client.close()
    method, request = Load(1).opening()[0]
    with pytest.raises(ShuttingDown):
        client.unary(method, request)


def encoded(answer: Any) -> bytes:
    """The bytes of an answer."""
    return bytes(answer.SerializeToString(deterministic=True))


def count(records: list[Any]) -> int:
    """Requests of clients that were recorded; timers ask for things of their own."""
    return len({record.request_id for record in records if record.request_id and record.actor != TIMERS.actor})


def test_a_forked_process_opens_postgresql_anew(postgres_store: str) -> None:
    with closing(EmbeddedClient(postgres_store)) as client:
        do(client, seed=1)
        assert in_child(lambda: do(client, seed=2)) == 0
        do(client, seed=3)
    assert count(check_journal(postgres_store)) == 3 * len(Load(1).opening())


def test_a_forked_process_is_refused_the_sqlite_file_of_its_parent(sqlite_store: str) -> None:
    """Had it opened the file, the parent's closing of it would have lost what the child was told is durable."""

    def both_refused() -> None:
        with pytest.raises(JournalUnavailable, match="spawn"):
            do(client, seed=2)
        with pytest.raises(JournalUnavailable, match="spawn"):
            EmbeddedClient(sqlite_store)
        client.close()

    with closing(EmbeddedClient(sqlite_store)) as client:
        do(client, seed=1)
        assert in_child(both_refused) == 0
        do(client, seed=3)
    assert in_child(lambda: do(EmbeddedClient(sqlite_store), seed=4)) == 0
    assert count(check_journal(sqlite_store)) == 3 * len(Load(1).opening())


def do(client: EmbeddedClient, seed: int) -> None:
    """Have something recorded."""
    for asked in Load(seed).opening():
        client.unary(*asked)


def in_child(work: Callable[[], None]) -> int:
    """Do something in a forked process; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
