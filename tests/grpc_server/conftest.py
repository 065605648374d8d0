"""Real servers: one in a thread of the test's process, one in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from playhead.client.remote import RemoteClient
from playhead.grpc_server import serve

_PROGRAM = """
import sys
from playhead.grpc_server import run
port, database, uds = sys.argv[1:]
run("127.0.0.1", int(port), uds or None, database, on_ready=lambda address: print(address, flush=True))
"""


class ThreadedServer:
    """A server in an event loop of its own thread."""

    def __init__(self, database: str, uds: str | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self._ready: Future[str] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(host, port, uds, database)))
        self._thread.start()
        self.address = self._ready.result()

    async def _serve(self, host: str, port: int, uds: str | None, database: str) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            await serve(host, port, uds, database, self._ready.set_result, 10.0, self._stop)
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    def stop(self) -> None:
        """Tell it to end; returns at once."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def close(self) -> None:
        """End it and wait until it has."""
        if self._thread.is_alive():
            self.stop()
            self._thread.join()


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
def anyio_backend() -> str:
    """grpc.aio runs on asyncio alone."""
    return "asyncio"


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
