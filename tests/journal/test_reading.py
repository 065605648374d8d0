"""What the journal promises of reading: any range, any moment, forwards and backwards."""

from __future__ import annotations

import random

import pytest

from playhead import v1
from playhead.exceptions import BadRequest, MalformedId, MissingField, RevisionNotReached, TooLarge
from playhead.journal.encoding import text_of, timestamp
from playhead.journal.merkle import EMPTY_ROOT
from playhead.journal.service import JournalService
from tests.clocks import START_US, ManualClock
from tests.journal.notes import Note, OpenNotes, new_id


def test_every_range_stream_and_kind_reads_as_a_plain_list_does(store: str) -> None:
    chance = random.Random(7)
    streams = [new_id() for _ in range(3)]
    with OpenNotes(store) as notes:
        notes.writer.submit([Note("note", chance.choice(streams)) for _ in range(40)], finish=list).result(60)
        everything = notes.all()
        for _ in range(60):
            first, last = sorted((chance.randint(1, 41), chance.randint(1, 41)))
            stream, kinds = chance.choice([None, *streams]), chance.choice([[], ["noted"], ["journal_created"], ["no"]])
            backwards, limit = chance.random() < 0.5, chance.randint(1, 50)
            expected = [
                record
                for record in everything[first - 1 : last]
                if stream in (None, record.stream) and (not kinds or record.kind in kinds)
            ]
            expected = (expected[::-1] if backwards else expected)[:limit]
            read = notes.journal.read(first, last, stream=stream, kinds=kinds, backwards=backwards, limit=limit)
            assert read == expected


@pytest.mark.parametrize("backwards", [False, True])
def test_a_stream_of_events_goes_on_over_its_pages(store: str, backwards: bool) -> None:
    stream = new_id()
    with OpenNotes(store) as notes:
        for _ in range(3):
            notes.writer.submit([Note("x", stream), Note("x")] * 200, finish=list).result(60)
        request = v1.ReadEventsRequest(backwards=backwards, limit=550)
        request.filter.stream = text_of(stream)
        service = JournalService(notes.journal)
        read = [event.revision for answer in service.read_events(request) for event in answer.events]
        expected = [record.revision for record in notes.all() if record.stream == stream]
        assert read == (expected[::-1] if backwards else expected)[:550]
        request.from_revision, request.to_revision = 401, 800
        read = [event.revision for answer in service.read_events(request) for event in answer.events]
        assert read == [r for r in (expected[::-1] if backwards else expected) if 401 <= r <= 800]


def test_large_events_are_sent_in_messages_of_bounded_size(store: str) -> None:
    with OpenNotes(store) as notes:
        notes.writer.submit([Note("x" * 400_000) for _ in range(8)], finish=list).result(60)
        answers = list(JournalService(notes.journal).read_events(v1.ReadEventsRequest()))
        assert [event.revision for answer in answers for event in answer.events] == list(range(1, 10))
        assert max(answer.ByteSize() for answer in answers) < 2_000_000


def test_the_revision_at_a_time_is_the_last_one_recorded_by_then(store: str) -> None:
    clock = ManualClock()
    with OpenNotes(store, clock) as notes:
        for step in (0, 10, 0, 0, 5, 1, -20, 30):
            clock.advance(step)
            notes.write("tick")
        records = notes.all()
        for moment in range(START_US - 2, clock.now_us + 3):
            expected = max((r.revision for r in records if r.recorded_at <= moment), default=0)
            assert notes.journal.revision_at(moment) == expected
        service = JournalService(notes.journal)
        assert service.get_revision_at(v1.GetRevisionAtRequest(time=timestamp(START_US - 1))).revision == 0
        assert service.get_revision_at(v1.GetRevisionAtRequest(time=timestamp(2**55))).revision == 9


def test_the_head_has_the_root_over_all_leaves_and_any_size_has_its_own(store: str) -> None:
    with OpenNotes(store) as notes:
        service, roots = JournalService(notes.journal), [EMPTY_ROOT]
        for number in range(20):
            head = service.get_head(v1.GetHeadRequest())
            assert head.meta.revision == number + 1
            roots.append(head.root_hash)
            notes.write("note")
        assert [notes.journal.root(size) for size in range(21)] == roots


def test_what_reads_ask_for_is_checked(store: str) -> None:
    with OpenNotes(store) as notes:
        notes.write("a")
        service = JournalService(notes.journal)
        with pytest.raises(RevisionNotReached) as beyond:
            service.read_events(v1.ReadEventsRequest(to_revision=3))
        assert (beyond.value.facts["head"], beyond.value.facts["asked"]) == ("2", "3")
        with pytest.raises(BadRequest, match="from_revision"):
            service.read_events(v1.ReadEventsRequest(from_revision=2, to_revision=1))
        with pytest.raises(MalformedId, match=r"filter\.stream"):
            service.read_events(v1.ReadEventsRequest(filter=v1.EventFilter(stream="1234")))
        with pytest.raises(TooLarge, match=r"filter\.kinds"):
            service.read_events(v1.ReadEventsRequest(filter=v1.EventFilter(kinds=["k"] * 101)))
        with pytest.raises(RevisionNotReached):
            service.watching(v1.WatchEventsRequest(after_revision=2**64 - 1))
        with pytest.raises(MissingField):
            service.get_revision_at(v1.GetRevisionAtRequest())
        assert list(service.read_events(v1.ReadEventsRequest(from_revision=2**64 - 1))) == []
        for ask in (
            lambda kinds: service.read_events(v1.ReadEventsRequest(filter=v1.EventFilter(kinds=kinds))),
            lambda kinds: service.watching(v1.WatchEventsRequest(filter=v1.EventFilter(kinds=kinds))),
        ):
            with pytest.raises(BadRequest, match="no kind of event is named 'state_propose': did you mean state_prop"):
                ask(["journal_created", "state_propose"])
            with pytest.raises(BadRequest, match=r"^filter\.kinds\[0\]: .* There are: journal_created, flow_regist"):
                ask(["\x00"])
            list(zip(range(1), ask(["state_proposed"]), strict=False))
