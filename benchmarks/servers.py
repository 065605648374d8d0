"""Server processes to measure: started on a free loopback port, stopped politely, their words kept in a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = str(Path(__file__).parents[1])
START_S_MAX = 30.0
STOP_S_MAX = 30.0
ADDRESS = re.compile(r"127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Server:
    """A server that answers at `address`, "127.0.0.1:port"."""

    address: str
    pid: int

    def memory_mb(self) -> float:
        """Resident memory now, of its processes together; what they share counts once."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(_memory_kb(pid) for pid in (str(self.pid), *children)) / 1024


@contextmanager
def playhead_server(folder: Path, *options: str) -> Iterator[Server]:
    """`playhead server start` on a new SQLite journal in `folder`."""
    playhead = Path(sys.executable).with_name("playhead")
    command = [str(playhead), "server", "start", "--port", "0", "--database", str(folder / "journal.db"), *options]
    with _running(command, folder / "server.log") as server:
        yield server


@contextmanager
def echo_server(folder: Path) -> Iterator[Server]:
    """The bare echo of `benchmarks.echo`."""
    with _running([sys.executable, "-m", "benchmarks.echo"], folder / "echo.log") as server:
        yield server


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[Server]:
    # Where `benchmarks.ten_rules` is found, also by the installed command.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            yield Server(_address(process, log), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


def _memory_kb(pid: str) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert kilobytes is not None, rollup
    return int(kilobytes[1])


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        if found := ADDRESS.search(log.read_text()):
            return found[0]
        time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()}")
