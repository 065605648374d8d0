"""Requests as tests send them, with fresh ids."""

from __future__ import annotations

from uuid_utils import uuid7

from playhead import v1


def new_id() -> str:
    """A canonical UUIDv7."""
    return str(uuid7())


def register_flow(name: str = "hello") -> v1.RegisterFlowRequest:
    """Registers a flow."""
    return v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name=name)


def create_flow_run(flow_id: str) -> v1.CreateFlowRunRequest:
    """Creates a PENDING run of a flow."""
    spec = v1.FlowRunSpec(id=new_id(), flow_id=flow_id, state=v1.State(type=v1.PENDING))
    return v1.CreateFlowRunRequest(request_id=new_id(), spec=spec)


def propose(
    flow_run_id: str, state_type: v1.StateType.ValueType = v1.RUNNING, message: str = ""
) -> v1.ProposeStateRequest:
    """Proposes a state for a flow run."""
    state = v1.State(type=state_type, message=message)
    return v1.ProposeStateRequest(request_id=new_id(), flow_run_id=flow_run_id, state=state)
