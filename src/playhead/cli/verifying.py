"""`playhead journal verify`, on a database or through a server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import typer

from playhead import v1
from playhead.cli.output import print_fields, print_json
from playhead.cli.progress import progress_bar
from playhead.cli.session import Session
from playhead.client.interface import GET_HEAD, READ_EVENTS, Client
from playhead.journal.encoding import bytes_of, text_of
from playhead.journal.journal import Journal
from playhead.journal.record import Record
from playhead.replay.verify import Progress, Verified, verify, verify_journal
from playhead.replay.wire import record_of_event

_NOTED = re.compile(r"(\d+):([0-9a-fA-F]{64})")


def show_verification(session: Session, expect: str) -> None:
    """Verify, and print what was verified. Raises CorruptRecord."""
    expected = _expected(expect)
    with progress_bar("verifying") as progress:
        if session.database is not None:
            journal: Journal = session.open_journal()
            try:
                journal_id, verified = journal.id, verify_journal(journal, expected, progress)
            finally:
                journal.close()
        else:
            journal_id, verified = _verify_remote(session, expected, progress)
    document = {"journal_id": text_of(journal_id), "revision": verified.revision, "root_hash": verified.root.hex()}
    if session.as_json:
        print_json({**document, "verified": True})
        return
    print_fields([("verified", f"revisions 1 … {verified.revision}"), ("root", verified.root.hex())])


def _verify_remote(session: Session, expected: tuple[int, bytes] | None, progress: Progress) -> tuple[bytes, Verified]:
    head = session.call(GET_HEAD, v1.GetHeadRequest())
    events = _Remote(session.client, bytes_of(head.meta.journal_id))
    verified = verify(events, head.meta.revision, expected=(head.meta.revision, head.root_hash), progress=progress)
    if expected is not None:
        verify(events, expected[0], expected=expected, progress=progress)
    return events.id, verified


class _Remote:
    """The events of a server's journal, as the verification reads them."""

    def __init__(self, client: Client, journal_id: bytes) -> None:
        self.id = journal_id
        self._client = client

    def pages(self, first: int, last: int, page: int) -> Iterator[list[Record]]:
        """All events of a range, in pages of the server's choosing."""
        if first > last:
            return
        request = v1.ReadEventsRequest(from_revision=first, to_revision=last)
        for response in self._client.stream(READ_EVENTS, request):
            yield [record_of_event(event) for event in response.events]

    def before(self, stream: bytes, revision: int) -> Record | None:
        """The last event of a stream before a revision."""
        filter = v1.EventFilter(stream=text_of(stream))
        request = v1.ReadEventsRequest(filter=filter, to_revision=revision - 1, backwards=True, limit=1)
        for response in self._client.stream(READ_EVENTS, request):
            return record_of_event(response.events[0])
        return None


def _expected(text: str) -> tuple[int, bytes] | None:
    if not text:
        return None
    noted = _NOTED.fullmatch(text)
    if noted is None:
        raise typer.BadParameter(
            f"{text!r} is not a revision, a colon and a root of 64 hexadecimal digits, as journal head showed them.",
            param_hint="--expect",
        )
    return int(noted[1]), bytes.fromhex(noted[2])
