"""Catching up and following: nothing skipped, nothing twice, whoever appends."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from playhead.exceptions import ShuttingDown
from playhead.journal.following import CHECKPOINT_EVERY, Progress, follow
from playhead.journal.hub import Beyond, blocking, unblocking
from playhead.journal.journal import PAGE_EVENTS_MAX
from playhead.journal.record import Record
from tests.journal.notes import Note, OpenNotes, new_id


def test_a_follower_gets_what_exists_then_a_mark_then_each_event_as_it_comes(store: str) -> None:
    with OpenNotes(store) as notes:
        notes.write("a", "b")
        steps = blocking(follow(notes.journal, 1), notes.journal.hub)
        assert revisions(next(steps)) == [2, 3]
        assert next(steps) == Progress(3, caught_up=True)
        for revision in (4, 5, 6):
            notes.write("more")
            assert revisions(next(steps)) == [revision]


def test_a_follower_of_one_stream_is_told_how_far_it_has_come(store: str) -> None:
    stream = new_id()
    with OpenNotes(store) as notes:
        steps = follow(notes.journal, 1, stream=stream)
        assert next(steps) == Progress(1, caught_up=True)
        assert isinstance(next(steps), Beyond)
        notes.writer.submit([Note("other")] * CHECKPOINT_EVERY, finish=list).result(60)
        assert next(steps) == Progress(CHECKPOINT_EVERY + 1, caught_up=False)
        assert isinstance(next(steps), Beyond)
        notes.write("mine", stream=stream)
        assert revisions(next(steps)) == [CHECKPOINT_EVERY + 2]


def test_nothing_is_skipped_or_repeated_while_two_writers_append(store: str) -> None:
    each = 150
    with OpenNotes(store) as one, OpenNotes(store) as two, OpenNotes(store) as reader:

        def load(notes: OpenNotes) -> None:
            for _ in range(each // 3):
                for future in notes.submit(*[Note("note")] * 3):
                    future.result(60)

        with ThreadPoolExecutor(5) as pool:
            seen = [
                pool.submit(first_of, n.journal.hub, follow(n.journal, 0), 2 * each + 1) for n in (one, two, reader)
            ]
            list(pool.map(load, (one, two)))
            for future in seen:
                assert future.result(60) == list(range(1, 2 * each + 2))


def test_a_follower_in_an_event_loop_sees_the_same(store: str) -> None:
    with OpenNotes(store) as notes, ThreadPoolExecutor(2) as pool:

        async def in_thread(function: Callable[[], Any]) -> Any:
            return await asyncio.get_running_loop().run_in_executor(pool, function)

        async def following() -> list[int]:
            seen: list[int] = []
            async for step in unblocking(follow(notes.journal, 0), notes.journal.hub, in_thread):
                if isinstance(step, Progress):
                    notes.submit(*[Note("note")] * 30)
                else:
                    seen += revisions(step)
                if len(seen) == 31:
                    break
            return seen

        assert asyncio.run(following()) == list(range(1, 32))


def append_elsewhere(store: str) -> None:
    """What another process does."""
    with OpenNotes(store) as notes:
        notes.write("from another process")


def test_a_follower_is_woken_by_another_process(store: str) -> None:
    with OpenNotes(store) as notes:
        steps = blocking(follow(notes.journal, 0), notes.journal.hub)
        assert revisions(next(steps)) == [1]
        assert next(steps) == Progress(1, caught_up=True)
        other = multiprocessing.get_context("spawn").Process(target=append_elsewhere, args=(store,))
        other.start()
        assert revisions(next(steps)) == [2]
        other.join(60)
        assert other.exitcode == 0


def test_a_slow_follower_holds_nothing_and_misses_nothing(store: str) -> None:
    with OpenNotes(store) as notes:
        steps = follow(notes.journal, 0)
        assert revisions(next(steps)) == [1]
        for _ in range(4):
            notes.writer.submit([Note("note")] * 400, finish=list).result(60)
        pages = [revisions(step) for step in until_beyond(steps) if isinstance(step, list)]
        assert max(map(len, pages)) <= PAGE_EVENTS_MAX
        assert [revision for page in pages for revision in page] == list(range(2, 1602))


def test_closing_the_journal_wakes_those_who_wait(store: str) -> None:
    notes, other = OpenNotes(store), OpenNotes(store)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(first_of, n.journal.hub, follow(n.journal, 0), 99) for n in (notes, other)]
        notes.write("a")
        notes.close()
        assert isinstance(waiting[0].exception(60), ShuttingDown)
        other.close()
        assert isinstance(waiting[1].exception(60), ShuttingDown)


def test_closing_the_journal_wakes_event_loops(store: str) -> None:
    notes = OpenNotes(store)

    async def following() -> None:
        waiting = asyncio.ensure_future(notes.journal.hub.wait_async(1))
        cancelled = asyncio.ensure_future(notes.journal.hub.wait_async(1))
        await asyncio.sleep(0)  # Both begin to wait.
        cancelled.cancel()
        await asyncio.get_running_loop().run_in_executor(None, notes.close)
        await waiting

    with pytest.raises(ShuttingDown):
        asyncio.run(following())


def revisions(step: object) -> list[int]:
    """The revisions of a page."""
    assert isinstance(step, list)
    return [record.revision for record in step]


def first_of(hub: Any, steps: Iterator[list[Record] | Progress | Beyond], count: int) -> list[int]:
    """The first `count` revisions of a following."""
    seen: list[int] = []
    for step in blocking(steps, hub):
        if isinstance(step, list):
            seen += revisions(step)
        if len(seen) >= count:
            break
    return seen


def until_beyond(steps: Iterator[list[Record] | Progress | Beyond]) -> Iterator[list[Record] | Progress]:
    """What a following yields until there is nothing more."""
    for step in steps:
        if isinstance(step, Beyond):
            return
        yield step
