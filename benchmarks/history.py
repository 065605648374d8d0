"""A server that takes a million events through its write path; then its past, its memory, and its views made anew.

A flow run of TASKS tasks is three events of its own and three for each task, so a journal of a million events has about
20,800 flow runs.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import grpc
import uuid_utils

from benchmarks.process import output
from benchmarks.progress import Advance, Steps
from benchmarks.servers import Server, playhead_server
from playhead import v1
from playhead.client.interface import GET_HEAD, LIST_FLOW_RUNS, REGISTER_FLOW, Client
from playhead.client.remote import RemoteClient

KEYS = ("rebuild_eps", "asof_now_ms", "asof_past_ms", "server_rss_mb")
EVENTS = 1_000_000
EVENTS_QUICK = 100_000
TASKS = 15
EVENTS_PER_FLOW_RUN = 3 + 3 * TASKS
FLOW_RUNS_PER_BATCH = 10
LISTED_RUNS = 100
LISTS = 200
SEED = 20_120_101


def measure(steps: Steps, *, quick: bool) -> dict[str, float]:
    """The figures of `KEYS`. Takes about five minutes, or half a one when quick."""
    events = EVENTS_QUICK if quick else EVENTS
    with tempfile.TemporaryDirectory() as folder:
        with playhead_server(Path(folder)) as server:
            with steps.step(f"a journal of {events:,} events", events) as advance:
                _fill(server, events, advance)
            client = RemoteClient(f"grpc://{server.address}")
            with steps.step(f"lists of {LISTED_RUNS} runs, now and then", LISTS) as advance:
                now_ms, past_ms = _list_now_and_then(client, advance)
            head = client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision
            client.close()
            memory_mb = server.memory_mb()
        with steps.step("views made anew", 1):
            rebuild_s = _rebuild_s(Path(folder) / "journal.db")
    return {
        "rebuild_eps": head / rebuild_s,
        "asof_now_ms": now_ms,
        "asof_past_ms": past_ms,
        "server_rss_mb": memory_mb,
    }


def _fill(server: Server, events: int, advance: Advance) -> None:
    """Send flow runs, a batch to a message, as fast as they are taken."""
    with grpc.insecure_channel(server.address) as channel:
        client = RemoteClient(f"grpc://{server.address}")
        register = v1.RegisterFlowRequest(request_id=_id(), flow_id=_id(), name="history")
        flow_id = client.unary(REGISTER_FLOW, register).flow.id
        client.close()
        call = channel.stream_stream(
            "/playhead.v1.Orchestration/ProposeStates",
            request_serializer=v1.ProposeStatesRequest.SerializeToString,
            response_deserializer=v1.ProposeStatesResponse.FromString,
        )
        for response in call(_batches(flow_id, events)):
            refused = [answer for answer in response.answers if answer.response.decision != v1.ACCEPT]
            if refused:
                raise RuntimeError(f"refused: {refused[0]}")
            advance(FLOW_RUNS_PER_BATCH * EVENTS_PER_FLOW_RUN)


def _batches(flow_id: str, events: int) -> Iterator[v1.ProposeStatesRequest]:
    for _ in range(events // (EVENTS_PER_FLOW_RUN * FLOW_RUNS_PER_BATCH) + 1):
        requests = [request for _ in range(FLOW_RUNS_PER_BATCH) for request in _flow_run(flow_id)]
        yield v1.ProposeStatesRequest(items=[v1.ProposeStatesItem(request=request) for request in requests])


def _flow_run(flow_id: str) -> Iterator[v1.ProposeStateRequest]:
    """Every proposal of one flow run, in order."""
    running, completed = v1.State(type=v1.RUNNING), v1.State(type=v1.COMPLETED)
    spec = v1.FlowRunSpec(id=_id(), flow_id=flow_id, tags=["history"])
    yield v1.ProposeStateRequest(request_id=_id(), create_flow_run=spec, state=running)
    for number in range(TASKS):
        task = v1.TaskRunSpec(flow_run_id=spec.id, task_key="history.step", dynamic_key=str(number))
        for state in (running, completed):
            yield v1.ProposeStateRequest(request_id=_id(), create_task_run=task, state=state)
    yield v1.ProposeStateRequest(request_id=_id(), flow_run_id=spec.id, state=completed)


def _list_now_and_then(client: Client, advance: Advance) -> tuple[float, float]:
    """Median milliseconds of a list now and of a list as of a random revision, taken in turn."""
    head = client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision
    first = LISTED_RUNS * EVENTS_PER_FLOW_RUN * 2  # by then there are enough runs to fill a page
    chance = random.Random(SEED)
    now, past = [], []
    for _ in range(LISTS):
        now.append(_ms(partial(_list, client, v1.ReadAt())))
        past.append(_ms(partial(_list, client, v1.ReadAt(revision=chance.randint(first, head)))))
        advance()
    return median(now), median(past)


def _list(client: Client, read_at: v1.ReadAt) -> None:
    page = client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest(read_at=read_at, page_size=LISTED_RUNS))
    assert len(page.flow_runs) == LISTED_RUNS, len(page.flow_runs)


def _rebuild_s(database: Path) -> float:
    """Seconds that `playhead views rebuild` takes, the start of its process included."""
    command = [str(Path(sys.executable).with_name("playhead")), "views", "rebuild", "--database", str(database)]
    return _ms(lambda: output(command, str(database.parent))) / 1e3


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def _id() -> str:
    return str(uuid_utils.uuid7())
