"""A process that runs the flows of a module, each time in a child that is killed with one of its requests.

It reads lines of JSON, {"flow": NAME, "database": PATH, "bodies": FILE, "run": ID or "", "request": N or 0,
"recorded": whether the N-th request is decided before the child is killed, "later_s": by how much its clock is ahead},
and answers each with {"killed": whether the child was, "result": what the flow returned, or raised}.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import inspect
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any

from playhead import resume_flow_run, v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import CREATE_FLOW_RUN, GET_FLOW_RUN, REGISTER_FLOW, RENEW_LEASE, Command
from playhead.engine import enter_flow_run_engine_from_subprocess
from playhead.engine.execution.connection import get_client, use_client
from playhead.engine.execution.ids import new_id
from tests.stores import made

FLOWS: Any = importlib.import_module(sys.argv[1])

HANGS_S = 60
"""A child that takes longer says where it hangs, and ends."""


class DeadlyClient:
    """An embedded client that kills its process with a request, before or after it was decided.

    Renewals of leases do not count: how many there are depends on time.
    """

    def __init__(self, client: EmbeddedClient, request: int, recorded: bool) -> None:
        self._client = client
        self._left = request
        self._recorded = recorded
        self._lock = threading.Lock()

    def unary(self, method: Any, request: Any, *, timeout_s: float | None = None) -> Any:
        """Ask, while alive."""
        return self.submit(method, request).result(timeout_s)

    def submit(self, method: Any, request: Any, *, timeout_s: float | None = None) -> Future[Any]:
        """Ask, while alive."""
        with self._lock:
            counts = isinstance(method, Command) and method is not RENEW_LEASE
            self._left -= counts
            if not counts or self._left:
                return self._client.submit(method, request)
            if self._recorded:
                self._client.submit(method, request).result()
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("killed")

    def stream(self, method: Any, request: Any, *, timeout_s: float | None = None) -> Generator[Any, None, None]:
        """Listen."""
        return self._client.stream(method, request, timeout_s=timeout_s)

    def close(self) -> None:
        """Close the journal."""
        self._client.close()


def main() -> None:
    """Answer the lines of standard input."""
    for line in sys.stdin:
        print(json.dumps(_in_child(json.loads(line))), flush=True)


def _in_child(order: dict[str, Any]) -> dict[str, Any]:
    made(order["database"])
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_end(order, writing)
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:
        said = answer.read()
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, f"the child ended with status {status}"
    return {"killed": killed, "result": None if killed else json.loads(said)}


def _work_and_end(order: dict[str, Any], writing: int) -> None:
    """The child's life. It never returns."""
    faulthandler.dump_traceback_later(HANGS_S, exit=True)
    ahead_us = order["later_s"] * 1_000_000
    try:
        os.environ["BODIES"] = order["bodies"]
        client = EmbeddedClient(order["database"], clock=lambda: time.time_ns() // 1_000 + ahead_us)
        use_client(DeadlyClient(client, order["request"], order["recorded"]))
        result = _result_of(order["flow"], order["run"])
        os.write(writing, json.dumps(result, default=repr).encode())
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _result_of(name: str, run_id: str) -> Any:
    """Run a flow, or an existing run of it, to its end; it is resumed where it is paused and nobody works on it."""
    state: Any
    flow = FLOWS.CORPUS[name]
    if run_id and _is_paused(run_id):
        resume_flow_run(run_id)
    if run_id or name in FLOWS.OF_DEPLOYMENTS:
        state = enter_flow_run_engine_from_subprocess(run_id or _new_run(flow))
    else:
        answer = flow(return_state=True)
        state = asyncio.run(answer) if inspect.isawaitable(answer) else answer
    while state.is_paused():
        flow_run_id = state.state_details.flow_run_id
        resume_flow_run(flow_run_id)
        state = enter_flow_run_engine_from_subprocess(flow_run_id)
    return state.result(raise_on_failure=False)


def _is_paused(run_id: str) -> bool:
    run = get_client().unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=run_id)).flow_run
    return bool(run.status.state.type == v1.PAUSED)


def _new_run(flow: Any) -> str:
    """A scheduled run of a deployment."""
    request = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name=flow.name)
    flow_id = get_client().unary(REGISTER_FLOW, request).flow.id
    spec = v1.FlowRunSpec(id=new_id(), flow_id=flow_id, deployment_id=new_id(), entrypoint=flow.entrypoint)
    spec.state.type = v1.SCHEDULED
    get_client().unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
    return spec.id


if __name__ == "__main__":
    main()
