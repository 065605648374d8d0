"""Server processes that a test can kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Literal

ROOT = Path(__file__).parents[2]

Whom = Literal["both", "edge", "writer"]


class Server:
    """A server process on a database; its log goes to `log`, if that is given. An unprivileged one is bound by file
    permissions, whoever starts it.
    """

    def __init__(self, database: str, *options: str, log: Path | None = None, unprivileged: bool = False) -> None:
        through = ["tests.processes.unprivileged"] if unprivileged else []
        command = [sys.executable, "-m", *through, "tests.processes.server_main", database, *options]
        with open(log or os.devnull, "ab") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, process_group=0
            )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise RuntimeError(f"the server ended before it was ready: exit code {self.process.wait()}")

    @property
    def target(self) -> str:
        """The address as gRPC takes it."""
        return self.address.removeprefix("grpc://")

    def kill(self, whom: Whom = "both") -> None:
        """End it as a power cut would: both of its processes, or one, which the other has to notice. Once."""
        if self.process.poll() is not None:
            return
        if whom == "both":
            os.killpg(self.process.pid, signal.SIGKILL)
        elif whom == "edge":
            self.process.kill()
        else:
            for writer in children_of(self.process.pid):
                os.kill(writer, signal.SIGKILL)

    def gone(self) -> None:
        """Wait until it has ended."""
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self) -> int:
        """Let it drain and end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.gone()
        return self.process.returncode

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self.gone()


def children_of(process: int) -> list[int]:
    """The processes that a process has started from its main thread; none when it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except FileNotFoundError:
        return []
