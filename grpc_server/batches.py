"""Batches on one stream: taken in while earlier ones are decided, answered in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from playhead import v1
from playhead.grpc_server.status import status_of

BATCHES_IN_FLIGHT_MAX = 8
"""Batches of one stream that may wait for their answer. Further ones stay on the wire, which holds the sender back."""

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")


async def answered_in_order(
    batches: AsyncIterator[Batch], submit: Callable[[Batch], asyncio.Future[Answer]]
) -> AsyncIterator[Answer]:
    """The answer to each batch. `submit` queues a batch at once and returns what will have its answer.

    When the batches end with an error, what was submitted before is answered first, then the error is raised.
    """
    answers: asyncio.Queue[asyncio.Future[Answer] | None] = asyncio.Queue(BATCHES_IN_FLIGHT_MAX)
    reading = asyncio.create_task(_read(batches, submit, answers))
    try:
        while (answer := await answers.get()) is not None:
            yield await answer
        await reading
    finally:
        reading.cancel()
        while not answers.empty():
            if (unwanted := answers.get_nowait()) is not None:
                unwanted.cancel()


def refused(batch: v1.ProposeStatesRequest, error: BaseException) -> v1.ProposeStatesResponse:
    """The answers to a batch that failed as a whole: its error for each item, so that the stream goes on."""
    status = status_of(error)
    return v1.ProposeStatesResponse(
        answers=[v1.ProposeStatesAnswer(correlation_id=item.correlation_id, error=status) for item in batch.items]
    )


async def _read(
    batches: AsyncIterator[Batch],
    submit: Callable[[Batch], asyncio.Future[Answer]],
    answers: asyncio.Queue[asyncio.Future[Answer] | None],
) -> None:
    try:
        async for batch in batches:
            await answers.put(submit(batch))
    except Exception:
        await answers.put(None)
        raise
    await answers.put(None)
