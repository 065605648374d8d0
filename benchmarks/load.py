"""The client process of `edge.py`: `python -m benchmarks.load ADDRESS echo|playhead SCALE` prints its figures as JSON.

The same proposals go to both servers: RUNNING, then COMPLETED, for task runs of one flow run. For the real server the
runs are created before the clock starts, and every proposal has to be accepted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import grpc
import uuid_utils

from benchmarks import echo
from playhead import v1

IN_FLIGHT = 32
BATCH = 100
WARM_UP_RUNS = 50
UNARY_RUNS = 1_500
ALONE_RUNS = 400
STREAM_RUNS = 5_000
SERVICE = "/playhead.v1.Orchestration"


async def main(address: str, kind: str, scale: float) -> dict[str, float]:
    """unary_rps, p50_ms and, of the real server, stream_pps. `scale` shortens the rounds."""
    async with grpc.aio.insecure_channel(address) as channel:
        new_runs = _MadeUpRuns() if kind == "echo" else await _RealRuns.of(channel)
        propose = _propose(channel, kind)
        await _rate(propose, await new_runs.take(WARM_UP_RUNS))
        figures = {
            "unary_rps": await _rate(propose, await new_runs.take(int(UNARY_RUNS * scale))),
            "p50_ms": await _median_ms(propose, await new_runs.take(int(ALONE_RUNS * scale))),
        }
        if kind == "playhead":
            figures["stream_pps"] = await _stream_rate(channel, await new_runs.take(int(STREAM_RUNS * scale)))
        return figures


async def _rate(propose: Any, runs: Sequence[str]) -> float:
    """Proposals per second with 32 in flight."""
    lanes = [[_proposals(run) for run in runs[lane::IN_FLIGHT]] for lane in range(IN_FLIGHT)]

    async def work(lane: list[tuple[v1.ProposeStateRequest, ...]]) -> None:
        for running, completed in lane:
            _check(await propose(running))
            _check(await propose(completed))

    started = time.perf_counter()
    await asyncio.gather(*map(work, lanes))
    return 2 * len(runs) / (time.perf_counter() - started)


async def _median_ms(propose: Any, runs: Sequence[str]) -> float:
    """How long one proposal takes when it is alone."""
    took = []
    for request in [request for run in runs for request in _proposals(run)]:
        started = time.perf_counter()
        _check(await propose(request))
        took.append(time.perf_counter() - started)
    return median(took) * 1e3


async def _stream_rate(channel: grpc.aio.Channel, runs: Sequence[str]) -> float:
    """Proposals per second over one ProposeStates call, a hundred to a message."""
    pairs = [_proposals(run) for run in runs]
    batches = [
        v1.ProposeStatesRequest(
            items=[v1.ProposeStatesItem(request=pair[which]) for pair in pairs[first : first + BATCH]]
        )
        for first in range(0, len(pairs), BATCH)
        for which in (0, 1)
    ]
    call = channel.stream_stream(
        f"{SERVICE}/ProposeStates",
        request_serializer=v1.ProposeStatesRequest.SerializeToString,
        response_deserializer=v1.ProposeStatesResponse.FromString,
    )
    started = time.perf_counter()
    async for response in call(iter(batches)):
        for answer in response.answers:
            _check(answer.response)
    return 2 * len(runs) / (time.perf_counter() - started)


def _propose(channel: grpc.aio.Channel, kind: str) -> Any:
    response = v1.ProposeStateRequest if kind == "echo" else v1.ProposeStateResponse
    return channel.unary_unary(
        echo.METHOD if kind == "echo" else f"{SERVICE}/ProposeState",
        request_serializer=v1.ProposeStateRequest.SerializeToString,
        response_deserializer=response.FromString,
    )


def _proposals(run: str) -> tuple[v1.ProposeStateRequest, ...]:
    result = v1.Result(inline=b'{"rows": 31}', media_type="application/json", size_bytes=12)
    states = v1.State(type=v1.RUNNING), v1.State(type=v1.COMPLETED, result=result)
    return tuple(v1.ProposeStateRequest(request_id=_id(), task_run_id=run, state=state) for state in states)


def _check(answer: v1.ProposeStateRequest | v1.ProposeStateResponse) -> None:
    if isinstance(answer, v1.ProposeStateResponse) and answer.decision != v1.ACCEPT:
        raise RuntimeError(f"refused: {answer}")


def _id() -> str:
    return str(uuid_utils.uuid7())


class _MadeUpRuns:
    async def take(self, count: int) -> list[str]:
        """Ids of no runs: the echo does not ask."""
        return [_id() for _ in range(count)]


class _RealRuns:
    """Pending task runs of one running flow run."""

    def __init__(self, channel: grpc.aio.Channel, flow_run_id: str) -> None:
        self._channel, self._flow_run_id, self._made = channel, flow_run_id, 0

    @classmethod
    async def of(cls, channel: grpc.aio.Channel) -> _RealRuns:
        """Start the flow run that they belong to."""
        flow = await _call(
            channel, "RegisterFlow", v1.RegisterFlowRequest(request_id=_id(), flow_id=_id(), name="load")
        )
        spec = v1.FlowRunSpec(id=_id(), flow_id=flow.flow.id)
        running = v1.State(type=v1.RUNNING)
        request = v1.ProposeStateRequest(request_id=_id(), create_flow_run=spec, state=running)
        _check(await _call(channel, "ProposeState", request))
        return cls(channel, spec.id)

    async def take(self, count: int) -> list[str]:
        """Create `count` task runs and answer their ids."""
        ids: list[str] = []
        while len(ids) < count:
            made = [self._create() for _ in range(min(IN_FLIGHT, count - len(ids)))]
            ids += [answer.task_run.spec.id for answer in await asyncio.gather(*made)]
        return ids

    async def _create(self) -> Any:
        self._made += 1
        spec = v1.TaskRunSpec(
            flow_run_id=self._flow_run_id,
            task_key="benchmarks.load",
            dynamic_key=str(self._made),
            state=v1.State(type=v1.PENDING),
        )
        return await _call(self._channel, "CreateTaskRun", v1.CreateTaskRunRequest(request_id=_id(), spec=spec))


async def _call(channel: grpc.aio.Channel, name: str, request: Any) -> Any:
    response = getattr(v1, f"{name}Response")
    call = channel.unary_unary(
        f"{SERVICE}/{name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=response.FromString,
    )
    return await call(request)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))))
