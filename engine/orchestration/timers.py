"""Time passes by itself: what falls due is found here and proposed like anything else.

| what                                                            | is proposed                                      |
|-----------------------------------------------------------------|--------------------------------------------------|
| a lease has lapsed                                              | CRASHED, or CANCELLED if it was being cancelled  |
| a flow run "Scheduled" did not start for `late_s`               | SCHEDULED "Late"                                 |
| a pause has timed out                                           | FAILED                                           |
| a flow run is CANCELLING for `cancelling_s`, and has no lease   | CANCELLED                                        |
| slots that were given to a waiting run were not claimed in time | the state it is in, which gives them up;         |
|                                                                 | SCHEDULED "Scheduled" for a flow run in line     |
| a flow run crashed or was cancelled                             | CRASHED or CANCELLED for its unfinished task runs |
| a flow run is cancelled, or to be                               | CANCELLING for its unfinished subflow runs       |
| a flow run crashed                                              | CRASHED for its subflow runs that have no lease  |

Every process that has the journal open looks, and a rule decides, so it does not matter how many of them propose the
same. The request id follows from what fell due, so all of them make the same request, which is decided once; and a
request is for the version of the run that was seen, so an old look changes nothing. What a rule does not grant stays
due, and is asked again: see `asking`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from playhead import v1
from playhead.engine.orchestration import sql
from playhead.engine.orchestration.asking import TIMERS, Due, with_askings
from playhead.engine.orchestration.policy import Subject
from playhead.engine.orchestration.rules.slots import leave_line
from playhead.engine.orchestration.rules.stopping import left_by
from playhead.engine.orchestration.service import OrchestrationService
from playhead.engine.orchestration.stalls import Stalls
from playhead.exceptions import BadRequest, PlayheadError, VersionMismatch
from playhead.journal.encoding import SECOND_US, id_from, micros_of, text_of
from playhead.journal.jobs import Job
from playhead.journal.journal import Journal

INTERVAL_S = 1.0
LATE_S = 15.0
CANCELLING_S = 300.0

BATCH_MAX = 100
"""Runs that are looked at, and proposed for, at a time."""

TICK_PROPOSALS_MAX = 2_000
"""Proposals after which a look ends; the next one goes on."""

SWEEP_S = 60.0
"""How often all that is unfinished is looked through for flow runs that are not: what was made in them late."""

LONG_AGO = -(2**63)

LEFT_OVER = b"left over"
"""Why something is due that is looked for once, and then in sweeps."""

NOT_CLAIMED = "It did not go on in time with the slots that it was given."

logger = logging.getLogger("playhead.engine.orchestration")

Row = Sequence[Any]


class Timers:
    """The loop that looks for what is due. `tick` looks once; `start` looks every `interval_s`, and when woken, until
    `stop`.

    `jobs` makes the commands that `perform` performs in this thread, a batch in one transaction, by the policy of
    `policy_id`: what another one refused is asked again. `late_s`: seconds after its time from when on a flow run is
    late. `cancelling_s`: seconds after which a flow run that is CANCELLING, and that no process works on, is CANCELLED.
    `serves`: whether others renew their leases through this process, as those do that a server serves; then leases that
    lapsed before it began get time to be renewed.
    """

    def __init__(
        self,
        journal: Journal,
        jobs: OrchestrationService,
        perform: Callable[[Sequence[Job[Any]]], None],
        policy_id: str,
        *,
        interval_s: float = INTERVAL_S,
        late_s: float = LATE_S,
        cancelling_s: float = CANCELLING_S,
        serves: bool = False,
    ) -> None:
        self._journal = journal
        self._jobs = jobs
        self._perform = perform
        self._policy_id = policy_id
        self._interval_s = interval_s
        self._late_us = round(late_s * SECOND_US)
        self._cancelling_us = round(cancelling_s * SECOND_US)
        self._stalls = Stalls(round(interval_s * SECOND_US))
        if serves:
            self._stalls.starts(journal.clock())
        # Up to which revision flow runs that were stopped have been followed; None: not at all in this process.
        self._followed: int | None = None
        self._next_sweep_us = LONG_AGO
        # When the sweep after the one that is going on, or cut short, is due.
        self._following_sweep_us = LONG_AGO
        self._stop = threading.Event()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look now and then, in a thread of its own."""
        # From here on somebody looks: a stall before the first look is one too.
        self._stalls.begin(self._journal.clock())
        self._stalls.end()
        self._thread = threading.Thread(target=self._run, name="playhead-timers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread once the batch it is in is done. Safe to call twice."""
        self._stop.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """Let the thread look at once: a flow run was cancelled, and its subflow runs are to hear of it."""
        self._woken.set()

    def look(self) -> None:
        """One look of many that follow each other: a lease that could not be renewed between them is given time."""
        now = self._journal.clock()
        self._stalls.begin(now)
        self._tick(now)
        self._stalls.end()

    def tick(self) -> int:
        """Propose what is due, in batches, until nothing is or TICK_PROPOSALS_MAX are made; how many were made."""
        return self._tick(self._journal.clock())

    def decide(self) -> int:
        """Propose what is due now, and what becomes due by that, each once; how many were made."""
        # For one moment: whatever is answered after it is not to be asked again before it, so this comes to an end.
        now, proposed = self._journal.clock(), 0
        while more := self._tick(now):
            proposed += more
        return proposed

    def due(self) -> list[Due]:
        """What the first look of a process would find due, TICK_PROPOSALS_MAX at most, also what is not to be asked
        again yet; nothing is proposed.
        """
        # One that has looked takes up from there, and would pass over what was not proposed.
        pages = self.anew()._all(self._journal.clock())
        return list(islice(chain.from_iterable(map(self._with_askings, pages)), TICK_PROPOSALS_MAX))

    def anew(self) -> Timers:
        """Those of a process that begins: they look through everything."""
        return Timers(self._journal, self._jobs, self._perform, self._policy_id)

    def _tick(self, now: int) -> int:
        """A look for what was due at a moment: a stall since then is the next look's."""
        proposed = 0
        for dues in self._all(now):
            proposed += self._propose(dues, now)
            if proposed >= TICK_PROPOSALS_MAX or self._stop.is_set():
                break
        return proposed

    def _all(self, now: int) -> Iterator[list[Due]]:
        return chain(self._lapsed(now), self._due_flow_runs(now), self._due_task_runs(now), self._left(now))

    def _run(self) -> None:
        told = False
        while True:
            self._woken.wait(self._interval_s)
            self._woken.clear()
            if self._stop.is_set():
                return
            try:
                self.look()
                told = False
            except PlayheadError as error:
                if not (told or self._stop.is_set()):
                    logger.warning("What is due could not be proposed, which is tried again: %s", error)
                told = True

    def _propose(self, dues: list[Due], now: int) -> int:
        asked, jobs = [], []
        for due in self._with_askings(dues):
            if due.asked is not None and due.asked.again_at > now:
                self._find_again(due, due.asked.again_at)
            else:
                asked.append(due)
                jobs.append(self._jobs.propose_state(due.request, TIMERS))
        self._perform(jobs)
        for due, job in zip(asked, jobs, strict=True):
            try:
                answer: v1.ProposeStateResponse = job.result()
                if answer.decision == v1.WAIT:
                    self._find_again(due, now + micros_of(answer.delay))
            except VersionMismatch:
                # The run has changed since it was looked at. The next look sees what it is now, whatever it is due for.
                self._sweep_by(LONG_AGO)
            except BadRequest:
                # What is wrong with one proposal must not keep the others from being made.
                logger.exception("What is due about run %s can not be proposed: %s", due.run_id, due.why)
        return len(asked)

    def _with_askings(self, dues: list[Due]) -> list[Due]:
        return with_askings(self._journal.database, dues, self._policy_id)

    def _find_again(self, due: Due, moment_us: int) -> None:
        """See to it that what was not granted is found when it is to be asked again."""
        if due.why == LEFT_OVER.decode():
            self._sweep_by(moment_us)

    def _sweep_by(self, moment_us: int) -> None:
        """Look through all that is unfinished at this moment at the latest."""
        self._next_sweep_us = min(self._next_sweep_us, moment_us)
        self._following_sweep_us = min(self._following_sweep_us, moment_us)

    def _lapsed(self, now: int) -> Iterator[list[Due]]:
        for rows in self._pages(sql.SELECT_LAPSED, (now,), (LONG_AGO, b"")):
            found = [(lease, _status(status)) for *lease, status in rows]
            yield [
                _lapsed(expires_at, bytes(run_id), token, is_task_run, status)
                for (expires_at, run_id, token, is_task_run), status in found
                if not self._stalls.spare(micros_of(status.lease.ttl), now)
            ]

    def _due_flow_runs(self, now: int) -> Iterator[list[Due]]:
        key, late = (LONG_AGO, 0), (now - self._late_us, now - self._cancelling_us)
        for rows in self._pages(sql.SELECT_DUE_FLOW_RUNS, (now,), key, late):
            yield [_due(Subject.FLOW_RUN, bytes(run_id), _status(status), now) for _, _, run_id, status in rows]

    def _due_task_runs(self, now: int) -> Iterator[list[Due]]:
        for rows in self._pages(sql.SELECT_DUE_TASK_RUNS, (now,), (LONG_AGO, 0)):
            yield [_due(Subject.TASK_RUN, bytes(run_id), _status(status), now) for _, _, run_id, status in rows]

    def _left(self, now: int) -> Iterator[list[Due]]:
        """What flow runs that were stopped have left unfinished.

        How far they were followed is kept in memory only: a process that begins anew looks through all that is
        unfinished, and then, every SWEEP_S, for what others made in flow runs that had been followed already.
        """
        head = self._journal.head()[0]
        if now >= self._next_sweep_us:
            self._following_sweep_us = now + round(SWEEP_S * SECOND_US)
            for text in (sql.SELECT_STOPPED_WITH_UNFINISHED, sql.SELECT_STOPPED_WITH_UNFINISHED_SUBFLOWS):
                for rows in self._pages(text, (), (0,)):
                    yield from chain.from_iterable(self._left_by(*row) for row in rows)
            self._next_sweep_us = self._following_sweep_us
            self._followed = head if self._followed is None else self._followed
        assert self._followed is not None
        for rows in self._pages(sql.SELECT_STOPPED, (), (self._followed,)):
            yield from chain.from_iterable(self._left_by(*row) for row in rows)
            self._followed = rows[-1][0]
        self._followed = max(self._followed, head)

    def _left_by(self, since: int, flow_run_id: Any, state_type: int) -> Iterator[list[Due]]:
        """What one flow run, stopped at revision `since`, has left unfinished."""
        flow_run_id = bytes(flow_run_id)
        for rows in self._pages(sql.SELECT_SUBFLOW_RUNS, (flow_run_id,), (0,)):
            found = (_left_subflow_run(bytes(run_id), _status(status), since, state_type) for _, run_id, status in rows)
            yield [due for due in found if due is not None]
        if state_type != v1.CANCELLING:
            for rows in self._pages(sql.SELECT_TASK_RUNS, (flow_run_id,), (0,)):
                yield [_left_task_run(bytes(run_id), _status(status), since, state_type) for _, run_id, status in rows]

    def _pages(self, text: str, before: Row, key: Row, after: Row = ()) -> Iterator[list[Row]]:
        """Rows, a batch at a time; their first columns are the key after which the next batch begins."""
        while True:
            rows = self._journal.database.rows(text, (*before, *key, *after, BATCH_MAX))
            if rows:
                yield rows
            if len(rows) < BATCH_MAX:
                return
            key = rows[-1][: len(key)]


def _lapsed(expires_at: int, run_id: bytes, token: int, is_task_run: bool, status: v1.RunStatus) -> Due:
    """Give up a run whose lease has lapsed. Nothing but CANCELLED may follow CANCELLING."""
    subject = Subject.TASK_RUN if is_task_run else Subject.FLOW_RUN
    to_type = v1.CANCELLED if status.state.type == v1.CANCELLING else v1.CRASHED
    message = "The process that ran it stopped renewing its lease: it died, or was cut off for too long."
    state = v1.State(type=to_type, message=message)
    due = _found(subject, run_id, status, state, b"lease lapsed", token, expires_at)
    due.request.lease_token = token
    due.request.if_lease_expired = True
    return due


def _due(subject: Subject, run_id: bytes, status: v1.RunStatus, now: int) -> Due:
    """What is due about a run, as `projector.fold.due_at` says."""
    if any(held.HasField("claim_by") and micros_of(held.claim_by) <= now for held in status.slots):
        again = v1.State(type=v1.PENDING)
        if status.HasField("state"):
            again.CopyFrom(status.state)
        if micros_of(again.details.pause_timeout) <= now:
            # No pause can begin that is over. This one is a task run's, which no time ends but its flow run's.
            again.details.ClearField("pause_timeout")
        if subject is Subject.FLOW_RUN:
            leave_line(again, NOT_CLAIMED)
        else:
            again.message = NOT_CLAIMED
        due = _seen(subject, run_id, status, again, b"slots not claimed")
        # It is in this state already, and no rule should keep it from giving the slots up.
        due.request.force = True
        return due
    if status.state.type == v1.SCHEDULED:
        return _seen(subject, run_id, status, v1.State(type=v1.SCHEDULED, name="Late"), b"late")
    if status.state.type == v1.PAUSED:
        expired = v1.State(type=v1.FAILED, message="The flow run was paused and not resumed in time.")
        return _seen(subject, run_id, status, expired, b"pause expired")
    message = "The cancellation took too long, and no process works on the run."
    return _seen(subject, run_id, status, v1.State(type=v1.CANCELLED, message=message), b"never cancelled")


def _left_task_run(run_id: bytes, status: v1.RunStatus, since: int, parent: int) -> Due:
    """End a task run whose flow run has ended."""
    state = left_by(v1.StateType.ValueType(parent))
    assert state is not None, "only what flow runs that were stopped have left is looked at"
    return _seen(Subject.TASK_RUN, run_id, status, state, LEFT_OVER, since)


def _left_subflow_run(run_id: bytes, status: v1.RunStatus, since: int, parent: int) -> Due | None:
    """Cancel, or give up, a subflow run whose parent is cancelled or has crashed; None: it will end without us."""
    if status.state.type == v1.CANCELLING:
        return None
    if parent == v1.CRASHED:
        state = v1.State(type=v1.CRASHED, message="The flow run that called it has crashed.")
        return None if status.HasField("lease") else _seen(Subject.FLOW_RUN, run_id, status, state, LEFT_OVER, since)
    state = v1.State(type=v1.CANCELLING, message="The flow run that called it is cancelled.")
    return _seen(Subject.FLOW_RUN, run_id, status, state, LEFT_OVER, since)


def _seen(subject: Subject, run_id: bytes, status: v1.RunStatus, state: v1.State, why: bytes, *numbers: int) -> Due:
    """A proposal for a run as it was seen: of no effect if it has changed."""
    due = _found(subject, run_id, status, state, why, status.version, *numbers)
    due.request.expected_version = status.version
    return due


def _found(subject: Subject, run_id: bytes, status: v1.RunStatus, state: v1.State, why: bytes, *numbers: int) -> Due:
    """What is due, with a proposal whose request id follows from what it is about, and why."""
    cause = (number.to_bytes(8, "big", signed=True) for number in (*numbers, state.type))
    request = v1.ProposeStateRequest(request_id=text_of(id_from(why, run_id, *cause)), state=state)
    if subject is Subject.FLOW_RUN:
        request.flow_run_id = text_of(run_id)
    else:
        request.task_run_id = text_of(run_id)
    return Due(why.decode(), request, status.version)


def _status(payload: Any) -> v1.RunStatus:
    return v1.RunStatus.FromString(bytes(payload))
