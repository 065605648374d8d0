"""A disk that is full or read-only: commands are refused by name, reads go on, and all is well once it is mended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from playhead import v1
from playhead.client.interface import GET_HEAD, LIST_FLOW_RUNS, LIST_TASK_RUNS, Client
from playhead.client.remote import RemoteClient
from playhead.exceptions import NotFound
from playhead.journal.errors import JournalFull, JournalReadOnly
from tests.processes.checking import check_journal
from tests.processes.disks import Disk, disk_of, kinds, make_writable
from tests.processes.load import Asked, Load
from tests.processes.serving import Server

TRIES = 500
REFUSALS = 20


@pytest.fixture(params=kinds())
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A disk of each kind that this machine can make."""
    with disk_of(request.param, tmp_path) as made:
        yield made


def test_a_full_disk_refuses_commands_until_there_is_room(disk: Disk) -> None:
    load = Load(23)
    with Server(str(disk.database), *disk.options) as server, closing(RemoteClient(server.address)) as client:
        for asked in (*load.opening(), *islice(load.commands(), 50)):
            client.unary(*asked)
        disk.fill()
        refused = refused_for_want_of_room(client, load)
        disk.free()
        for asked in refused:
            client.unary(*asked)
        assert server.stop() == 0
    requests = {record.request_id.hex() for record in check_journal(str(disk.database)) if record.request_id}
    assert requests >= {asked[1].request_id.replace("-", "") for asked in refused}


def test_a_read_only_journal_refuses_commands_until_it_can_be_written(tmp_path: Path) -> None:
    load = Load(29)
    folder = tmp_path / "disk"
    folder.mkdir()
    database = str(folder / "journal.db")
    with Server(database) as server, closing(RemoteClient(server.address)) as client:
        for asked in (*load.opening(), *islice(load.commands(), 50)):
            client.unary(*asked)
        server.kill()  # which leaves SQLite's log, so that the database can be read without writing
    make_writable(folder, False)
    with Server(database, unprivileged=True) as server, closing(RemoteClient(server.address)) as client:
        before = everything(client)
        refused = list(islice(load.commands(), REFUSALS))
        for asked in refused:
            with pytest.raises(JournalReadOnly):
                client.unary(*asked)
        assert everything(client) == before
        make_writable(folder, True)
        for asked in refused:
            client.unary(*asked)
        assert everything(client) != before
        assert server.stop() == 0
    check_journal(database)


def refused_for_want_of_room(client: Client, load: Load) -> list[Asked]:
    """Send commands until enough were refused, each without a trace; those. Small ones may still find a place."""
    refused: list[Asked] = []
    before = everything(client)
    for asked in islice(load.commands(), TRIES):
        try:
            client.unary(*asked)
        except JournalFull:
            refused.append(asked)
            assert everything(client) == before
            if len(refused) == REFUSALS:
                return refused
        except NotFound:
            assert refused, "a command for a run that was not refused"
        else:
            before = everything(client)
    raise AssertionError("there was always room")


def everything(client: Client) -> list[object]:
    """The head and all runs."""
    return [
        client.unary(GET_HEAD, v1.GetHeadRequest()),
        client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest(page_size=1_000)),
        client.unary(LIST_TASK_RUNS, v1.ListTaskRunsRequest(page_size=1_000)),
    ]
