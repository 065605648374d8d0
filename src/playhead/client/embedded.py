"""The client that is the service: the same service objects as the server's, called in this process, on a database of
its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from functools import partial
from typing import Any, cast

from playhead.client.identity import this_process, this_software, this_trace
from playhead.client.interface import Command, Request, Response, Streaming, Unary
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.exceptions import DeadlinePassed
from playhead.journal.record import Caller
from playhead.replay.service import ReplayService


class EmbeddedClient:
    """A `Client` on a database: a path, `sqlite:///path` or `postgresql://…`. Raises the errors of
    `playhead.journal.errors`.

    In a forked process it opens its database anew on its first call, which PostgreSQL allows. A SQLite file that was
    open at the fork can not be used there, and JournalUnavailable says so: start worker processes with "spawn".
    """

    def __init__(self, database: str, **options: Any) -> None:
        self._open = partial(Orchestrator.open, database, **options)
        self._connect()

    def _connect(self) -> None:
        self._pid = os.getpid()
        self.orchestrator = self._open()
        self._caller = Caller(this_process(), this_software())
        self._services = {
            "Runs": self.orchestrator.runs,
            "Journal": self.orchestrator.events,
            "Inputs": self.orchestrator.inputs,
            "Logs": self.orchestrator.logs,
            "Audit": self.orchestrator.audit,
            "Replay": ReplayService(self.orchestrator.journal, self.orchestrator.runs),
        }

    def unary(self, method: Unary[Request, Response], request: Request, *, timeout_s: float | None = None) -> Response:
        """Call and wait for the answer. Raises DeadlinePassed after `timeout_s`; a command may still be recorded."""
        call = self._call(method)
        if not isinstance(method, Command):
            return cast(Response, call(request))
        if timeout_s is None:
            return cast(Response, getattr(self.orchestrator.calls, method.call)(request, self._asking()))
        try:
            return cast(Response, call(request, self._asking()).result(timeout_s))
        except FutureTimeout as error:
            raise DeadlinePassed(f"{method.name} was not answered within {timeout_s} s.") from error

    def submit(self, method: Unary[Request, Response], request: Request) -> Future[Response]:
        """Call without waiting. Reads are answered before this returns; errors are in the future."""
        future: Future[Response]
        try:
            if isinstance(method, Command):
                return cast("Future[Response]", self._call(method)(request, self._asking()))
            answer = self.unary(method, request)
        except Exception as error:
            # Handed to whoever asks the future.
            future = Future()
            future.set_exception(error)
            return future
        future = Future()
        future.set_result(answer)
        return future

    def stream(
        self, method: Streaming[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> Generator[Response, None, None]:
        """Call and iterate over the answers, for `timeout_s` at most where the stream follows what happens."""
        call = self._call(method)
        return cast("Generator[Response, None, None]", call(request) if timeout_s is None else call(request, timeout_s))

    def close(self) -> None:
        """Finish what waits and release the database. Safe to call twice."""
        if self._pid == os.getpid():
            self.orchestrator.close()

    def _asking(self) -> Caller:
        """Who asks, and the trace that the call is part of."""
        traceparent = this_trace()
        return replace(self._caller, traceparent=traceparent) if traceparent else self._caller

    def _call(self, method: Unary[Any, Any] | Streaming[Any, Any]) -> Callable[..., Any]:
        if self._pid != os.getpid():
            # What was inherited belongs to the parent: it is kept, so that nothing of it is closed here.
            self._inherited = self.orchestrator
            self._connect()
        commands = isinstance(method, Command)
        service = self.orchestrator.orchestration if commands else self._services[method.service]
        return cast("Callable[..., Any]", getattr(service, method.call))
