"""How deep flows and tasks may call each other: as deep as Python's stack allows."""

from __future__ import annotations

import sys
from types import FrameType

from playhead.engine.execution.drivers import call_user, call_user_async

FRAMES_NEEDED = 120
"""What one more call has to find free: it takes up to 80 frames, with the modules that load then."""

_ENTRANCES = frozenset({call_user.__code__, call_user_async.__code__})


def check_depth(name: str) -> None:
    """Raise RecursionError before a call for which too little of the stack is left.

    Half way through, the stack would end inside the orchestration, whose report of that needs a stack as well.
    """
    used = 0
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        used += 2 if frame.f_code in _ENTRANCES else 1  # the call of the flow or task before it takes one in C
        frame = frame.f_back
    limit = sys.getrecursionlimit()
    if used + FRAMES_NEEDED > limit:
        raise RecursionError(
            f"{name!r} is not called: flows and tasks call each other too deep, {used} frames of Python's stack are in "
            f"use. Call them from a loop, or raise the limit of {limit}: sys.setrecursionlimit()."
        )
