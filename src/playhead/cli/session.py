"""What one command works with: where it reads, as of when, and how it prints. Nothing is opened before it is used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from playhead import settings

if TYPE_CHECKING:
    from playhead import v1
    from playhead.client.interface import Client, Request, Response, Unary
    from playhead.engine.orchestration.asking import Due
    from playhead.engine.orchestration.policy import Policy
    from playhead.engine.orchestration.timers import Timers
    from playhead.exceptions import BadRequest
    from playhead.replay.diff import Kind

CALL_TIMEOUT_S = 10.0
"""How long a call may take: a person waits for it."""


class Session:
    """One command's connection. Use it as a context manager."""

    def __init__(self, api_url: str | None, database: str | None, as_json: bool, as_of: str | None) -> None:
        self.as_json = as_json
        self.over = False
        """Whether the command has ended; what it left to other threads ends then."""
        self._as_of = as_of
        self._given = api_url, database
        self.api_url = api_url or (None if database else settings.api_url())
        self.database = None if self.api_url else database or settings.database()
        self._unloadable: BadRequest

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.over = True
        if "client" in self.__dict__:
            self.client.close()

    @cached_property
    def client(self) -> Client:
        """The server, or the database as if it were one. Raises NotAJournal where there is none.

        On a database nothing is decided because a command looks: see `keeps_open` and `due`. So who looks needs no
        policy, and one that can not be loaded here is told to who would decide by it.
        """
        from playhead.exceptions import BadRequest

        if all(self._given):
            raise BadRequest("names a server, which has its own database: give one of the two", field="--api-url")
        if self.api_url is not None:
            from playhead.client.remote import RemoteClient

            return RemoteClient(self.api_url, timeout_s=CALL_TIMEOUT_S)
        assert self.database is not None
        from playhead.client.embedded import EmbeddedClient
        from playhead.engine.orchestration.policy import core_policy

        policy = self._policy or core_policy()
        return EmbeddedClient(self.database, timeout_s=CALL_TIMEOUT_S, timers=False, make=False, policy=policy)

    def keeps_open(self) -> None:
        """From now on this process sees to what falls due, as others do that have a journal open for a while."""
        if (timers := self._timers()) is not None and self._policy is not None:
            timers.start()

    def due(self) -> dict[str, Due]:
        """What has fallen due about runs that nobody has decided yet, by their ids. A server is not asked: it decides
        within a second. Of the past there is nothing to be told.
        """
        timers = None if self.read_at.WhichOneof("at") else self._timers()
        return {} if timers is None else {due.run_id: due for due in timers.due()}

    def decide_due(self) -> int:
        """Decide what has fallen due, and what falls due by that; how many proposals it took."""
        self._expect_policy()
        timers = self._timers()
        return 0 if timers is None else timers.decide()

    @cached_property
    def _policy(self) -> Policy | None:
        """What this process decides by, if it can be loaded."""
        from playhead.engine.orchestration.installed import chosen_policy
        from playhead.exceptions import BadRequest

        try:
            return chosen_policy()
        except BadRequest as error:
            self._unloadable = error
            return None

    def _expect_policy(self) -> None:
        """Raise why there is no policy to decide by, where there is none; a server has its own."""
        if self.database is not None and self._policy is None:
            raise self._unloadable

    def _timers(self) -> Timers | None:
        """Those of the database, if it is one."""
        client: Any = self.client
        timers: Timers | None = client.orchestrator.timers if self.database is not None else None
        return timers

    @cached_property
    def read_at(self) -> v1.ReadAt:
        """The moment that was asked for; unset: now."""
        from playhead.cli.moments import moment

        return moment(self._as_of, "--as-of")

    def call(self, method: Unary[Request, Response], request: Request) -> Response:
        """Call and wait for the answer. Raises BadRequest where a policy that can not be loaded would decide."""
        from playhead.client.interface import Command

        if isinstance(method, Command):
            self._expect_policy()
        return self.client.unary(method, request, timeout_s=CALL_TIMEOUT_S)

    def find_run(self, kind: Kind, text: str, read_at: v1.ReadAt | None = None) -> str:
        """The id of the run that is meant, by default as of the moment asked for: see `playhead.client.finding`."""
        from playhead.client.finding import find_run

        return find_run(self.client, kind, text, self.read_at if read_at is None else read_at, CALL_TIMEOUT_S)

    def revision(self, read_at: v1.ReadAt | None = None) -> int:
        """The revision of a moment, by default of the one asked for. Raises RevisionNotReached beyond the head."""
        from playhead import v1
        from playhead.client.interface import GET_HEAD, GET_REVISION_AT
        from playhead.exceptions import RevisionNotReached

        read_at = self.read_at if read_at is None else read_at
        if read_at.WhichOneof("at") == "time":
            return self.call(GET_REVISION_AT, v1.GetRevisionAtRequest(time=read_at.time)).revision
        head = self.call(GET_HEAD, v1.GetHeadRequest()).meta.revision
        if read_at.WhichOneof("at") is None:
            return head
        if read_at.revision > head:
            raise RevisionNotReached(f"The head is revision {head}.", head=head, asked=read_at.revision)
        return read_at.revision

    def open_journal(self) -> Any:
        """The journal in the database, without views or writer; close it. Raises NotOffered when a server was named."""
        from playhead.exceptions import NotOffered
        from playhead.journal.journal import Journal
        from playhead.journal.opening import open_database

        if self.database is None:
            raise NotOffered("This is done on the database, not through a server: name it with --database.")
        return Journal(open_database(self.database, make=False))
