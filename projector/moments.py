"""The moment that a read shows, and the page of it: the same for every service that reads."""

from __future__ import annotations

from typing import Any

from playhead import v1
from playhead.exceptions import BadPageToken, DeadlinePassed, RevisionNotReached
from playhead.journal import checks
from playhead.journal.encoding import text_of
from playhead.journal.journal import Journal
from playhead.projector.paging import Page, page_of

MIN_REVISION_WAIT_S = 30.0
"""How long a blocking read waits for min_revision before DeadlinePassed."""


class Moments:
    """Moments of one journal. Blocking; any thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._journal_id = text_of(journal.id)

    def at(self, read_at: v1.ReadAt) -> int:
        """The revision a read shows. Raises RevisionNotReached beyond the head, DeadlinePassed for min_revision."""
        if read_at.min_revision:
            self._reach(read_at.min_revision)
        which = read_at.WhichOneof("at")
        if which == "time":
            return self._journal.revision_at(checks.micros(read_at.time, "read_at.time"))
        head = self._journal.head()[0]
        if which == "revision":
            if read_at.revision > head:
                raise RevisionNotReached(f"The head is revision {head}.", head=head, asked=read_at.revision)
            return read_at.revision
        return head

    def page(self, request: Any) -> Page:
        """The page a List request asks for, of the moment that its token pins. Raises BadPageToken, and as `at`."""
        page = page_of(request, None)
        if page is None:
            page = page_of(request, self.at(request.read_at))
            assert page is not None
        elif page.revision > self._journal.head()[0]:
            raise BadPageToken("of a revision that this journal has not reached", field="page_token")
        return page

    def meta(self, revision: int) -> v1.ResponseMeta:
        """What a response says of the journal."""
        return v1.ResponseMeta(journal_id=self._journal_id, revision=revision)

    def _reach(self, revision: int) -> None:
        if self._journal.head()[0] < revision and not self._journal.hub.wait(revision - 1, MIN_REVISION_WAIT_S):
            raise DeadlinePassed(
                f"Revision {revision} was not reached within {MIN_REVISION_WAIT_S:.0f} s.", min_revision=revision
            )
