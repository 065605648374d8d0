"""Input asked for by a pause and brought by a resume: the same on both clients and both databases."""

from __future__ import annotations

import json

from playhead import v1
from playhead.client.interface import (
    LIST_DECISIONS,
    LIST_STATES,
    PAUSE_FLOW_RUN,
    PROPOSE_STATE,
    RESUME_FLOW_RUN,
    Client,
)
from tests.processes.bad_requests import World

SCHEMA = json.dumps({"properties": {"age": {"type": "integer"}}, "required": ["age"]}).encode()


def test_a_pause_waits_for_input_that_fits(client: Client, world: World) -> None:
    def resumed(run_input: bytes) -> v1.ProposeStateResponse:
        return client.unary(
            RESUME_FLOW_RUN,
            v1.ResumeFlowRunRequest(request_id=world.ids.new_id(), flow_run_id=run_id, run_input=run_input),
        )

    spec = v1.FlowRunSpec(id=world.ids.new_id(), flow_id=world.flow_id)
    running = v1.ProposeStateRequest(
        request_id=world.ids.new_id(), create_flow_run=spec, state=v1.State(type=v1.RUNNING)
    )
    run_id = client.unary(PROPOSE_STATE, running).run_id
    asking = v1.PauseFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=run_id, pause_key="age", run_input_schema=SCHEMA
    )
    assert client.unary(PAUSE_FLOW_RUN, asking).decision == v1.ACCEPT
    refused = resumed(b'{"age": "x"}')
    assert (refused.decision, refused.rule, refused.state.type) == (v1.REJECT, "ValidateRunInput", v1.PAUSED)
    assert refused.reason == 'run_input.age: "x" is not of type "integer"'
    taken = resumed(b'{"age": 7}')
    assert (taken.decision, taken.state.details.run_input) == (v1.ACCEPT, b'{"age": 7}')
    states = client.unary(LIST_STATES, v1.ListStatesRequest(flow_run_id=run_id)).states
    assert [state.details.run_input for state in states if state.details.run_input] == [b'{"age": 7}']
    decisions = client.unary(LIST_DECISIONS, v1.ListDecisionsRequest(flow_run_id=run_id)).decisions
    assert [(record.decision, record.rule) for record in decisions[-2:]] == [
        (v1.REJECT, "ValidateRunInput"),
        (v1.ACCEPT, ""),
    ]
