"""Many followers in an event loop: each is told of what it follows, and reads no more often than that."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import pytest

from playhead.exceptions import ShuttingDown
from playhead.journal.changes import Changes
from playhead.journal.following import CHECKPOINT_EVERY, Progress, follow
from playhead.journal.hub import Beyond
from playhead.journal.journal import Journal
from playhead.journal.record import Record
from tests.journal.notes import Note, OpenNotes, new_id

Step = list[Record] | Progress | Beyond


class Followers:
    """Followers of a journal in the running event loop, and how often each has read."""

    def __init__(self, journal: Journal, pool: ThreadPoolExecutor) -> None:
        self.reads: Counter[object] = Counter()
        self._journal = journal
        self._pool = pool
        self._changes = Changes(journal, self._in_thread)

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    def of(self, name: object, after: int, **what: Any) -> AsyncIterator[list[Record] | Progress]:
        """The steps of a follower: see `follow`."""
        return self.with_steps(self._counted(name, follow(self._journal, after, **what)))

    def with_steps(self, steps: Iterator[Step]) -> AsyncIterator[list[Record] | Progress]:
        """A follower that reads these steps."""
        return self._changes.unblocking(steps)

    def _counted(self, name: object, steps: Iterator[Step]) -> Iterator[Step]:
        for step in steps:
            self.reads[name] += 1
            yield step


async def first(steps: AsyncIterator[Any], count: int) -> list[int]:
    """The revisions of a follower's first events."""
    seen: list[int] = []
    async with aclosing(steps) as until:  # type: ignore[type-var] # what `of` returns is a generator
        async for step in until:
            if isinstance(step, list):
                seen += [record.revision for record in step]
            if len(seen) >= count:
                break
    return seen


def test_each_is_told_of_its_own_stream_and_reads_no_more_often(store: str) -> None:
    streams = [new_id() for _ in range(30)]

    async def following(notes: OpenNotes, pool: ThreadPoolExecutor) -> None:
        followers = Followers(notes.journal, pool)
        waiting = [
            asyncio.create_task(first(followers.of(number, 1, stream=stream), 1))
            for number, stream in enumerate(streams)
        ]
        while len(followers.reads) < len(streams) or any(count < 2 for count in followers.reads.values()):
            await asyncio.sleep(0)  # until each has found nothing and waits
        busy = asyncio.create_task(first(followers.of("busy", 1, stream=streams[0]), 40))
        for _ in range(40):
            await asyncio.wrap_future(notes.writer.submit([Note("note", streams[0])]))
        assert await busy == list(range(2, 42))
        assert (await waiting[0])[0] == 2
        # Caught up, nothing there; and once more, if it joined while others were told.
        assert max(followers.reads[number] for number in range(1, 30)) <= 3
        for stream in streams[1:]:
            await asyncio.wrap_future(notes.writer.submit([Note("note", stream)]))
        assert await asyncio.gather(*waiting[1:]) == [[revision] for revision in range(42, 71)]

    with OpenNotes(store) as notes, ThreadPoolExecutor(4) as pool:
        asyncio.run(following(notes, pool))


def test_followers_that_come_and_go_while_events_come_miss_none(store: str) -> None:
    streams = [new_id() for _ in range(5)]

    async def following(notes: OpenNotes, pool: ThreadPoolExecutor) -> None:
        followers = Followers(notes.journal, pool)
        written = asyncio.create_task(_write(notes, streams, 200))
        await notes.journal.hub.wait_async(100)  # while more come
        begun = [(number, after) for number in range(len(streams)) for after in (1, 51, 101)]
        seen = await asyncio.gather(
            *(
                first(followers.of((number, after), after, stream=streams[number]), 40 - after // 5)
                for number, after in begun
            )
        )
        await written
        for (number, after), revisions in zip(begun, seen, strict=True):
            assert revisions == [revision for revision in range(after + 1, 202) if (revision - 2) % 5 == number]

    with OpenNotes(store) as notes, ThreadPoolExecutor(4) as pool:
        asyncio.run(following(notes, pool))


async def _write(notes: OpenNotes, streams: list[bytes], count: int) -> None:
    for number in range(count):
        await asyncio.wrap_future(notes.writer.submit([Note("note", streams[number % len(streams)])]))


def test_a_follower_of_kinds_is_told_how_far_the_journal_has_got(store: str) -> None:
    async def following(notes: OpenNotes, pool: ThreadPoolExecutor) -> None:
        followers = Followers(notes.journal, pool)
        steps = followers.of("kinds", 1, kinds=["input_sent"])
        assert await anext(steps) == Progress(1, caught_up=True)
        told = asyncio.ensure_future(anext(steps))
        notes.writer.submit([Note("note")] * CHECKPOINT_EVERY, finish=list).result(60)
        assert await told == Progress(CHECKPOINT_EVERY + 1, caught_up=False)
        await steps.aclose()  # type: ignore[attr-defined] # it is a generator

    with OpenNotes(store) as notes, ThreadPoolExecutor(2) as pool:
        asyncio.run(following(notes, pool))


def test_closing_the_journal_ends_them(store: str) -> None:
    notes = OpenNotes(store)

    async def following(pool: ThreadPoolExecutor) -> None:
        followers = Followers(notes.journal, pool)
        waiting = [asyncio.create_task(first(followers.of(number, 1, stream=new_id()), 1)) for number in range(3)]
        while sum(followers.reads.values()) < 6:
            await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, notes.close)
        for task in waiting:
            with pytest.raises(ShuttingDown):
                await task

    with ThreadPoolExecutor(2) as pool:
        asyncio.run(following(pool))


def test_a_follower_that_comes_when_the_others_were_told_of_the_end_is_told_too(store: str) -> None:
    notes = OpenNotes(store)

    async def following(pool: ThreadPoolExecutor) -> None:
        followers = Followers(notes.journal, pool)
        busy = followers.with_steps(iter([Beyond(0), Progress(1, caught_up=True)]))
        assert await anext(busy) == Progress(1, caught_up=True)  # which it works on until the end
        await asyncio.to_thread(notes.close)
        with pytest.raises(ShuttingDown):
            await anext(followers.with_steps(iter([Beyond(1)])))
        await busy.aclose()  # type: ignore[attr-defined] # it is a generator

    with ThreadPoolExecutor(2) as pool:
        asyncio.run(following(pool))
