"""The lower end of a terminal: a frame of some lines that is drawn again and again, while text appears above it.

Whatever is printed goes to the terminal as it is, byte for byte: the frame is erased before and drawn again after it.
The cursor stays where the text ends, above the frame, in the middle of a line too. So what others write past this
program, a process that it has started or forked, is where it should be, and the next frame is drawn below it. While
`input()` asks, there is no frame, since the person at the keyboard moves the cursor.
"""

from __future__ import annotations

import builtins
import logging
import os
import sys
import threading
from typing import Any, TextIO

_ERASE_TO_END = "\x1b[K"
_ERASE_BELOW = "\x1b[J"
_DOWN = "\x1bD"
_SAVE_CURSOR = "\x1b7"
_RESTORE_CURSOR = "\x1b8"


class Screen:
    """The terminal that stderr is. `open` takes stdout and stderr over as far as they are this terminal."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._frame = ""
        self._is_drawn = False
        self._held = 0
        self._input = builtins.input
        self._taken: dict[str, Any] = {}

    def open(self) -> None:
        """Take over stdout and stderr, the log handlers that write to them, and `input`."""
        self._input, builtins.input = builtins.input, self._ask
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if _is_same_terminal(stream, self._terminal):
                printed = PrintedAbove(stream, self)
                self._taken[name] = printed
                setattr(sys, name, printed)
                _exchange(stream, printed)

    def close(self) -> None:
        """Erase the frame and give all back, unless somebody else has taken it meanwhile."""
        self.draw("")
        if builtins.input == self._ask:
            builtins.input = self._input
        for name, printed in self._taken.items():
            if getattr(sys, name) is printed:
                setattr(sys, name, printed.stream)
            _exchange(printed, printed.stream)
        self._taken.clear()

    def draw(self, frame: str) -> None:
        """Put a frame, lines with line ends between, in the place of the one before."""
        with self._lock:
            if frame != self._frame or not self._is_drawn:
                before, self._frame = self._frame if self._is_drawn else "", frame
                self._is_drawn = bool(frame) and not self._held
                if self._is_drawn or before:
                    self._terminal.write(self._below_cursor(before))
                    self._terminal.flush()

    def print(self, stream: TextIO, text: str) -> None:
        """Print a text above the frame."""
        if os.getpid() != self._process:
            stream.write(text)
            return
        with self._lock:
            self._put(stream, text)

    def _put(self, stream: TextIO, text: str) -> None:
        erase = _ERASE_BELOW if self._is_drawn else ""
        self._is_drawn = bool(self._frame) and not self._held
        if erase or text or self._is_drawn:
            stream.write(f"{erase}{text}{self._below_cursor() if self._is_drawn else ''}")
            stream.flush()

    def _below_cursor(self, before: str = "") -> str:
        """What draws the frame in the lines below the cursor's, over the one before, and leaves the cursor where it is.

        Each line is erased by itself: some terminals keep what is erased as a whole in what can be scrolled back to.
        """
        lines = self._frame.split("\n")
        lines += [""] * (before.count("\n") + 1 - len(lines))
        room = f"{_DOWN * len(lines)}\x1b[{len(lines)}A"  # the terminal scrolls where there are too few
        drawn = "".join(f"\n{line}{_ERASE_TO_END}" for line in lines)
        return f"{_ERASE_TO_END}{room}{_SAVE_CURSOR}{drawn}{_RESTORE_CURSOR}"

    def _ask(self, *prompt: Any) -> str:
        """`input()`, which writes past sys.stdout where that is a terminal."""
        with self._lock:
            self._held += 1
            self._put(self._terminal, "")
        try:
            return self._input(*prompt)
        finally:
            with self._lock:
                self._held -= 1


class PrintedAbove:
    """What sys.stdout or sys.stderr is meanwhile: `stream`, printed above the frame."""

    def __init__(self, stream: Any, screen: Screen) -> None:
        self.stream = stream
        self._screen = screen

    def write(self, text: str) -> int:
        """Print a text."""
        self._screen.print(self.stream, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Print some lines."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _is_same_terminal(stream: Any, terminal: TextIO) -> bool:
    try:
        return bool(stream.isatty()) and os.fstat(stream.fileno()).st_rdev == os.fstat(terminal.fileno()).st_rdev
    except (AttributeError, OSError, ValueError):  # None, a stream in memory, a closed one
        return False


def _exchange(old: Any, new: Any) -> None:
    """Have log handlers write to another stream. One that a program has made holds the stream that it was made with."""
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if type(handler) is logging.StreamHandler and handler.stream is old:
                handler.setStream(new)
