"""Tracebacks as authors of flows read them: their own code, without what called it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_OURS = str(Path(__file__).parents[2])
_ON_OUR_WAY = (
    str(Path(asyncio.__file__).parent),
    str(Path(concurrent.futures.__file__).parent),
    str(Path(contextlib.__file__)),
)


class RemoteTraceback(Exception):
    """Where an error came from in another process, as text: the cause of the error that is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def of_user_code(error: BaseException, to_the_end: bool = True) -> TracebackType | None:
    """The traceback of an error without this package's frames before and between those of the user's code.

    The frames after them stay, for the error comes from there; `to_the_end=False` leaves them out too, as they are for
    an error that came from another process.
    """
    to_the_end = to_the_end and not isinstance(error.__cause__, RemoteTraceback)
    kept: list[TracebackType] = []
    passed: list[TracebackType] = []
    for entry in _entries(error):
        file = entry.tb_frame.f_code.co_filename
        if file.startswith(_OURS) or (passed and file.startswith(_ON_OUR_WAY)):
            passed.append(entry)
        else:
            kept.append(entry)
            passed.clear()
    chain = None
    for entry in reversed([*kept, *passed] if to_the_end else kept):
        chain = TracebackType(chain, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return chain


def _entries(error: BaseException) -> Iterator[TracebackType]:
    entry = error.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next
