"""Processes that want the same things at the same time, and what they must find afterwards."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import (
    GET_FLOW_RUN,
    GET_HEAD,
    LIST_FLOW_RUNS,
    LIST_TASK_RUNS,
    PROPOSE_STATE,
    UPDATE_RUN,
    Client,
)
from playhead.client.remote import RemoteClient
from playhead.exceptions import VersionMismatch
from tests.processes.load import Load

IN_FLIGHT = 16
SHARED = 200
"""Commands that every process sends, each in an order of its own, under the same request ids."""

CLAIMED = 8
"""Runs that every process wants to be the one to run."""

CHANGES = 15
"""Changes that each process makes to the same run, every one based on what it read."""


@dataclass
class Found:
    """What one process was answered: shared commands by request id, versions it set, runs it got, the head at last."""

    answers: dict[str, str] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    revision: int = 0


def client_of(address: str) -> Client:
    """A client of a server, or of a database."""
    return RemoteClient(address) if address.startswith("grpc://") else EmbeddedClient(address)


def begin(client: Client, seed: int) -> None:
    """What has to be there before they meet."""
    for method, request in _load(seed).opening():
        client.unary(method, request)


def contend(client: Client, seed: int, index: int) -> Found:
    """Do the shared commands, claim the shared runs, change the shared run, all mixed."""
    load = _load(seed)
    load.opening()
    found = Found()
    chance = random.Random(index)
    own = Load(seed * 1_000 + index)
    shared = list(itertools.islice(load.commands(), SHARED))
    steps = [*range(CLAIMED), *(None for _ in range(CHANGES))]
    claimed = [load.new_id() for _ in range(CLAIMED)]
    chance.shuffle(shared)
    chance.shuffle(steps)
    parts = [shared[start : start + IN_FLIGHT] for start in range(0, SHARED, IN_FLIGHT)]
    for part, step in itertools.zip_longest(parts, steps):
        for (_, request), future in [(asked, client.submit(*asked)) for asked in part or []]:
            found.answers[request.request_id] = future.result().SerializeToString(deterministic=True).hex()
        if step is not None:
            _claim(client, own, load.flow_id, claimed[step], found)
        else:
            _change(client, own, load.flow_runs[0], found)
    found.revision = client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision
    return found


def seen(client: Client, revision: int) -> list[str]:
    """All runs as of a revision, waited for."""
    read_at = v1.ReadAt(revision=revision, min_revision=revision)
    flow_runs = client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest(read_at=read_at, page_size=1_000)).flow_runs
    task_runs = client.unary(LIST_TASK_RUNS, v1.ListTaskRunsRequest(read_at=read_at, page_size=1_000)).task_runs
    return [run.SerializeToString(deterministic=True).hex() for run in (*flow_runs, *task_runs)]


def _load(seed: int) -> Load:
    return Load(seed, growth=0)


def _claim(client: Client, own: Load, flow_id: str, run_id: str, found: Found) -> None:
    """Want to run a run, which is made on the way by whoever comes first."""
    request = v1.ProposeStateRequest(
        request_id=own.new_id(),
        create_flow_run=v1.FlowRunSpec(id=run_id, flow_id=flow_id),
        state=v1.State(type=v1.RUNNING),
        lease_ttl=Duration(seconds=3_600),
    )
    answer = client.unary(PROPOSE_STATE, request)
    assert answer.decision in (v1.ACCEPT, v1.WAIT), answer
    if answer.decision == v1.ACCEPT:
        found.claims.append(run_id)


def _change(client: Client, own: Load, run_id: str, found: Found) -> None:
    """Read a run and change what was read, until nobody came in between."""
    for request in _changes(client, own, run_id):
        try:
            answer = client.unary(UPDATE_RUN, request)
        except VersionMismatch:
            continue
        found.versions.append(answer.status.version)
        return


def _changes(client: Client, own: Load, run_id: str) -> Iterator[v1.UpdateRunRequest]:
    while True:
        run = client.unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=run_id)).flow_run
        yield v1.UpdateRunRequest(
            request_id=own.new_id(),
            flow_run_id=run_id,
            name=f"after {run.status.version}",
            expected_version=run.status.version,
        )
