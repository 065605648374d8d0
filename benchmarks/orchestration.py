"""What decisions cost beyond the plain one: ten more rules that fire, and slots that change hands."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

import uuid_utils

from benchmarks.edge import load
from benchmarks.progress import Steps
from benchmarks.servers import playhead_server
from playhead import v1
from playhead.client.interface import PROPOSE_STATE, SET_CONCURRENCY_LIMIT
from playhead.client.remote import RemoteClient
from playhead.engine.execution.turns import turn_of

KEYS = ("ten_rules_rps", "slot_handover_ms")
ROUNDS = 5
HANDOVERS = 200
TAG = "measured"


def measure(steps: Steps, *, quick: bool) -> dict[str, float]:
    """The figures of `KEYS`. Takes half a minute."""
    rounds, scale = (1, 0.2) if quick else (ROUNDS, 1.0)
    rates = []
    with (
        tempfile.TemporaryDirectory() as folder,
        playhead_server(Path(folder), "--policy", "benchmarks.ten_rules:policy") as server,
        steps.step("ten rules firing", rounds) as advance,
    ):
        for _ in range(rounds):
            rates.append(load(server, "playhead", scale)["unary_rps"])
            advance()
    handovers = int(HANDOVERS * scale)
    with (
        tempfile.TemporaryDirectory() as folder,
        playhead_server(Path(folder)) as server,
        steps.step("slots changing hands", handovers) as advance,
        closing(RemoteClient(f"grpc://{server.address}")) as client,
    ):
        took = []
        for seconds in _handovers(client, handovers):
            took.append(seconds)
            advance()
    return {"ten_rules_rps": median(rates), "slot_handover_ms": median(took) * 1e3}


def _handovers(client: RemoteClient, count: int) -> Iterator[float]:
    """Seconds from the report that frees a slot until the process that waits for it knows that it is its turn."""
    client.unary(SET_CONCURRENCY_LIMIT, v1.SetConcurrencyLimitRequest(request_id=_id(), limit=f"tag:{TAG}", slots=1))
    holder = _start(client).run_id
    for _ in range(count):
        waiting = _start(client)
        turn = turn_of(client, waiting.run_id, waiting.meta.revision, 60)
        told: list[float] = []
        turn.add_done_callback(lambda _, told=told: told.append(time.perf_counter()))  # type: ignore[misc] # bound per turn
        started = time.perf_counter()
        _propose(client, holder, v1.COMPLETED)
        turn.result()
        yield told[0] - started
        _propose(client, waiting.run_id, v1.RUNNING)
        holder = waiting.run_id


def _start(client: RemoteClient) -> v1.ProposeStateResponse:
    """A new task run that wants to run."""
    spec = v1.TaskRunSpec(id=_id(), task_key="benchmarks.orchestration", tags=[TAG])
    request = v1.ProposeStateRequest(request_id=_id(), create_task_run=spec, state=v1.State(type=v1.RUNNING))
    return client.unary(PROPOSE_STATE, request)


def _propose(client: RemoteClient, task_run_id: str, type: v1.StateType.ValueType) -> None:
    state = v1.State(type=type)
    answer = client.unary(PROPOSE_STATE, v1.ProposeStateRequest(request_id=_id(), task_run_id=task_run_id, state=state))
    if answer.decision != v1.ACCEPT:
        raise RuntimeError(f"refused: {answer}")


def _id() -> str:
    return str(uuid_utils.uuid7())
