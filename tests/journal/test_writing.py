"""What the journal promises of appending, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from playhead.exceptions import BadRequest, InternalDefect, QueueFull, RequestIdReused, ShuttingDown
from playhead.journal import writer
from tests.clocks import ManualClock
from tests.journal.notes import DEFECTIVE, REFUSED, Note, OpenNotes, new_id, text_of


def test_revisions_are_gapless_from_one_and_the_first_event_is_the_journals_own(store: str) -> None:
    with OpenNotes(store) as notes:
        assert notes.write("a", "b", "c") == [2, 3, 4]
        records = notes.all()
        assert [record.revision for record in records] == [1, 2, 3, 4]
        assert [record.kind for record in records] == ["journal_created", "noted", "noted", "noted"]
        assert records[0].stream == notes.journal.id


def test_a_stream_counts_its_own_versions(store: str) -> None:
    one, two = new_id(), new_id()
    with OpenNotes(store) as notes:
        notes.submit(Note("a", one), Note("b", two), Note("c", one, twice=True))
        notes.write("d", stream=two)
        versions = [(record.stream, record.stream_version) for record in notes.all()[1:]]
        assert versions == [(one, 1), (two, 1), (one, 2), (one, 3), (two, 2)]


def test_recorded_time_never_decreases_when_the_clock_jumps_back(store: str) -> None:
    clock = ManualClock()
    with OpenNotes(store, clock) as notes:
        for jump in (5, -1_000_000, 0, 3_000_000, -2):
            clock.advance(jump)
            notes.write("tick")
        times = [record.recorded_at for record in notes.all()]
        assert times == sorted(times)
        assert times[-1] == max(times)
    with OpenNotes(store, ManualClock(0)) as notes:
        notes.write("long ago")
        assert notes.all()[-1].recorded_at == times[-1]


def test_the_same_request_gets_the_recorded_answer_and_appends_nothing(store: str) -> None:
    note = Note("once", request_id=new_id())
    with OpenNotes(store) as notes:
        first = notes.writer.submit([note]).result(60)
        assert notes.writer.submit([note]).result(60) == first
        assert notes.journal.head()[0] == first
    with OpenNotes(store) as notes:
        assert notes.writer.submit([note]).result(60) == first
        assert notes.journal.head()[0] == first


def test_the_same_request_twice_in_one_batch_is_decided_once(store: str) -> None:
    note = Note("once", request_id=new_id(), twice=True)
    with OpenNotes(store) as notes:
        outcomes = notes.writer.submit([note, note, note], finish=list).result(60)
        assert outcomes == [3, 3, 3]
        assert [text_of(record) for record in notes.all()[1:]] == ["once", "once"]


def test_a_request_id_used_for_another_command_is_refused(store: str) -> None:
    used = new_id()
    with OpenNotes(store) as notes:
        notes.writer.submit([Note("this", request_id=used)]).result(60)
        with pytest.raises(RequestIdReused):
            notes.writer.submit([Note("that", request_id=used)]).result(60)
        job = [Note("other", request_id=new_id()), Note("that", request_id=used)]
        outcomes = notes.writer.submit(job, finish=list).result(60)
        assert [outcomes[0], type(outcomes[1])] == [3, RequestIdReused]
        assert notes.journal.head()[0] == 3


def test_what_waits_together_is_written_in_one_transaction(store: str) -> None:
    with OpenNotes(store) as notes:
        notes.notebook.gate.clear()
        first = notes.submit(Note("first"))
        assert notes.notebook.waiting.wait(60)
        others = notes.submit(*(Note(f"note {number}") for number in range(200)))
        notes.notebook.gate.set()
        assert [future.result(60) for future in first + others] == list(range(2, 203))
        assert notes.notebook.flushes == [1, 200]


def test_a_batch_is_bounded(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH_COMMANDS_MAX", 50)
    with OpenNotes(store) as notes:
        notes.notebook.gate.clear()
        futures = notes.submit(Note("first"))
        assert notes.notebook.waiting.wait(60)
        futures += notes.submit(*(Note(f"note {number}") for number in range(120)))
        notes.notebook.gate.set()
        assert [future.result(60) for future in futures] == list(range(2, 123))
        assert max(notes.notebook.flushes) == 50


@pytest.mark.parametrize(("text", "error"), [(REFUSED, BadRequest), (DEFECTIVE, InternalDefect)])
def test_a_bad_command_does_not_fail_its_neighbours(store: str, text: str, error: type[Exception]) -> None:
    with OpenNotes(store) as notes:
        notes.notebook.gate.clear()
        futures = notes.submit(Note("first"))
        assert notes.notebook.waiting.wait(60)
        futures += notes.submit(Note("before"), Note(text, request_id=new_id()), Note("after"))
        notes.notebook.gate.set()
        assert isinstance(futures[2].exception(60), error)
        assert [futures[number].result(60) for number in (0, 1, 3)] == [2, 3, 4]
        assert [text_of(record) for record in notes.all()[1:]] == ["first", "before", "after"]
        assert notes.write("and on") == [5]


def test_a_defect_inside_a_job_answers_its_own_command_alone(store: str) -> None:
    with OpenNotes(store) as notes:
        commands = [Note("before"), Note(DEFECTIVE), Note("after")]
        outcomes = notes.writer.submit(commands, finish=list).result(60)
        assert [outcomes[0], type(outcomes[1]), outcomes[2]] == [2, InternalDefect, 3]


def test_a_writer_takes_up_what_another_one_appended(store: str) -> None:
    stream = new_id()
    with OpenNotes(store) as one, OpenNotes(store) as two:
        for number in range(6):
            assert (one, two)[number % 2].write(f"note {number}", stream=stream) == [number + 2]
        assert [(r.revision, r.stream_version) for r in one.all()[1:]] == [(n + 2, n + 1) for n in range(6)]
        # When it began, the second one knew nothing that could have become stale.
        assert two.notebook.caught_up == [4, 6]
        assert one.notebook.caught_up == [3, 5]
        assert one.journal.root(7) == two.journal.root(7)


def test_a_request_is_found_in_whatever_order_ids_come_and_whoever_wrote_them(store: str) -> None:
    low, middle, high = (Note(f"note {first}", request_id=bytes([first, *bytes(15)])) for first in (0, 127, 255))
    with OpenNotes(store) as one, OpenNotes(store) as two:
        asked = [(one, middle), (two, high), (one, low), (one, high), (two, low), (one, middle), (two, middle)]
        answers = [notes.writer.submit([note]).result(60) for notes, note in asked]
        assert answers == [2, 3, 4, 3, 4, 2, 2]
        assert [text_of(record) for record in one.all()[1:]] == ["note 127", "note 255", "note 0"]


def test_two_writers_at_once_keep_one_gapless_order(store: str) -> None:
    stream, shared = new_id(), [Note(f"shared {number}", request_id=new_id()) for number in range(50)]
    with OpenNotes(store) as one, OpenNotes(store) as two:

        def load(notes: OpenNotes) -> list[int]:
            futures = []
            for note in shared:
                futures += notes.submit(Note("own", stream), note)
            return [future.result(60) for future in futures]

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(load, (one, two)))
        records = one.all()
        assert [record.revision for record in records] == list(range(1, 152))
        assert [r.stream_version for r in records if r.stream == stream] == list(range(1, 101))
        # Both asked for the shared notes, and both have the one answer.
        assert answers[0][1::2] == answers[1][1::2]


def test_at_the_bound_of_the_queue_a_command_is_refused_and_those_before_it_are_not(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUEUE_JOBS_MAX", 20)
    with OpenNotes(store) as notes:
        notes.notebook.gate.clear()
        futures = notes.submit(Note("first"))
        assert notes.notebook.waiting.wait(60)
        futures += notes.submit(*(Note(f"note {number}") for number in range(20)))
        with pytest.raises(QueueFull) as refused:
            notes.submit(Note("one too many"))
        assert refused.value.facts["limit"] == "20"
        notes.notebook.gate.set()
        assert [future.result(60) for future in futures] == list(range(2, 23))
        notes.write("there is room again")


def test_draining_finishes_what_waits_and_refuses_what_comes(store: str) -> None:
    notes = OpenNotes(store)
    notes.notebook.gate.clear()
    futures = notes.submit(*(Note(f"note {number}") for number in range(10)))
    draining = threading.Thread(target=notes.writer.drain)
    draining.start()
    notes.notebook.gate.set()
    draining.join(60)
    assert [future.result(0) for future in futures] == list(range(2, 12))
    with pytest.raises(ShuttingDown):
        notes.submit(Note("late"))
    notes.writer.drain()
    notes.close()


def test_whatever_is_submitted_while_draining_is_answered_or_refused(store: str) -> None:
    notes = OpenNotes(store)
    started = threading.Barrier(5)

    def load(_: int) -> list[Future[Any]]:
        futures: list[Future[Any]] = []
        started.wait()
        try:
            while True:
                futures += notes.submit(Note("note"))
        except (ShuttingDown, QueueFull):
            return futures

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, number) for number in range(4)]
        started.wait()
        notes.writer.drain()
        futures = [future for load in loads for future in load.result(60)]
    assert sorted(future.result(60) for future in futures) == list(range(2, len(futures) + 2))
    notes.close()
