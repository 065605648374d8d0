"""The `Journal` service of the contract, without the wire: messages in, messages out."""

from __future__ import annotations

from collections.abc import Iterator

from playhead import v1
from playhead.exceptions import BadRequest, MissingField, RevisionNotReached
from playhead.journal import checks
from playhead.journal.encoding import text_of, timestamp
from playhead.journal.following import Progress, follow
from playhead.journal.hub import Beyond, blocking
from playhead.journal.journal import PAGE_EVENTS_MAX, Journal
from playhead.journal.payload import event_of
from playhead.journal.record import Record

MESSAGE_BYTES_MAX = 1 << 20
"""A message of events ends early rather than be larger than this, and one more event."""

KINDS_MAX = 100

EVENT_KINDS = tuple(field.name for field in v1.Event.DESCRIPTOR.oneofs_by_name["what"].fields)
"""The kinds of events that there are."""


class JournalService:
    """Reading events. Blocking; the streams of `watching` yield `Beyond` where they would block."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._journal_id = text_of(journal.id)

    def get_head(self, request: v1.GetHeadRequest) -> v1.GetHeadResponse:
        """The last revision and the root of the tree over all events up to it."""
        revision, recorded_at = self._journal.head()
        return v1.GetHeadResponse(
            meta=self._meta(revision), recorded_at=timestamp(recorded_at), root_hash=self._journal.root(revision)
        )

    def get_revision_at(self, request: v1.GetRevisionAtRequest) -> v1.GetRevisionAtResponse:
        """The last revision recorded at or before a time."""
        if not request.HasField("time"):
            raise MissingField("a time is required", field="time")
        revision = self._journal.revision_at(checks.micros(request.time, "time"))
        return v1.GetRevisionAtResponse(meta=self._meta(self._journal.head()[0]), revision=revision)

    def read_events(self, request: v1.ReadEventsRequest) -> Iterator[v1.ReadEventsResponse]:
        """Events that exist, page by page. Raises RevisionNotReached for a range that ends beyond the head."""
        stream, kinds = _filter(request.filter)
        head = self._journal.head()[0]
        first, last = request.from_revision or 1, request.to_revision or head
        if last > head:
            raise RevisionNotReached(f"The head is revision {head}.", head=head, asked=last)
        if first > last and request.to_revision:
            raise BadRequest("is after to_revision", field="from_revision")
        return self._read(first, last, stream, kinds, request.backwards, request.limit or last, head)

    def _read(
        self, first: int, last: int, stream: bytes | None, kinds: list[str], backwards: bool, limit: int, head: int
    ) -> Iterator[v1.ReadEventsResponse]:
        while first <= last and limit > 0:
            size = min(limit, PAGE_EVENTS_MAX)
            records = self._journal.read(first, last, stream=stream, kinds=kinds, backwards=backwards, limit=size)
            for part in _parts(records):
                yield v1.ReadEventsResponse(meta=self._meta(head), events=[journal_event(r) for r in part])
            if len(records) < size:
                return
            limit -= len(records)
            first, last = (first, records[-1].revision - 1) if backwards else (records[-1].revision + 1, last)

    def watching(self, request: v1.WatchEventsRequest) -> Iterator[v1.WatchEventsResponse | Beyond]:
        """Events after a revision, then each as it is recorded."""
        stream, kinds = _filter(request.filter)
        head = self._journal.head()[0]
        if request.after_revision > head:
            raise RevisionNotReached(f"The head is revision {head}.", head=head, asked=request.after_revision)
        return self._watching(request.after_revision, stream, kinds)

    def _watching(
        self, after: int, stream: bytes | None, kinds: list[str]
    ) -> Iterator[v1.WatchEventsResponse | Beyond]:
        for step in follow(self._journal, after, stream=stream, kinds=kinds):
            if isinstance(step, Beyond):
                yield step
            elif isinstance(step, Progress):
                meta = self._meta(step.revision)
                if step.caught_up:
                    yield v1.WatchEventsResponse(meta=meta, caught_up=v1.CaughtUp(revision=step.revision))
                else:
                    yield v1.WatchEventsResponse(meta=meta, checkpoint=v1.Checkpoint(revision=step.revision))
            else:
                for part in _parts(step):
                    page = v1.EventPage(events=[journal_event(record) for record in part])
                    yield v1.WatchEventsResponse(meta=self._meta(part[-1].revision), page=page)

    def watch_events(
        self, request: v1.WatchEventsRequest, timeout_s: float | None = None
    ) -> Iterator[v1.WatchEventsResponse]:
        """As `watching`, blocking the caller's thread while there is nothing new."""
        return blocking(self.watching(request), self._journal.hub, timeout_s)

    def _meta(self, revision: int) -> v1.ResponseMeta:
        return v1.ResponseMeta(journal_id=self._journal_id, revision=revision)


def journal_event(record: Record) -> v1.JournalEvent:
    """A record as the contract shows it."""
    return v1.JournalEvent(
        revision=record.revision,
        stream=text_of(record.stream),
        stream_version=record.stream_version,
        kind=record.kind,
        recorded_at=timestamp(record.recorded_at),
        actor=record.actor,
        request_id=text_of(record.request_id) if record.request_id else "",
        request_seq=record.request_seq,
        event=event_of(record) if record.payload is not None else None,
        leaf_hash=record.leaf,
        salt=record.salt or b"",
    )


def _filter(filter: v1.EventFilter) -> tuple[bytes | None, list[str]]:
    checks.bounded_list(filter.kinds, "filter.kinds", KINDS_MAX)
    for index, kind in enumerate(filter.kinds):
        if kind not in EVENT_KINDS:
            near = checks.closest(kind, EVENT_KINDS) or f". There are: {', '.join(EVENT_KINDS)}"
            raise BadRequest(f"no kind of event is named {kind[:60]!r}{near}", field=f"filter.kinds[{index}]")
    return checks.optional_id(filter.stream, "filter.stream"), list(filter.kinds)


def _parts(records: list[Record]) -> Iterator[list[Record]]:
    """The records in parts that fit a message."""
    part: list[Record] = []
    size = 0
    for record in records:
        part.append(record)
        size += len(record.payload or b"")
        if size > MESSAGE_BYTES_MAX:
            yield part
            part, size = [], 0
    if part:
        yield part
