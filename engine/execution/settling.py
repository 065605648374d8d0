"""Ending the wait for a future that more than one may end."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from typing import Any


def settle(future: Future[Any], outcome: object) -> None:
    """End the wait for a future with what it gives or, an exception, raises; unless it has ended or was given up."""
    try:
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:
        return  # somebody was quicker
