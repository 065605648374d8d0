"""Streams that end when the server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from playhead.exceptions import ShuttingDown

Message = TypeVar("Message")


async def until(stopping: asyncio.Event, messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
    """The messages up to their end. Raises ShuttingDown once `stopping` is set, also while it waits for a message."""
    stopped = asyncio.ensure_future(stopping.wait())
    upcoming: asyncio.Future[Message] | None = None
    try:
        while not stopping.is_set():
            upcoming = asyncio.ensure_future(anext(messages))
            await asyncio.wait((upcoming, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not upcoming.done():
                break
            try:
                message = upcoming.result()
            except StopAsyncIteration:
                return
            yield message
        raise ShuttingDown("The server is shutting down: resume elsewhere or later from what was seen last.")
    finally:
        for waiting in (stopped, upcoming):
            if waiting is not None:
                waiting.cancel()
