"""Hundreds of task runs on several processes want the few slots of a limit."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import LIST_SLOT_USERS, PROPOSE_STATE, REGISTER_FLOW, SET_CONCURRENCY_LIMIT
from playhead.engine.execution.ids import new_id
from playhead.journal.encoding import text_of
from tests.processes.checking import check_journal
from tests.processes.serving import ROOT, Server
from tests.processes.slots_main import TAG, take

HOLDER = """
from playhead.concurrency.sync import concurrency
with concurrency("db"):
    print("holding", flush=True)
    input()
"""

PROCESSES = 4
RUNS = 60
SLOTS = 3


@dataclass
class Line:
    """One limit as its events tell: never more holders than slots, none lost, nobody overtaken."""

    slots: int = 0
    holding: set[str] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)
    served: int = 0

    def add(self, run_id: str, event: v1.Event) -> None:
        """Take an event into account."""
        what = event.WhichOneof("what")
        if what != "slots_granted":
            assert not (self.waiting and len(self.holding) < self.slots), "nobody waits while there is a free slot"
        if what == "concurrency_limit_set":
            self.slots = event.concurrency_limit_set.limit.slots
        elif what == "slots_granted":
            self._change(run_id, event.slots_granted.status)
        elif what == "state_proposed" and event.state_proposed.HasField("status"):
            self._change(run_id, event.state_proposed.status)

    def _change(self, run_id: str, status: v1.RunStatus) -> None:
        if not status.slots:
            self.holding.discard(run_id)
        elif run_id not in self.holding:
            assert self.waiting[:1] in ([], [run_id]), "who came first is served first"
            self.holding.add(run_id)
            self.served += 1
        if not status.HasField("slot_wait"):
            self.waiting = [other for other in self.waiting if other != run_id]
        elif run_id not in self.waiting:
            self.waiting.append(run_id)
        assert len(self.holding) <= self.slots, "never more than there are"


def test_contenders_on_one_database_share_the_slots(store: str) -> None:
    flow_run_id = begin(store)
    compete([store] * PROCESSES, flow_run_id)
    check(store)


def test_contenders_on_several_servers_share_the_slots(store: str) -> None:
    flow_run_id = begin(store)
    with ExitStack() as servers:
        compete([servers.enter_context(Server(store)).address for _ in range(2)] * (PROCESSES // 2), flow_run_id)
    check(store)


def test_a_holder_that_dies_loses_its_slots(store: str) -> None:
    flow_run_id = begin(store)
    with closing(EmbeddedClient(store)) as client:
        client.unary(
            SET_CONCURRENCY_LIMIT, v1.SetConcurrencyLimitRequest(request_id=new_id(), limit="name:db", slots=1)
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PLAYHEAD_DATABASE": store,
                "PLAYHEAD_LEASE_TTL_S": "3",
                "PLAYHEAD_LEASE_RENEWAL_S": "1",
            },
        )
        try:
            assert _line(holder) == "holding"
        finally:
            holder.kill()
            holder.communicate()
        spec = v1.TaskRunSpec(flow_run_id=flow_run_id, task_key="t", dynamic_key="0", slots={"db": 1})
        # The lease lapses, a timer notices, the slot goes to the one who waits.
        take(client, v1.ProposeStateRequest(create_task_run=spec, state=v1.State(type=v1.RUNNING)))
        users = client.unary(LIST_SLOT_USERS, v1.ListSlotUsersRequest(limit="name:db")).users
        assert len(users) == 1
    check_journal(store)


def begin(database: str) -> str:
    """A limit, and a flow run whose tasks will want its slots; its id."""
    with closing(EmbeddedClient(database)) as client:
        limit = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit=f"tag:{TAG}", slots=SLOTS)
        client.unary(SET_CONCURRENCY_LIMIT, limit)
        flow = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="contended")
        flow_id = client.unary(REGISTER_FLOW, flow).flow.id
        run = v1.FlowRunSpec(id=new_id(), flow_id=flow_id)
        request = v1.ProposeStateRequest(request_id=new_id(), create_flow_run=run, state=v1.State(type=v1.RUNNING))
        return client.unary(PROPOSE_STATE, request).run_id


def compete(addresses: list[str], flow_run_id: str) -> None:
    """Let a process at each address have many task runs take slots at the same time, until all of them have run."""
    command = [sys.executable, "-m", "tests.processes.slots_main"]
    processes = [
        subprocess.Popen(
            [*command, address, flow_run_id, str(index), str(RUNS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for index, address in enumerate(addresses)
    ]
    try:
        assert [_line(process) for process in processes] == ["ready"] * len(processes)
        for process in processes:
            assert process.stdin is not None
            print("go", file=process.stdin, flush=True)
        assert [_line(process) for process in processes] == ["done"] * len(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def check(database: str) -> None:
    """Follow the limit through the whole journal."""
    line = Line()
    with closing(EmbeddedClient(database, timers=False)) as client:
        journal = client.orchestrator.journal
        for record in journal.read(1, journal.head()[0], limit=1_000_000):
            line.add(text_of(record.stream), v1.Event.FromString(record.payload or b""))
    assert line.served == PROCESSES * RUNS, "everybody was served, once"
    assert (line.holding, line.waiting) == (set(), [])
    check_journal(database)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
