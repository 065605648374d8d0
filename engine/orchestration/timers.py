"""Time passes by itself: what falls due is found here and proposed like anything else.

Every process that has the journal open looks, and a rule decides, so it does not matter how many of them propose the
same. The request id follows from what fell due, so all of them make the same request, which is decided once.
"""

from __future__ import annotations

import logging
import threading

from playhead import v1
from playhead.engine.orchestration import sql
from playhead.engine.orchestration.service import OrchestrationService
from playhead.exceptions import PlayheadError
from playhead.journal.encoding import id_from, text_of
from playhead.journal.journal import Journal
from playhead.journal.record import Caller

INTERVAL_S = 1.0
BATCH_MAX = 100
TIMERS = Caller("playhead/timers")

logger = logging.getLogger("playhead.engine.orchestration")


class Timers:
    """The loop that looks for what is due. `tick` is one look; `start` looks every `interval_s` until `stop`."""

    def __init__(self, journal: Journal, orchestration: OrchestrationService, interval_s: float = INTERVAL_S) -> None:
        self._journal = journal
        self._orchestration = orchestration
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look now and then, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="playhead-timers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread once the look it is in is done. Safe to call twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def tick(self) -> int:
        """Give up runs whose lease has lapsed, a bounded number at a time; how many were proposed.

        CRASHED is proposed, and CANCELLED for a run that was being cancelled: nothing else may follow CANCELLING.
        """
        with self._journal.database.reading() as connection:
            statement = self._journal.database.statement(sql.SELECT_LAPSED)
            rows = connection.exec_driver_sql(statement, (self._journal.clock(), BATCH_MAX)).fetchall()
        futures = [
            self._orchestration.propose_state(_lapsed(bytes(run_id), token, expires_at, state_type), TIMERS)
            for run_id, token, expires_at, state_type in rows
        ]
        for future in futures:
            future.result()
        return len(futures)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self.tick()
            except PlayheadError as error:
                if not self._stop.is_set():
                    logger.warning("What is due could not be proposed, trying again: %s", error)


def _lapsed(run_id: bytes, token: int, expires_at: int, state_type: int) -> v1.ProposeStateRequest:
    to_type = v1.CANCELLED if state_type == v1.CANCELLING else v1.CRASHED
    numbers = (number.to_bytes(8, "big") for number in (token, expires_at, to_type))
    return v1.ProposeStateRequest(
        request_id=text_of(id_from(b"lease lapsed", run_id, *numbers)),
        flow_run_id=text_of(run_id),
        state=v1.State(
            type=to_type,
            message="The process that ran it stopped renewing its lease: it died, or was cut off for too long.",
        ),
        lease_token=token,
        if_lease_expired=True,
    )
