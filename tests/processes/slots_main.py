"""One of the processes that want slots: `python -m tests.processes.slots_main ADDRESS FLOW_RUN_ID INDEX RUNS`.

It says "ready", waits for a line, then has many task runs take slots at the same time, each in a thread of its own, and
says "done" when all of them have run.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from playhead import v1
from playhead.client.interface import PROPOSE_STATE, Client
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.turns import turn_of
from tests.processes.contending import client_of

TAG = "contended"


def main(address: str, flow_run_id: str, index: str, runs: str) -> None:
    """Want slots, together with the others."""
    client = client_of(address)
    print("ready", flush=True)
    sys.stdin.readline()

    def live(number: int) -> None:
        spec = v1.TaskRunSpec(flow_run_id=flow_run_id, task_key="t", dynamic_key=f"{index}-{number}", tags=[TAG])
        run_id = take(client, v1.ProposeStateRequest(create_task_run=spec, state=v1.State(type=v1.RUNNING)))
        ended = v1.ProposeStateRequest(request_id=new_id(), task_run_id=run_id, state=v1.State(type=v1.COMPLETED))
        assert client.unary(PROPOSE_STATE, ended).decision == v1.ACCEPT

    with ThreadPoolExecutor(int(runs)) as threads:
        for _ in threads.map(live, range(int(runs))):
            pass
    print("done", flush=True)
    client.close()


def take(client: Client, request: v1.ProposeStateRequest) -> str:
    """Propose RUNNING until the run is, asking again when it is told of its turn; its id."""
    while True:
        request.request_id = new_id()
        answer = client.unary(PROPOSE_STATE, request)
        if answer.decision == v1.ACCEPT:
            return answer.run_id
        assert answer.waits_for_slots, answer
        # An hour: whoever is not told of its turn makes the test fail.
        turn_of(client, answer.run_id, answer.meta.revision, 3_600).result()


if __name__ == "__main__":
    main(*sys.argv[1:])
