"""P10: any number of processes share a database, with no leader and no lost update."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import IO

from playhead.client.embedded import EmbeddedClient
from tests.processes.checking import check_journal
from tests.processes.contending import CHANGES, CLAIMED, SHARED, Found, begin
from tests.processes.killing import killed_under_load
from tests.processes.serving import ROOT, Server


def test_four_processes_append_to_one_database(store: str) -> None:
    meet(store, seed=41, addresses=[store] * 4)
    check_journal(store)


def test_three_servers_share_one_database(store: str) -> None:
    with ExitStack() as servers:
        addresses = [servers.enter_context(Server(store)).address for _ in range(3)]
        meet(store, seed=42, addresses=addresses)
    check_journal(store)


def test_servers_that_are_killed_leave_the_others_alone(store: str) -> None:
    with ThreadPoolExecutor(1) as thread:
        killed = thread.submit(killed_under_load, store, seed=43, kills=5)
        meet(store, seed=44, addresses=[store] * 2)
        assert killed.result().failures == []
    check_journal(store)


def meet(database: str, seed: int, addresses: list[str]) -> None:
    """Let a process at each address want the same things, and check that they got them as if one after the other."""
    with closing(EmbeddedClient(database)) as client:
        begin(client, seed)
    found, views = contend(addresses, seed)
    assert len(found[0].answers) == SHARED
    assert all(one.answers == found[0].answers for one in found), "a request has one answer"
    claims = [run_id for one in found for run_id in one.claims]
    assert len(claims) == len(set(claims)) == CLAIMED, "a run has one holder"
    versions = [version for one in found for version in one.versions]
    assert len(versions) == len(set(versions)) == CHANGES * len(addresses), "no update is lost"
    assert all(view == views[0] for view in views), "everybody sees the same"


def contend(addresses: list[str], seed: int) -> tuple[list[Found], list[list[str]]]:
    """Start all, let them go at once; what each found, and what each saw as of the end."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.processes.contend_main", address, str(seed), str(index)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for index, address in enumerate(addresses)
    ]
    try:
        said = [lines(process.stdout) for process in processes]
        assert all(next(line) == "ready\n" for line in said)
        tell(processes, "go")
        found = [Found(**json.loads(next(line))) for line in said]
        tell(processes, str(max(one.revision for one in found)))
        views = [json.loads(next(line)) for line in said]
        assert [process.wait() for process in processes] == [0] * len(processes)
        return found, views
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def lines(stream: IO[str] | None) -> Iterator[str]:
    """The lines that a process says."""
    assert stream is not None
    return iter(stream)


def tell(processes: list[subprocess.Popen[str]], line: str) -> None:
    """Say a line to all."""
    for process in processes:
        assert process.stdin is not None
        print(line, file=process.stdin, flush=True)
