"""Each client on each database, the same for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import Client
from playhead.client.remote import RemoteClient
from tests.processes.bad_requests import World, world_of
from tests.processes.checking import check_journal
from tests.processes.serving import Server
from tests.stores import STORES, new_stores

KINDS = [f"{client}-{store}" for store in STORES for client in ("embedded", "remote")]


@pytest.fixture(scope="module", params=KINDS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client; what its journal has become is checked in the end."""
    kind, store = request.param.split("-")
    address = new_stores(store, request, tmp_path_factory.mktemp("client"))()
    if kind == "embedded":
        with closing(EmbeddedClient(address)) as embedded:
            yield embedded
    else:
        with Server(address) as server, closing(RemoteClient(server.address)) as remote:
            yield remote
    check_journal(address)


@pytest.fixture(scope="module")
def world(client: Client) -> World:
    """What there is in its journal."""
    return world_of(client, seed=5)
