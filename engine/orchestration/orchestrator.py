"""The composition root below the wire: a database opened as a working orchestrator."""

from __future__ import annotations

from google.rpc.status_pb2 import Status

from playhead.engine.orchestration.commands import AnyCommand
from playhead.engine.orchestration.handler import Orchestrating
from playhead.engine.orchestration.policy import Policy
from playhead.engine.orchestration.reader import Reader
from playhead.engine.orchestration.service import OrchestrationService, StatusOf
from playhead.engine.orchestration.timers import Timers
from playhead.exceptions import PlayheadError
from playhead.journal.jobs import Job
from playhead.journal.journal import Journal
from playhead.journal.writer import Writer


def plain_status(error: PlayheadError) -> Status:
    """An error of one item of a batch where there is no wire: its reason as the code."""
    return Status(code=error.reason, message=str(error))


class Orchestrator(Reader):
    """A journal, its views and the decisions about it, in this process.

    `orchestration` is the service that the `Reader` lacks; `calls` is the same for threads that wait, answering rather
    than promising; with `jobs`, commands are made first, then performed together by `perform`, or queued by `enqueue`.
    `timers=False` leaves it to others, or to `timers.tick()`, to find what falls due. `serves`: see `Timers`.
    """

    def __init__(
        self,
        journal: Journal,
        policy: Policy,
        *,
        status_of: StatusOf = plain_status,
        timers: bool = True,
        serves: bool = False,
    ) -> None:
        super().__init__(journal, policy)
        self._writer: Writer[AnyCommand] = Writer(
            journal.database, journal.id, Orchestrating(journal.id, policy), journal.hub, journal.clock
        )
        self.orchestration, self.calls, self.jobs = (
            OrchestrationService(perform, journal.clock, status_of, on_cancel=lambda: self.timers.wake())
            for perform in (self._writer.submit, self._writer.call, Job)
        )
        self.perform, self.enqueue = self._writer.perform, self._writer.enqueue
        self.timers = Timers(journal, self.jobs, self.perform, policy.id, serves=serves)
        if timers:
            self.timers.start()

    def drain(self) -> None:
        """Refuse further commands and finish those that wait. Reads go on until `close`."""
        self.timers.stop()
        self._writer.drain()

    def close(self) -> None:
        """Drain, end all streams, release the database. Safe to call twice."""
        self.drain()
        super().close()
