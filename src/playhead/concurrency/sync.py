"""`with concurrency("database"): …`"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playhead.engine.execution.connection import get_client
from playhead.engine.execution.drivers import drive_sync
from playhead.engine.execution.slots import give_slots_back, limit_names, take_slots


@contextmanager
def concurrency(
    names: str | list[str], occupy: int = 1, timeout_seconds: float | None = None, strict: bool = False
) -> Iterator[None]:
    """Hold slots of named concurrency limits inside.

    `occupy` slots of each, all or none; waits in line until they are free, `timeout_seconds` at most (default: as long
    as it takes). A name without a limit lets everybody in, with a warning, or, with `strict`, is an error. Raises
    `ConcurrencySlotAcquisitionError` when a limit can not give so many, or cancels who finds it full, and
    `AcquireConcurrencySlotTimeoutError` when the time is over. Differs from Prefect: there is no lease of their own to
    configure, the slots are freed with the run that holds them.
    """
    wanted = limit_names(names)
    if not wanted:
        yield
        return
    client = get_client()
    held = drive_sync(take_slots(wanted, occupy, timeout_seconds, strict), client)
    try:
        yield
    finally:
        drive_sync(give_slots_back(held), client)
