"""`async with concurrency("database"): …`"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playhead.engine.execution.connection import get_client
from playhead.engine.execution.drivers import drive_async
from playhead.engine.execution.slots import give_slots_back, limit_names, take_slots


@asynccontextmanager
async def concurrency(
    names: str | list[str], occupy: int = 1, timeout_seconds: float | None = None, strict: bool = False
) -> AsyncIterator[None]:
    """As `playhead.concurrency.sync.concurrency`, without blocking the event loop."""
    wanted = limit_names(names)
    if not wanted:
        yield
        return
    client = get_client()
    held = await drive_async(take_slots(wanted, occupy, timeout_seconds, strict), client)
    try:
        yield
    finally:
        await drive_async(give_slots_back(held), client)
