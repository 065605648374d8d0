"""A caller that waits writes in the write thread's place: the same answers, and nothing left behind when it is cut
short.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from playhead.exceptions import BadRequest, InternalDefect, ShuttingDown
from playhead.journal.append import Append
from tests.journal.notes import DEFECTIVE, REFUSED, Note, Notebook, OpenNotes


class Interrupted(BaseException):
    """What a signal's handler raises into whatever the thread is doing."""


def test_a_call_answers_and_is_durable(store: str) -> None:
    with OpenNotes(store) as notes:
        assert notes.writer.call([Note("one")]) == 2
        assert notes.write("two") == [3]
        assert notes.writer.call([Note("three")]) == 4
    with OpenNotes(store) as again:
        assert [record.revision for record in again.all()] == [1, 2, 3, 4]


def test_a_call_is_refused_and_fails_as_a_submitted_command_does(store: str) -> None:
    with OpenNotes(store) as notes:
        with pytest.raises(BadRequest):
            notes.writer.call([Note(REFUSED)])
        with pytest.raises(InternalDefect):
            notes.writer.call([Note(DEFECTIVE)])
        assert notes.writer.call([Note("fine")]) == 2


def test_those_who_only_call_need_no_write_thread(store: str) -> None:
    with OpenNotes(store) as notes:
        before = threading.active_count()
        notes.writer.call([Note("called")])
        assert threading.active_count() == before
        notes.write("submitted")
        assert threading.active_count() == before + 1
    assert threading.active_count() < before + 1


def test_calls_of_many_threads_are_all_answered_once(store: str) -> None:
    with OpenNotes(store) as notes, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda number: notes.writer.call([Note(f"note {number}")]), range(200)))
        assert sorted(answers) == list(range(2, 202))


def test_a_call_waits_for_the_write_thread_when_that_is_busy(store: str) -> None:
    with OpenNotes(store) as notes, ThreadPoolExecutor(1) as threads:
        notes.notebook.gate.clear()
        first = notes.submit(Note("first"))
        assert notes.notebook.waiting.wait(60)
        called = threads.submit(notes.writer.call, [Note("called")])
        notes.notebook.gate.set()
        assert (first[0].result(60), called.result(60)) == (2, 3)


def test_a_call_that_is_interrupted_leaves_nothing_behind(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Notebook, append: Append) -> None:
        raise Interrupted

    with OpenNotes(store) as notes, OpenNotes(store) as neighbour:
        notes.write("before")
        with monkeypatch.context() as patch:
            patch.setattr(Notebook, "flush", interrupted)
            with pytest.raises(Interrupted):
                notes.writer.call([Note("lost")])
        # The lock was given back: another process can write, and this one sees what it wrote.
        assert neighbour.write("neighbour") == [3]
        assert notes.writer.call([Note("after")]) == 4
        assert [record.stream_version for record in notes.all()[1:]] == [1, 2, 3]


def test_a_call_from_within_a_decision_is_refused_rather_than_waited_for(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[BaseException] = []

    def calling(self: Notebook, append: Append) -> None:
        try:
            notes.writer.call([Note("inner")])
        except InternalDefect as error:
            refused.append(error)

    with OpenNotes(store) as notes:
        monkeypatch.setattr(Notebook, "flush", calling)
        assert notes.writer.call([Note("outer")]) == 2
        assert notes.write("by the thread") == [3]
        assert len(refused) == 2


def test_nothing_is_called_after_a_drain(store: str) -> None:
    with OpenNotes(store) as notes:
        notes.writer.drain()
        with pytest.raises(ShuttingDown):
            notes.writer.call([Note("late")])
