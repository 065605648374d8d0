"""Which client: a server when one is named, else a journal of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playhead import settings

if TYPE_CHECKING:
    from playhead.client.interface import Client


def connect(api_url: str | None = None, database: str | None = None) -> Client:
    """The client that the arguments, else the settings, select.

    `api_url` ("grpc://host:port" or "unix:/path") names a server; unset, PLAYHEAD_API_URL does. Without either, or when
    a `database` is given, the client is embedded: it works on that database, by default PLAYHEAD_DATABASE, else
    ~/.playhead/journal.db.
    Close it when done. Raises BadRequest when both are given, or for an address of another form.
    """
    if api_url and database:
        from playhead.exceptions import BadRequest

        raise BadRequest("names a server, which has its own database: give one of the two", field="api_url")
    if database is None and (api_url := api_url or settings.api_url()):
        from playhead.client.remote import RemoteClient  # loads gRPC

        return RemoteClient(api_url)
    from playhead.client.embedded import EmbeddedClient  # loads SQLAlchemy

    return EmbeddedClient(database or settings.database())
