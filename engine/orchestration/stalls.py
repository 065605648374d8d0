"""When nobody could renew a lease here: while the process was stopped, its machine asleep or its database away.

A lease is renewed through a process that has the journal open, its holder's own or a server. A process that did not get
to look for what is due did not get to renew either, so it says nothing about who is alive: what it finds lapsed when it
is back may be held by somebody whose word still waits to be read. After a stall leases therefore get their whole length
to be renewed in, as those of etcd do when its leader has changed.
"""

from __future__ import annotations

from playhead.engine.orchestration.commands import LEASE_MAX_US, LEASE_MIN_US


class Stalls:
    """The stalls of one process, which looks every `interval_us`. Times are microseconds since the Unix epoch.

    A stall is one to a lease if it took half of the lease's length or more: a third of that length is what the SDK lets
    pass between renewals.
    """

    def __init__(self, interval_us: int) -> None:
        self._interval_us = interval_us
        self._began = 0
        self._looked: int | None = None
        # How long each took, and its end. None is longer than one before it: that one would say nothing more.
        self._stalls: list[tuple[int, int]] = []

    def starts(self, now: int) -> None:
        """The process begins now, and others will renew their leases through it: what was before is a stall."""
        self._stalls = [(LEASE_MAX_US, now)]

    def begin(self, now: int) -> None:
        """A look begins."""
        self._began = now
        self._stalls = [(length, end) for length, end in self._stalls if now < end + 2 * length]
        length = 0 if self._looked is None else now - self._looked - self._interval_us
        if 2 * length >= LEASE_MIN_US:
            self._stalls = [*((longer, end) for longer, end in self._stalls if longer > length), (length, now)]

    def end(self) -> None:
        """The look that began has come to its end."""
        self._looked = self._began

    def spare(self, ttl_us: int, now: int) -> bool:
        """Whether a lease of this length that has lapsed is to be given time, since it could not be renewed for long
        enough.
        """
        return any(2 * length >= ttl_us and now < end + ttl_us for length, end in self._stalls)
