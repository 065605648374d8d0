"""How soon a flow run that waits for input has it: from the call that sends it, its commit included.

`python -m benchmarks.inputs DATABASE FLOW_RUN COUNT` sends from a process of its own. An input's value is when it was
sent, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

import uuid_utils

from benchmarks.progress import Steps
from benchmarks.servers import playhead_server
from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import CREATE_FLOW_RUN, REGISTER_FLOW, SEND_INPUT, Client
from playhead.client.remote import RemoteClient
from playhead.engine.execution.watching import inputs_wanted

KEYS = tuple(f"input_{way}_{figure}" for way in ("here", "process", "server") for figure in ("ms", "max_ms"))
INPUTS = 200
PAUSE_S = 0.02
"""Between sends, so that the receiver waits by then."""


def measure(steps: Steps, *, quick: bool) -> dict[str, float]:
    """The figures of `KEYS`. Takes a quarter of a minute."""
    count = INPUTS // 5 if quick else INPUTS
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, closing(EmbeddedClient(f"{folder}/journal.db")) as client:
        took["here"] = _received(steps, client, count, lambda run: _beside(lambda: send(client, run, count)))
        command = [sys.executable, "-m", "benchmarks.inputs", f"{folder}/journal.db"]
        took["process"] = _received(
            steps, client, count, lambda run: subprocess.Popen([*command, run, str(count)]).wait
        )
    with (
        tempfile.TemporaryDirectory() as folder,
        playhead_server(Path(folder)) as server,
        closing(RemoteClient(f"grpc://{server.address}")) as remote,
    ):
        took["server"] = _received(steps, remote, count, lambda run: _beside(lambda: send(remote, run, count)))
    return {
        f"input_{way}_{figure}": of(seconds) * 1e3
        for way, seconds in took.items()
        for figure, of in (("ms", median), ("max_ms", max))
    }


def send(client: Client, flow_run_id: str, count: int) -> None:
    """Send inputs, each when whoever receives has had time to wait for it."""
    for number in range(count):
        time.sleep(PAUSE_S)
        request = v1.SendInputRequest(request_id=_id(), flow_run_id=flow_run_id, key=str(number))
        request.value = repr(time.perf_counter()).encode()
        client.unary(SEND_INPUT, request)


def _received(steps: Steps, client: Client, count: int, begin: Callable[[str], Callable[[], object]]) -> list[float]:
    """Seconds from the sending of each input until it was received. `begin` starts sending, and gives what ends it."""
    flow = v1.RegisterFlowRequest(request_id=_id(), flow_id=_id(), name="benchmarks.inputs")
    spec = v1.FlowRunSpec(id=_id(), flow_id=client.unary(REGISTER_FLOW, flow).flow.id)
    client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=_id(), spec=spec))
    request = v1.ReceiveInputsRequest(flow_run_id=spec.id)
    took: list[float] = []
    with steps.step("inputs received", count) as advance:
        end = begin(spec.id)
        while len(took) < count:
            response = inputs_wanted(client, request, None).result()
            assert response is not None
            now = time.perf_counter()
            took += [now - float(each.value) for each in response.inputs]
            request.after_revision = response.meta.revision
            advance()
        end()
    return took


def _beside(function: Callable[[], None]) -> Callable[[], object]:
    thread = threading.Thread(target=function)
    thread.start()
    return thread.join


def _id() -> str:
    return str(uuid_utils.uuid7())


if __name__ == "__main__":
    with closing(EmbeddedClient(sys.argv[1])) as own:
        send(own, sys.argv[2], int(sys.argv[3]))
