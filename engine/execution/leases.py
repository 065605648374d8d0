"""Leases: while a flow run is executed here, its lease is renewed, every third of its length.

The answer to a renewal tells of a cancellation, and of a lease that others have taken: then the run is to stop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future

from playhead import v1
from playhead.client.interface import RENEW_LEASE, Client
from playhead.engine.execution.progress import FlowProgress
from playhead.engine.execution.timer import Alarm, call_later
from playhead.engine.signals import Abort
from playhead.exceptions import NotFound

logger = logging.getLogger("playhead.engine")


class LeaseKeeper:
    """Renews one flow run's lease until it is released.

    Runs shorter than the first renewal cost nothing but an alarm.
    """

    def __init__(
        self,
        client: Client,
        flow_run_id: str,
        token: int,
        ttl_s: float,
        progress: FlowProgress,
        later: Callable[[float, Callable[[], None]], Alarm] = call_later,
    ) -> None:
        self._client = client
        self._request = v1.RenewLeaseRequest(flow_run_id=flow_run_id, lease_token=token)
        self._interval_s = ttl_s / 3
        self._progress = progress
        self._released = False
        self._later = later
        self._alarm = later(self._interval_s, self._renew)

    def release(self) -> None:
        """Renew no more."""
        self._released = True
        self._alarm.cancel()

    def _renew(self) -> None:
        if not self._released:
            self._client.submit(RENEW_LEASE, self._request).add_done_callback(self._renewed)

    def _renewed(self, answer: Future[v1.RenewLeaseResponse]) -> None:
        if self._released:
            return
        error = answer.exception()
        if isinstance(error, NotFound):
            self._progress.stop = Abort("The lease of the flow run is gone: another process may work on it.")
            return
        if error is not None:
            logger.warning("The lease of a flow run could not be renewed, which is tried again: %s", error)
        elif answer.result().state.type == v1.CANCELLING:
            self._progress.stop = Abort("The flow run is to be cancelled.")
        self._alarm = self._later(self._interval_s, self._renew)
