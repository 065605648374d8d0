"""The client that is the service: the same service objects as the server's, called in this process, on a database of
its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from functools import partial
from typing import Any, cast

from playhead.client.identity import this_process, this_software, this_trace
from playhead.client.interface import Command, Request, Response, Streaming, Unary
from playhead.client.repeating import TIMEOUT_S, Repeating
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.exceptions import DeadlinePassed
from playhead.journal.record import Caller
from playhead.light_futures import LightFuture
from playhead.replay.service import ReplayService


class EmbeddedClient:
    """A `Client` on a database: a path, `sqlite:///path` or `postgresql://…`. Raises the errors of
    `playhead.journal.errors`.

    A request is sent again while the database is away, as `playhead.client.repeating` says, for `timeout_s` at most. To
    open a database that is away fails at once.

    In a forked process it opens its database anew on its first call, which PostgreSQL allows. A SQLite file that was
    open at the fork can not be used there, and JournalUnavailable says so: start worker processes with "spawn".
    """

    def __init__(self, database: str, *, timeout_s: float = TIMEOUT_S, **options: Any) -> None:
        self._repeating = Repeating(timeout_s)
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
            return self._repeating.call(lambda _: cast(Response, call(request)), timeout_s)
        caller = self._asking()
        if timeout_s is None:
            in_place = getattr(self.orchestrator.calls, method.call)
            return self._repeating.call(lambda _: cast(Response, in_place(request, caller)))

        def within(left_s: float) -> Response:
            try:
                return cast(Response, call(request, caller).result(left_s))
            except FutureTimeout as error:
                raise DeadlinePassed(f"{method.name} was not answered within {timeout_s} s.") from error

        return self._repeating.call(within, timeout_s)

    def submit(
        self, method: Unary[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> LightFuture[Response]:
        """Call without waiting, and send again for `timeout_s`. Reads are answered before this returns; errors are in
        the future.
        """
        try:
            call = self._call(method)
        except Exception as error:  # handed to whoever asks the future
            return _failed(error)
        if isinstance(method, Command):
            caller = self._asking()
            make = getattr(self.orchestrator.jobs, method.call)

            def ask(_: float, answer: LightFuture[Response]) -> None:
                job = make(request, caller)
                job.future = answer
                self.orchestrator.enqueue(job)

            return self._repeating.submit(ask, timeout_s)
        return self._repeating.submit(lambda _, answer: answer.set_result(call(request)), timeout_s)

    def stream(
        self, method: Streaming[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> Generator[Response, None, None]:
        """Call and iterate over the answers, for `timeout_s` at most where the stream follows what happens."""
        call = self._call(method)

        def once(left_s: float | None) -> Generator[Response, None, None]:
            yield from call(request) if left_s is None else call(request, left_s)

        return self._repeating.stream(once, timeout_s)

    def close(self) -> None:
        """Finish what waits and release the database. Safe to call twice."""
        if self._pid == os.getpid():
            self._repeating.closed = True
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


def _failed(error: Exception) -> LightFuture[Any]:
    future: LightFuture[Any] = LightFuture()
    future.set_exception(error)
    return future
