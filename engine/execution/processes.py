"""Worker processes: each answers one call after the other, over a pipe.

A worker is a fresh interpreter that has this one's import path, and none of its memory: no connection, lock or thread
is inherited, and the script that the flow is in is not run again. It ends when its pipe does, so it does not outlive
the process that started it; one that works on a call then is gone at once, for nobody would hear the answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from playhead.engine.execution.effects import CalledOff, WorkerLost

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_BEGIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from playhead.engine.execution.processes import serve; serve(int(sys.argv.pop()))"
)
END_S = 10.0
"""How long a worker may take to end once its pipe has: it sends the last log records."""


class Processes:
    """Starts workers as they are needed, and keeps those that have answered for the next calls.

    There are as many as there are calls at once, which its users bound.
    """

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._lock = threading.Lock()
        self._called_off = False

    def call(self, data: bytes) -> bytes:
        """The answer of a worker. Raises `WorkerLost` when it ended without one, `CalledOff` after `call_off()`."""
        worker = self._take()
        try:
            answer = worker.call(data)
        except (EOFError, OSError):
            how = worker.end(END_S)
            if self._called_off:
                raise CalledOff from None
            raise WorkerLost(f"The process that ran the task {how} before it answered.") from None
        finally:
            with self._lock:
                self._busy.discard(worker)
        with self._lock:
            self._idle.append(worker)
        return answer

    def call_off(self) -> None:
        """End all workers, whatever they do, and start no more."""
        with self._lock:
            self._called_off = True
            for worker in (*self._busy, *self._idle):
                worker.kill()

    def close(self) -> None:
        """Let the workers end, which have nothing left to do."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()
        for worker in idle:
            worker.end(END_S)

    def _take(self) -> _Worker:
        with self._lock:
            if self._called_off:
                raise CalledOff
            while self._idle:
                worker = self._idle.pop()
                if worker.lives():
                    break
            else:
                worker = _Worker()
            self._busy.add(worker)
        return worker


class _Worker:
    """A process, from the outside."""

    def __init__(self) -> None:
        from multiprocessing import Pipe

        self._pipe, theirs = Pipe()
        fd = theirs.fileno()
        places = [place for place in sys.path if isinstance(place, str)]
        command = [sys.executable, "-c", _BEGIN, str(fd), json.dumps(places)]
        with theirs:
            # In a process group of its own: what is typed at the terminal is for the flow's process.
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(fd,), process_group=0)

    def call(self, data: bytes) -> bytes:
        """Raises EOFError and OSError when the process has ended."""
        self._pipe.send_bytes(data)
        return self._pipe.recv_bytes()

    def lives(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._pipe.close()

    def kill(self) -> None:
        self._process.kill()

    def end(self, seconds: float) -> str:
        """Wait for the end of the process, for which it has so many seconds, and say what it was."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def serve(fd: int) -> None:
    """The life of a worker, in its process: answer calls from the pipe, in the main thread, until there are no more."""
    from multiprocessing.connection import Connection
    from queue import SimpleQueue

    from playhead.engine.execution.remote_calls import answer

    pipe = Connection(fd)
    calls: SimpleQueue[bytes | None] = SimpleQueue()
    works = threading.Event()

    def listen() -> None:
        while (data := _next(pipe)) is not None:
            works.set()
            calls.put(data)
        if works.is_set():
            os._exit(1)
        calls.put(None)

    threading.Thread(target=listen, name="playhead-calls", daemon=True).start()
    while (data := calls.get()) is not None:
        reply = answer(data)
        works.clear()
        try:
            pipe.send_bytes(reply)
        except OSError:  # nobody is there to hear it, or anything of it
            return


def _next(pipe: Connection) -> bytes | None:
    """What comes over a pipe; None when it has ended."""
    try:
        return pipe.recv_bytes()
    except (EOFError, OSError):
        return None
