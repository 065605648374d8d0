"""Leases: while a flow run, or a task run outside of flow runs, is executed here, its lease is renewed.

The answer to a renewal tells of a cancellation, and of a lease that others have taken: then a flow run is to stop. A
task has no point at which it could be stopped: its report is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration

from playhead import settings, v1
from playhead.client.interface import RENEW_LEASE, Client
from playhead.engine.execution.calls import TaskCall
from playhead.engine.execution.progress import FlowProgress
from playhead.engine.signals import Abort
from playhead.exceptions import NotFound
from playhead.light_futures import LightFuture
from playhead.timer import Alarm, call_later

logger = logging.getLogger("playhead.engine")


class LeaseKeeper:
    """Renews one run's lease until it is released. `progress` is told when the flow run is to stop.

    Runs shorter than the first renewal cost nothing but an alarm.
    """

    def __init__(
        self,
        client: Client,
        request: v1.RenewLeaseRequest,
        progress: FlowProgress | None,
        later: Callable[[float, Callable[[], None]], Alarm] = call_later,
    ) -> None:
        self._client = client
        self._request = request
        self._interval_s = settings.lease_renewal_s()
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

    def _renewed(self, answer: LightFuture[v1.RenewLeaseResponse]) -> None:
        if self._released:
            return
        error = answer.exception()
        if isinstance(error, NotFound):
            logger.warning("A run was given up while it was executed here: %s", error)
            self._stop("The lease of the flow run is gone: another process may work on it.")
            return
        if error is not None:
            logger.warning("The lease of a run could not be renewed, which is tried again: %s", error)
        elif answer.result().state.type == v1.CANCELLING:
            self._stop("The flow run is to be cancelled.")
        self._alarm = self._later(self._interval_s, self._renew)

    def _stop(self, reason: str) -> None:
        if self._progress is not None:
            self._progress.halt(Abort(reason))


def lease_ttl() -> Duration:
    """How long a lease is asked for. Raises ValueError when the settings of leases make no sense."""
    settings.lease_renewal_s()
    duration = Duration()
    duration.FromMilliseconds(round(settings.lease_ttl_s() * 1_000))
    return duration


def request_under_lease(call: TaskCall, state: v1.State | None = None, force: bool = False) -> v1.ProposeStateRequest:
    """A proposal under the lease of the call; a run outside of flow runs takes one of its own to run."""
    request = v1.ProposeStateRequest(
        task_run_id=call.task_run.run_id, state=state, force=force, lease_token=call.lease_token
    )
    if call.flow is None and request.state.type == v1.RUNNING:
        request.lease_ttl.CopyFrom(lease_ttl())
    return request


def keeper_of(call: TaskCall, response: v1.ProposeStateResponse) -> LeaseKeeper | None:
    """What renews the lease of a run that has one of its own."""
    if call.flow is not None:
        return None
    call.lease_token = response.lease_token
    renewal = v1.RenewLeaseRequest(task_run_id=call.task_run.run_id, lease_token=call.lease_token)
    return LeaseKeeper(call.client, renewal, None)
