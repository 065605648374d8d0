"""The display: which flow runs are shown, and when.

A flow run is shown once it has run for DELAY_S, so short ones are not. All that run at once share one screen. One that
ends leaves its tree in the text above; when none is left, so is the display.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from playhead import settings
from playhead.engine.execution.live.tally import FlowTally
from playhead.runs import FlowRun
from playhead.timer import Alarm, call_later

if TYPE_CHECKING:
    from playhead.engine.execution.live.screen import Screen

DELAY_S = 0.5
FRAME_S = 0.2
LINES_MAX = 20


def begin(flow_name: str, run: FlowRun, parent: FlowTally | None, is_subflow: bool) -> FlowTally | None:
    """The tally of a flow run that begins; None where nothing is shown.

    That is when stderr is no terminal that can move its cursor, or PLAYHEAD_PROGRESS says no.
    """
    if parent is not None:
        return parent.begin(flow_name, run)
    if is_subflow or not _is_watched():
        return None
    tally = ShownFlow(flow_name, run)
    tally.alarm = call_later(DELAY_S, lambda: _display.show(tally))
    return tally


class ShownFlow(FlowTally):
    """The tally of a flow run that is no subflow: its end takes it off the display."""

    alarm: Alarm | None = None

    def end(self) -> None:
        """The run is over."""
        super().end()
        if self.alarm is not None:
            self.alarm.cancel()
        _display.leave(self)


class Display:
    """The screen, and the thread that draws it while there are flow runs to show."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._roots: list[FlowTally] = []
        self._console: Any = None
        self._screen: Screen | None = None
        self._over = threading.Event()

    def show(self, root: FlowTally) -> None:
        """Show a flow run, unless it has ended."""
        with self._lock:
            if root.ended is not None:
                return
            self._roots.append(root)
            if self._screen is None:
                self._open()

    def leave(self, root: FlowTally) -> None:
        """Show a flow run no longer: print its tree as it is at the end."""
        with self._lock:
            if root not in self._roots:
                return
            self._roots.remove(root)
            assert self._screen is not None
            self._screen.print(self._console.file, f"{self._frame([root], LINES_MAX)}\n")
            if not self._roots:
                self._over.set()
                self._screen.close()
                self._screen = None

    def _open(self) -> None:
        from rich.console import Console

        from playhead.engine.execution.live.screen import Screen

        self._console = Console(file=sys.stderr)
        self._screen = Screen(sys.stderr)
        self._screen.open()
        self._over = threading.Event()
        threading.Thread(target=self._draw, args=(self._over,), name="playhead-display", daemon=True).start()

    def _draw(self, over: threading.Event) -> None:
        while not over.is_set():
            with self._lock:
                if self._screen is not None and not over.is_set():
                    self._screen.draw(self._frame(self._roots, min(LINES_MAX, max(self._console.height - 2, 1))))
            over.wait(FRAME_S)

    def _frame(self, roots: Iterable[FlowTally], lines_max: int) -> str:
        from playhead.engine.execution.live.tree import trees

        console = self._console
        with console.capture() as captured:
            for tree in trees(roots, lines_max):
                console.print(tree)
        return str(captured.get()).removesuffix("\n")


def _is_watched() -> bool:
    stream = sys.stderr
    if stream is None or not stream.isatty() or os.environ.get("TERM", "") in {"", "dumb", "unknown"}:
        return False
    return settings.flag("PLAYHEAD_PROGRESS", True)


_display = Display()
