"""Real servers: one in a thread of the test's process, one in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from playhead.client.remote import RemoteClient
from playhead.grpc_server import serve

_PROGRAM = """
import sys
from playhead.grpc_server import run
port, database, uds = sys.argv[1:]
run("127.0.0.1", int(port), uds or None, database, on_ready=lambda address: print(address, flush=True))
"""


@cache
def serving_loop() -> asyncio.AbstractEventLoop:
    """An event loop that runs in a thread for as long as this process.

    All servers of a test process share it: grpc.aio has one completion queue for all loops, and would call into a loop
    that was closed after its test.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="serving", daemon=True).start()
    return loop


class ThreadedServer:
    """A server in this process."""

    def __init__(self, database: str, uds: str | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        ready: Future[Any] = Future()
        self._loop = serving_loop()
        self._stop = asyncio.Event()
        serving = serve(host, port, uds, database, ready.set_result, 10.0, self._stop)
        self._ended: Future[Any] = asyncio.run_coroutine_threadsafe(serving, self._loop)
        wait([ready, self._ended], return_when=FIRST_COMPLETED)
        if not ready.done():
            self._ended.result()
        self.address = ready.result()

    def stop(self) -> None:
        """Tell it to end; returns at once."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def close(self) -> None:
        """End it and wait until it has."""
        self.stop()
        self._ended.result()


class ServerProcess:
    """A server as users start it, which can be sent signals."""

    def __init__(self, database: Path, port: int = 0, uds: str = "") -> None:
        command = [sys.executable, "-c", _PROGRAM, str(port), str(database), uds]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, "the server ended before it was ready"

    @property
    def port(self) -> int:
        """The TCP port it got."""
        return int(self.address.rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait()

    def close(self) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadedServer]:
    """A server on a fresh journal and a free port."""
    running = ThreadedServer(str(tmp_path / "journal.db"))
    yield running
    running.close()


@pytest.fixture
def client(server: ThreadedServer) -> Iterator[RemoteClient]:
    """A client of `server`."""
    remote = RemoteClient(server.address, actor="ann@build-7")
    yield remote
    remote.close()


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server process on a fresh journal and a free port."""
    running = ServerProcess(tmp_path / "journal.db")
    yield running
    running.close()
