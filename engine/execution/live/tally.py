"""Tallies: how many calls of each task of a flow run are at which stage.

The loops move marks, in any thread; whoever draws reads. A call is at one stage at a time, so the counts of a row
always add up to the calls that were made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from playhead.engine.signals import Abort, Pause
from playhead.runs import FlowRun
from playhead.state import State, StateType

SUBFLOWS_MAX = 8
"""Subflow runs that have ended and are still shown as branches; older ones are only counted."""

ROWS_MAX = 1_000
"""Tasks of one flow run that have a row of their own; calls of further ones are counted in the last."""

RATE_WINDOW_S = 5.0


class Stage(Enum):
    """How far a call is. The order is that in which stages are shown."""

    DONE = "done"
    CACHED = "cached"
    RUNNING = "running"
    RETRYING = "to be retried"
    WAITING = "waiting"
    FAILED = "failed"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    NOT_READY = "not ready"
    PAUSED = "paused"


UNFINISHED = frozenset({Stage.WAITING, Stage.RUNNING, Stage.RETRYING})

_ENDS = {
    StateType.COMPLETED: Stage.DONE,
    StateType.FAILED: Stage.FAILED,
    StateType.CRASHED: Stage.CRASHED,
    StateType.CANCELLED: Stage.CANCELLED,
    StateType.PENDING: Stage.NOT_READY,
    StateType.PAUSED: Stage.PAUSED,
    StateType.SCHEDULED: Stage.PAUSED,
}


class Row:
    """One task's calls, by stage."""

    def __init__(self, name: str, kind: str = "") -> None:
        self.name = name
        self.kind = kind
        self.counts = dict.fromkeys(Stage, 0)
        self._samples: list[tuple[float, int]] = []

    @property
    def total(self) -> int:
        """All calls that were made."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """Those that are over."""
        return self.total - sum(self.counts[stage] for stage in UNFINISHED)

    def rate(self, now: float) -> float:
        """Calls that ended per second, over the last RATE_WINDOW_S of those for which this was asked: each frame."""
        self._samples.append((now, self.ended))
        while len(self._samples) > 1 and self._samples[1][0] <= now - RATE_WINDOW_S:
            del self._samples[0]
        (then, before), (_, ended) = self._samples[0], self._samples[-1]
        return (ended - before) / (now - then) if now > then else 0.0


class Mark:
    """Where one call is."""

    __slots__ = ("_lock", "_row", "_stage")

    def __init__(self, row: Row, lock: threading.Lock) -> None:
        self._row = row
        self._lock = lock
        self._stage = Stage.WAITING
        with lock:
            row.counts[Stage.WAITING] += 1

    def move(self, stage: Stage) -> None:
        """The call is at another stage now."""
        with self._lock:
            self._row.counts[self._stage] -= 1
            self._row.counts[stage] += 1
            self._stage = stage

    def end(self, state: State[Any]) -> None:
        """The call has ended in this state."""
        self.move(stage_of(state))

    def stop(self, error: BaseException) -> None:
        """The call has ended with this, without a state."""
        stopped = isinstance(error, (Abort, GeneratorExit))
        self.move(Stage.CANCELLED if stopped else Stage.PAUSED if isinstance(error, Pause) else Stage.CRASHED)


class FlowTally:
    """One flow run: the rows of its tasks, and the subflow runs in it."""

    def __init__(
        self, flow_name: str, run: FlowRun, parent: FlowTally | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.flow_name = flow_name
        self.run = run
        self.parent = parent
        self.clock = clock
        self.began = clock()
        self.ended: float | None = None
        self.rows: dict[str, Row] = {}
        self.subflows: list[FlowTally] = []
        self._lock = threading.Lock()

    def called(self, task_key: str, task_name: str) -> Mark:
        """A task is called."""
        return Mark(self._row(task_key, task_name), self._lock)

    def begin(self, flow_name: str, run: FlowRun) -> FlowTally:
        """A subflow begins."""
        subflow = FlowTally(flow_name, run, self, self.clock)
        with self._lock:
            self.subflows.append(subflow)
        return subflow

    def begin_again(self) -> None:
        """The flow runs once more: its calls are made again."""
        with self._lock:
            self.rows, self.subflows = {}, []

    def end(self) -> None:
        """The run is over."""
        self.ended = self.clock()
        if self.parent is not None:
            self.parent._fold_ended()

    def snapshot(self) -> tuple[list[Row], list[FlowTally]]:
        """Rows and branches as they are now, in the order of the first calls."""
        with self._lock:
            return list(self.rows.values()), list(self.subflows)

    def _row(self, key: str, name: str, kind: str = "") -> Row:
        row = self.rows.get(key)
        if row is None:
            with self._lock:
                full = len(self.rows) >= ROWS_MAX
                key, name, kind = ("", "other tasks", "") if full else (key, name, kind)
                row = self.rows.setdefault(key, Row(name, kind))
        return row

    def _fold_ended(self) -> None:
        """Count the oldest ended subflows instead of showing them, where they are many."""
        with self._lock:
            over = [each for each in self.subflows if each.ended is not None][:-SUBFLOWS_MAX]
            for each in over:
                self.subflows.remove(each)
        for each in over:
            key = f"flow:{each.flow_name}"
            Mark(self._row(key, each.flow_name, "flow"), self._lock).end(each.run.state)


def stage_of(state: State[Any]) -> Stage:
    """The stage of a call that ended in this state."""
    if state.name == "Cached":
        return Stage.CACHED
    return _ENDS.get(state.type, Stage.CANCELLED)
