"""An orchestrator on a real database under a clock that moves when told, and the shortest way to ask it for things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import uuid_utils

from playhead import v1
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Policy
from playhead.journal.record import Caller
from tests.clocks import ManualClock
from tests.stores import made

ALICE = Caller("alice@host pid 1", "tests/1.0", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
BOB = Caller("bob@host pid 2")

SECOND_US = 1_000_000


def new_id() -> str:
    """An id as clients make them."""
    return str(uuid_utils.uuid7())


class Commanding:
    """One orchestrator, its clock, and one flow."""

    def __init__(self, store: str, policy: Policy | None = None) -> None:
        self.clock = ManualClock()
        self.orchestrator = Orchestrator.open(made(store), policy=policy, clock=self.clock, timers=False)
        self.orchestration = self.orchestrator.orchestration
        request = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="etl")
        self.flow_id = self.orchestration.register_flow(request, ALICE).result().flow.id

    def head(self) -> int:
        """The last revision."""
        return self.orchestrator.journal.head()[0]

    def flow_run(self, state: v1.StateType.ValueType | None = None, **fields: str) -> str:
        """A new flow run, in a state it was given by a proposal if one is asked for."""
        spec = v1.FlowRunSpec(id=new_id(), flow_id=self.flow_id)
        for name, value in fields.items():
            setattr(spec, name, value)
        request = v1.CreateFlowRunRequest(request_id=new_id(), spec=spec)
        run_id: str = self.orchestration.create_flow_run(request, ALICE).result().flow_run.spec.id
        if state is not None:
            assert self.propose(state, flow_run_id=run_id).decision == v1.ACCEPT
        return run_id

    def task_run(self, state: v1.StateType.ValueType | None = None, **fields: object) -> str:
        """A new task run; `fields` are those of its spec."""
        request = v1.CreateTaskRunRequest(request_id=new_id(), spec=v1.TaskRunSpec(**fields))  # type: ignore[arg-type] # any field
        run_id: str = self.orchestration.create_task_run(request, ALICE).result().task_run.spec.id
        if state is not None:
            assert self.propose(state, task_run_id=run_id).decision == v1.ACCEPT
        return run_id

    def propose(
        self, state: v1.StateType.ValueType | v1.State, caller: Caller = ALICE, **fields: object
    ) -> v1.ProposeStateResponse:
        """Propose a state; `fields` are those of the request."""
        proposed = state if isinstance(state, v1.State) else v1.State(type=state)
        request = v1.ProposeStateRequest(**{"request_id": new_id(), "state": proposed, **fields})  # type: ignore[arg-type] # any field
        answer: v1.ProposeStateResponse = self.orchestration.propose_state(request, caller).result()
        return answer

    def status(self, flow_run_id: str) -> v1.RunStatus:
        """A flow run's status now."""
        request = v1.GetFlowRunRequest(flow_run_id=flow_run_id)
        return self.orchestrator.runs.get_flow_run(request).flow_run.status

    def task_status(self, task_run_id: str) -> v1.RunStatus:
        """A task run's status now."""
        request = v1.GetTaskRunRequest(task_run_id=task_run_id)
        return self.orchestrator.runs.get_task_run(request).task_run.status

    def decisions(self, flow_run_id: str) -> list[v1.DecisionRecord]:
        """All decisions about a flow run."""
        request = v1.ListDecisionsRequest(flow_run_id=flow_run_id)
        return list(self.orchestrator.runs.list_decisions(request).decisions)


@contextmanager
def commanding(store: str, policy: Policy | None = None) -> Iterator[Commanding]:
    """An orchestrator, closed at the end."""
    command = Commanding(store, policy)
    with command.orchestrator:
        yield command
