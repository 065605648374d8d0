"""Log records are stored once, in order, read in pages that can not tear, and followed with none left out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from queue import SimpleQueue
from typing import Any

import pytest

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import FOLLOW_LOGS, READ_LOGS, WRITE_LOGS, Client
from playhead.client.remote import RemoteClient
from playhead.exceptions import BadPageToken, BadRequest, PlayheadError, TooLarge
from playhead.journal.encoding import timestamp
from tests.orchestration.commanding import new_id
from tests.processes.serving import Server
from tests.stores import NewStore

SECOND_US = 1_000_000
WAIT_S = 30.0


class Writer:
    """One process's batches about one flow run."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.flow_run_id = new_id()
        self.writer_id = new_id()
        self.batch = 0

    def record(self, message: str, **fields: Any) -> v1.LogRecord:
        """A record of the flow run."""
        given = {"level": 20, "logger": "playhead.flow_runs", "flow_run_id": self.flow_run_id, **fields}
        return v1.LogRecord(message=message, time=timestamp(1_700_000_000 * SECOND_US), **given)

    def write(self, *records: v1.LogRecord) -> v1.WriteLogsResponse:
        """Store the next batch."""
        self.batch += 1
        return self.client.unary(WRITE_LOGS, self.request(*records))

    def request(self, *records: v1.LogRecord) -> v1.WriteLogsRequest:
        """The batch as it is sent."""
        return v1.WriteLogsRequest(writer_id=self.writer_id, batch=self.batch, records=records)

    def read(self, **fields: Any) -> v1.ReadLogsResponse:
        """A page of the flow run's records."""
        filter = v1.LogFilter(flow_run_id=self.flow_run_id, **fields.pop("filter", {}))
        return self.client.unary(READ_LOGS, v1.ReadLogsRequest(filter=filter, **fields))

    def messages(self, **fields: Any) -> list[str]:
        """What the flow run has said."""
        return [record.message for record in self.read(**fields).records]


@pytest.fixture
def writer(client: Client) -> Writer:
    """A writer on each client and each database."""
    return Writer(client)


def test_what_is_stored_is_what_was_written(writer: Writer) -> None:
    record = writer.record("ünïcode\nand lines", task_run_id=new_id(), run_name="clean-0", extra=b'{"rows": 3}')
    position = writer.write(record).position
    (stored,) = writer.read().records
    record.position = position
    assert stored == record


def test_records_are_in_the_order_of_writing_and_a_batch_is_stored_once(writer: Writer) -> None:
    first = writer.write(writer.record("a"), writer.record("b"))
    again = writer.client.unary(WRITE_LOGS, writer.request(writer.record("a"), writer.record("b")))
    assert again.position == first.position
    writer.write(writer.record("c"))
    other = Writer(writer.client)
    other.flow_run_id = writer.flow_run_id
    other.write(writer.record("d"))
    assert writer.messages() == ["a", "b", "c", "d"]
    assert writer.messages(order=v1.NEWEST_FIRST) == ["d", "c", "b", "a"]


def test_filters_by_run_level_and_time(writer: Writer) -> None:
    task_run_id = new_id()
    later = timestamp(1_700_000_060 * SECOND_US)
    records = [
        writer.record("debug", level=10),
        writer.record("of the task", task_run_id=task_run_id),
        writer.record("error", level=40),
        writer.record("later", level=30),
    ]
    records[-1].time.CopyFrom(later)
    writer.write(*records)
    assert writer.messages(filter={"level_min": 30}) == ["error", "later"]
    assert writer.messages(filter={"task_run_id": task_run_id}) == ["of the task"]
    assert writer.messages(filter={"time": v1.TimeRange(**{"from": later})}) == ["later"]
    assert writer.messages(filter={"time": v1.TimeRange(until=later), "level_min": 30}) == ["error"]
    assert Writer(writer.client).messages() == []


@pytest.mark.parametrize("order", [v1.OLDEST_FIRST, v1.NEWEST_FIRST])
def test_pages_hold_all_records_once_and_none_that_came_later(writer: Writer, order: v1.Order.ValueType) -> None:
    written = [str(number) for number in range(7)]
    writer.write(*map(writer.record, written))
    read: list[str] = []
    token = ""
    while True:
        page = writer.read(order=order, page_size=3, page_token=token)
        read += [record.message for record in page.records]
        writer.write(writer.record("later"))
        token = page.next_page_token
        if not token:
            break
    assert read == (written if order == v1.OLDEST_FIRST else written[::-1])
    with pytest.raises(BadPageToken):
        writer.read(order=order, page_size=3, page_token="AAAA")


def test_a_page_ends_before_it_is_too_large(writer: Writer) -> None:
    for _ in range(2):
        writer.write(*[writer.record("x" * 65_536) for _ in range(30)])
    page = writer.read(page_size=1_000)
    assert 30 < len(page.records) < 60
    rest = writer.read(page_size=1_000, page_token=page.next_page_token)
    assert len(page.records) + len(rest.records) == 60
    assert rest.next_page_token == ""


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"message": "x" * 65_537}, r"records\[0\].message"),
        ({"message": "a\x00b"}, r"records\[0\].message"),
        ({"logger": "x" * 1_001}, r"records\[0\].logger"),
        ({"extra": b"x" * 16_385}, r"records\[0\].extra"),
        ({"extra": b"[1]"}, r"records\[0\].extra: must be a JSON object"),
        ({"extra": b"{bad"}, r"records\[0\].extra: must be a JSON object"),
        ({"level": 1_001}, r"records\[0\].level"),
        ({"level": -1}, r"records\[0\].level"),
        ({"flow_run_id": "x"}, r"records\[0\].flow_run_id"),
    ],
)
def test_what_is_over_a_bound_is_refused_and_nothing_of_it_stored(
    writer: Writer, fields: dict[str, Any], field: str
) -> None:
    bad = v1.LogRecord(**{"message": "bad", **fields})
    with pytest.raises(BadRequest, match=field):
        writer.write(bad, writer.record("beside it"))
    with pytest.raises(TooLarge, match="records"):
        writer.write(*[writer.record("x")] * 1_001)
    assert writer.messages() == []


@pytest.mark.parametrize("reader", ["remote", "embedded"])
def test_who_follows_gets_what_is_there_and_what_comes_from_wherever(new_store: NewStore, reader: str) -> None:
    database = new_store()
    with (
        Server(database) as server,
        closing(RemoteClient(server.address)) as remote,
        closing(EmbeddedClient(database)) as embedded,
    ):
        writer, other = Writer(remote), Writer(embedded)
        other.flow_run_id = writer.flow_run_id
        writer.write(writer.record("before"))
        client = remote if reader == "remote" else embedded
        stream = Following(client, writer.flow_run_id)
        assert stream.next() == "before"
        writer.write(writer.record("through the server"), Writer(remote).record("of another run"))
        assert stream.next() == "through the server"
        other.write(other.record("beside it"))
        assert stream.next() == "beside it"
        resumed = Following(client, writer.flow_run_id, stream.position)
        writer.write(writer.record("last"))
        assert (stream.next(), resumed.next()) == ("last", "last")


class Following:
    """A stream of records, read by a thread of its own."""

    def __init__(self, client: Client, flow_run_id: str, after: int = 0) -> None:
        filter = v1.LogFilter(flow_run_id=flow_run_id)
        self._stream = client.stream(FOLLOW_LOGS, v1.FollowLogsRequest(filter=filter, after_position=after))
        self._come: SimpleQueue[v1.LogRecord] = SimpleQueue()
        self.position = after
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> str:
        """The next record's message. Raises Empty when none comes."""
        record = self._come.get(timeout=WAIT_S)
        self.position = record.position
        return record.message

    def _read(self) -> None:
        try:
            for record in self._records():
                self._come.put(record)
        except PlayheadError:
            return  # the client was closed

    def _records(self) -> Iterator[v1.LogRecord]:
        for response in self._stream:
            yield from response.records
