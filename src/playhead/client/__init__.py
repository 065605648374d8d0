"""Talking to the service: one interface, `Client`, and two implementations that behave alike.

`connect()` gives the one that the settings select: `EmbeddedClient` on a database file, with no server, or
`RemoteClient` over gRPC. Requests and responses are the messages of `playhead.v1`; errors are those of
`playhead.exceptions`.
"""
