"""A small event-sourced notebook: what the journal's tests append, without a rule of orchestration in sight."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from playhead import v1
from playhead.exceptions import BadRequest, RequestIdReused
from playhead.journal.append import Append
from playhead.journal.database import Database
from playhead.journal.journal import Clock, Journal, system_clock
from playhead.journal.opening import open_database
from playhead.journal.record import Caller, Record
from playhead.journal.writer import Writer

AUTHOR = Caller("author", "tests/1.0")

REFUSED = "refuse me"
DEFECTIVE = "break me"


@dataclass(frozen=True)
class Note:
    """Something to write down in a stream. `twice` writes two events."""

    text: str
    stream: bytes = bytes(16)
    request_id: bytes | None = None
    twice: bool = False


@dataclass
class Notebook:
    """The handler of notes. It waits in `decide` while `gate` is not set, and counts what the write thread does."""

    gate: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    flushes: list[int] = field(default_factory=list)
    caught_up: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def prepare(self, append: Append, commands: Sequence[Note]) -> None:
        append.load_heads(note.stream for note in commands)

    def decide(self, append: Append, note: Note) -> int:
        self.waiting.set()
        assert self.gate.wait(60)
        if note.text == REFUSED:
            raise BadRequest("refused", field="text")
        if note.text == DEFECTIVE:
            raise ZeroDivisionError("a defect")
        for seq in range(2 if note.twice else 1):
            record = append.append(note.stream, "noted", noted(note.text), AUTHOR, note.request_id, seq)
        return record.revision

    def answer(self, append: Append, note: Note, records: list[Record]) -> int:
        if text_of(records[-1]) != note.text:
            raise RequestIdReused("used for another note", field="request_id")
        return records[-1].revision

    def flush(self, append: Append) -> None:
        self.flushes.append(len(append.records))

    def catch_up(self, records: list[Record]) -> None:
        self.caught_up += [record.revision for record in records]

    def reset(self) -> None:
        """Nothing is kept."""


class OpenNotes:
    """A journal of notes, open for reading and writing in this process."""

    def __init__(self, address: str | Database, clock: Clock = system_clock) -> None:
        database = address if isinstance(address, Database) else open_database(address)
        self.journal = Journal(database, clock)
        self.notebook = Notebook()
        self.writer: Writer[Note] = Writer(database, self.journal.id, self.notebook, self.journal.hub, clock)

    def write(self, *texts: str, stream: bytes = bytes(16)) -> list[int]:
        """Write notes one after another; their revisions."""
        return [self.writer.submit([Note(text, stream)]).result(60) for text in texts]

    def submit(self, *notes: Note) -> list[Any]:
        """Queue notes, each for itself; their futures."""
        return [self.writer.submit([note]) for note in notes]

    def all(self) -> list[Record]:
        """Every record."""
        return self.journal.read(1, self.journal.head()[0], limit=1_000_000)

    def close(self) -> None:
        """Finish what waits and close."""
        self.notebook.gate.set()
        self.writer.drain()
        self.journal.close()

    def __enter__(self) -> OpenNotes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def new_id() -> bytes:
    """16 bytes nobody has used."""
    return uuid.uuid4().bytes


def noted(text: str) -> v1.Event:
    """The event of a note: any message with a text in it will do."""
    return v1.Event(flow_registered=v1.FlowRegistered(name=text))


def text_of(record: Record) -> str:
    """The text of a note."""
    assert record.payload is not None
    return v1.Event.FromString(record.payload).flow_registered.name
