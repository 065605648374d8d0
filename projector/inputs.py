"""The reads of the `Inputs` service of the contract, without the wire: messages in, messages out. Blocking; any
thread.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from playhead import v1
from playhead.exceptions import NotFound, RevisionNotReached
from playhead.journal import checks
from playhead.journal.encoding import text_of
from playhead.journal.hub import Beyond, blocking
from playhead.journal.journal import Journal
from playhead.journal.record import record_of
from playhead.projector.filters import Clause
from playhead.projector.moments import Moments
from playhead.projector.paging import PAGE_SIZE_MAX, fitting
from playhead.projector.reads import Reads
from playhead.projector.showing import input_of

Asked = v1.ListInputsRequest | v1.ReceiveInputsRequest


INPUT_KINDS = ("input_sent", "input_deleted")


class InputsService:
    """Inputs of flow runs, now or at any revision; the stream of `receiving` yields `Beyond` where it would block."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._moments = Moments(journal)
        self._reads = Reads(journal.database)

    def read_input(self, request: v1.ReadInputRequest) -> v1.ReadInputResponse:
        """One input by its key."""
        checks.input_key(request.key, "key")
        at = self._moments.at(request.read_at)
        run_id = self._existing(request.flow_run_id, at)
        is_asked_for = self._reads.tables.inputs.c.input_key == request.key
        found = self._inputs(run_id, at, [is_asked_for], after=0, size=1)
        if not found:
            raise NotFound(
                f"key: the flow run has no input {request.key!r} at revision {at}.",
                field="key",
                key=request.key,
                at=at,
            )
        return v1.ReadInputResponse(meta=self._moments.meta(at), input=found[0])

    def list_inputs(self, request: v1.ListInputsRequest) -> v1.ListInputsResponse:
        """A page of a flow run's inputs in the order in which they were sent."""
        clauses = self._clauses(request)
        page = self._moments.page(request)
        run_id = self._existing(request.flow_run_id, page.revision)
        found = self._inputs(run_id, page.revision, clauses, after=page.key or 0, size=page.size + 1)
        kept = fitting(found[: page.size], v1.RunInput.ByteSize)
        token = page.next_token(kept[-1].sent_revision) if len(kept) < len(found) else ""
        return v1.ListInputsResponse(meta=self._moments.meta(page.revision), inputs=kept, next_page_token=token)

    def receive_inputs(
        self, request: v1.ReceiveInputsRequest, timeout_s: float | None = None
    ) -> Iterator[v1.ReceiveInputsResponse]:
        """As `receiving`, blocking the caller's thread while there is nothing new."""
        return blocking(self.receiving(request), self._journal.hub, timeout_s)

    def receiving(self, request: v1.ReceiveInputsRequest) -> Iterator[v1.ReceiveInputsResponse | Beyond]:
        """Inputs after a revision, then each as it is sent."""
        clauses = self._clauses(request)
        head = self._journal.head()[0]
        if request.after_revision > head:
            raise RevisionNotReached(f"The head is revision {head}.", head=head, asked=request.after_revision)
        return self._receiving(self._existing(request.flow_run_id, head), clauses, request.after_revision)

    def _receiving(
        self, run_id: bytes, clauses: list[Clause], position: int
    ) -> Iterator[v1.ReceiveInputsResponse | Beyond]:
        first = True
        while True:
            head = self._journal.head()[0]
            found = self._inputs(run_id, head, clauses, after=position, size=PAGE_SIZE_MAX) if head > position else []
            kept = fitting(found, v1.RunInput.ByteSize)
            all_of_them = len(kept) == len(found) < PAGE_SIZE_MAX
            position = head if all_of_them else kept[-1].sent_revision
            if kept or first:
                first = False
                yield v1.ReceiveInputsResponse(meta=self._moments.meta(position), inputs=kept)
            if all_of_them:
                yield Beyond(position, kinds=INPUT_KINDS)

    def _inputs(self, run_id: bytes, at: int, clauses: list[Clause], *, after: int, size: int) -> list[v1.RunInput]:
        rows = self._reads.inputs(run_id, at, clauses, after=after, size=size)
        return [input_of(record_of(row)) for row in rows]

    def _clauses(self, request: Asked) -> list[Clause]:
        prefix = request.key_prefix
        checks.bounded_line(prefix, "key_prefix", checks.INPUT_KEY_BYTES_MAX)
        key = self._reads.tables.inputs.c.input_key
        clauses: list[Clause] = []
        if prefix:
            clauses.append(sa.func.substr(key, 1, len(prefix)) == prefix)
        if request.exclude_keys:
            clauses.append(key.not_in(checks.bounded_texts(request.exclude_keys, "exclude_keys")))
        return clauses

    def _existing(self, flow_run_id: str, at: int) -> bytes:
        """The id of a flow run, which must exist."""
        run_id = checks.id_bytes(flow_run_id, "flow_run_id")
        if self._reads.run(self._reads.tables.flow_runs, run_id, at) is None:
            raise NotFound(
                f"flow_run_id: no flow run {text_of(run_id)} at revision {at}.",
                field="flow_run_id",
                flow_run_id=text_of(run_id),
                at=at,
            )
        return run_id
