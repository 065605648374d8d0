"""A small journal with something of everything: flows, runs, inputs, a cache entry, a retry, refusals, a rename."""

from __future__ import annotations

from uuid_utils import uuid7

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import PROPOSE_STATE, REGISTER_FLOW, UPDATE_RUN
from playhead.journal.record import Caller
from tests.stores import made


def new_id() -> str:
    """A canonical UUIDv7."""
    return str(uuid7())


class History:
    """Writes to a journal through an embedded client."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = EmbeddedClient(made(address), timers=False)
        self.journal = self.client.orchestrator.journal
        self.flow_id = self.register("etl")

    def head(self) -> int:
        """The last revision."""
        return self.journal.head()[0]

    def register(self, name: str) -> str:
        """A flow's id."""
        request = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name=name)
        return self.client.unary(REGISTER_FLOW, request).flow.id

    def flow_run(self, name: str, *tags: str) -> str:
        """A flow run that is running; its id."""
        spec = v1.FlowRunSpec(id=new_id(), flow_id=self.flow_id, name=name, tags=tags, parameters=b'{"day": 3}')
        return self.propose(v1.State(type=v1.RUNNING), create_flow_run=spec).run_id

    def task_run(self, flow_run_id: str, key: str, *inputs: str, retries: int = 0) -> str:
        """A task run that is running; its id."""
        spec = v1.TaskRunSpec(flow_run_id=flow_run_id, task_key=key, dynamic_key="0", task_version="1")
        spec.retry.retries = retries
        for name in inputs:
            spec.inputs[name].inputs.add(parameter=name)
        return self.propose(v1.State(type=v1.RUNNING), create_task_run=spec).run_id

    def propose(self, state: v1.State, **run: object) -> v1.ProposeStateResponse:
        """Propose a state for the run that the fields of the request name."""
        request = v1.ProposeStateRequest(request_id=new_id(), state=state, **run)  # type: ignore[arg-type] # a run field
        return self.client.unary(PROPOSE_STATE, request)

    def propose_all(self, items: list[v1.ProposeStatesItem]) -> None:
        """Propose at most 1,000 at once."""
        request = v1.ProposeStatesRequest(items=items)
        answers = self.client.orchestrator.orchestration.propose_states(request, Caller("tests")).result().answers
        assert not [answer for answer in answers if answer.HasField("error")]

    def rename(self, flow_run_id: str, name: str) -> None:
        """Give a flow run another name."""
        self.client.unary(UPDATE_RUN, v1.UpdateRunRequest(request_id=new_id(), flow_run_id=flow_run_id, name=name))

    def write(self) -> tuple[str, str]:
        """Something of everything; the ids of a flow run that completed and of one that failed."""
        first = self.flow_run("first", "nightly")
        load = self.task_run(first, "load", "day", "path", "limit", "columns", "source", "mode")
        self.propose(_completed(cache_key="load-3"), task_run_id=load)
        unreliable = self.task_run(first, "clean", retries=1)
        self.propose(v1.State(type=v1.FAILED, message="no space"), task_run_id=unreliable)
        self.propose(v1.State(type=v1.RUNNING), task_run_id=unreliable)
        self.propose(v1.State(type=v1.COMPLETED), task_run_id=unreliable)
        self.rename(first, "renamed")
        self.propose(v1.State(type=v1.COMPLETED), flow_run_id=first)
        self.propose(v1.State(type=v1.CANCELLING), flow_run_id=first)  # refused: it is over
        self.register("report")
        second = self.flow_run("second")
        self.propose(v1.State(type=v1.FAILED, message="broken"), flow_run_id=second)
        return first, second

    def close(self) -> None:
        """Release the database."""
        self.client.close()


def _completed(cache_key: str) -> v1.State:
    state = v1.State(type=v1.COMPLETED)
    state.details.cache_key = cache_key
    state.result.inline = b'{"rows": 3}'
    state.result.media_type = "application/json"
    return state
