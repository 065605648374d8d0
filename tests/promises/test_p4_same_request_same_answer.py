"""P4: same request, same answer, forever: later, after reopening, from another process; and nothing is appended."""

from __future__ import annotations

from typing import Any

import pytest

from playhead import v1
from playhead.exceptions import PlayheadError, RequestIdReused
from tests.histories import CALLERS, FLOW_RUN_IDS, FLOW_RUNS, FLOWS, TASK_RUNS, Life, an_id, over_histories
from tests.stores import NewStore


def test_p4_every_recorded_request_sent_again_gets_its_answer_and_appends_nothing(new_store: NewStore) -> None:
    over_histories(new_store, check_all_again)


def check_all_again(life: Life) -> None:
    """Send everything again: to the same process, to one that was started again, and all at once."""
    sent, head = list(life.sent), life.head()
    recorded = {record.request_id.hex() for record in life.records() if record.request_id is not None}
    asked = [
        (method, request, caller, answer)
        for method, request, caller, answer in sent
        if request.request_id.replace("-", "") in recorded and not isinstance(answer, PlayheadError)
    ]
    for reopened in (False, True):
        if reopened:
            life.reopen()
        life.clock.advance(3_600_000_000)
        life.sent.clear()
        for method, request, caller, _ in asked:
            life.send(method, request, caller)
        life.settle()
        assert [answer for _, _, _, answer in life.sent] == [answer for _, _, _, answer in asked]
        assert life.head() == head


def propose(**fields: Any) -> v1.ProposeStateRequest:
    """A proposal for the first flow run."""
    return v1.ProposeStateRequest(
        **{"request_id": an_id(77), "flow_run_id": FLOW_RUN_IDS[0], "state": v1.State(type=v1.RUNNING), **fields}
    )


UPDATE = v1.UpdateRunRequest(request_id=an_id(77), flow_run_id=FLOW_RUN_IDS[0], name="a")
CREATE = v1.CreateFlowRunRequest(request_id=an_id(77), spec=FLOW_RUNS[1])
CREATE_TASK = v1.CreateTaskRunRequest(request_id=an_id(77), spec=TASK_RUNS[0])
SEND = v1.SendInputRequest(request_id=an_id(77), flow_run_id=FLOW_RUN_IDS[0], key="k", value=b"7")
REGISTER = v1.RegisterFlowRequest(request_id=an_id(77), flow_id=an_id(3), name="new")


def changed(request: Any, **fields: Any) -> Any:
    """The request with other fields."""
    other = type(request)()
    other.CopyFrom(request)
    other.MergeFrom(type(request)(**fields))
    return other


@pytest.mark.parametrize(
    ("method", "request_", "other_method", "other"),
    [
        ("propose_state", propose(), "propose_state", propose(force=True)),
        ("propose_state", propose(), "propose_state", propose(state=v1.State(type=v1.FAILED))),
        ("propose_state", propose(), "propose_state", propose(flow_run_id=FLOW_RUN_IDS[1])),
        ("propose_state", propose(), "update_run", UPDATE),
        ("propose_state", propose(), "create_flow_run", CREATE),
        ("propose_state", propose(), "register_flow", REGISTER),
        ("update_run", UPDATE, "update_run", changed(UPDATE, name="b")),
        ("update_run", UPDATE, "propose_state", propose()),
        ("create_flow_run", CREATE, "create_flow_run", changed(CREATE, spec=v1.FlowRunSpec(name="other"))),
        ("create_flow_run", CREATE, "create_task_run", CREATE_TASK),
        ("create_task_run", CREATE_TASK, "create_task_run", changed(CREATE_TASK, spec=v1.TaskRunSpec(name="other"))),
        ("register_flow", REGISTER, "register_flow", changed(REGISTER, name="other")),
        ("send_input", SEND, "send_input", changed(SEND, value=b"8")),
        (
            "send_input",
            SEND,
            "delete_input",
            v1.DeleteInputRequest(request_id=an_id(77), flow_run_id=SEND.flow_run_id, key=SEND.key),
        ),
        ("send_input", SEND, "propose_state", propose()),
        (
            "resume_flow_run",
            v1.ResumeFlowRunRequest(request_id=an_id(77), flow_run_id=FLOW_RUN_IDS[0]),
            "cancel_flow_run",
            v1.CancelFlowRunRequest(request_id=an_id(77), flow_run_id=FLOW_RUN_IDS[0]),
        ),
    ],
)
def test_p4_a_request_id_belongs_to_one_command(
    sqlite_store: str, method: str, request_: Any, other_method: str, other: Any
) -> None:
    with Life(sqlite_store) as life:
        life.send(method, request_, CALLERS[0])
        life.settle()
        assert not isinstance(life.sent[-1][3], PlayheadError)
        head = life.head()
        life.send(other_method, other, CALLERS[0])
        life.settle()
        assert isinstance(life.sent[-1][3], RequestIdReused)
        assert life.head() == head


def test_p4_a_pause_sent_again_later_is_the_same_request(store: str) -> None:
    with Life(store) as life:
        request = v1.PauseFlowRunRequest(request_id=an_id(77), flow_run_id=FLOW_RUN_IDS[0])
        request.timeout.seconds = 60
        for _ in range(2):
            life.send("pause_flow_run", request, CALLERS[0])
            life.settle()
            life.clock.advance(5_000_000)
        assert life.sent[-1][3] == life.sent[-2][3]


def test_p4_an_error_is_not_recorded_so_the_request_can_be_mended_and_sent_again(store: str) -> None:
    with Life(store) as life:
        spec = v1.FlowRunSpec(id=an_id(12), flow_id=an_id(5))
        life.send("create_flow_run", v1.CreateFlowRunRequest(request_id=an_id(77), spec=spec), CALLERS[0])
        spec.flow_id = FLOWS["etl"]
        life.send("create_flow_run", v1.CreateFlowRunRequest(request_id=an_id(77), spec=spec), CALLERS[0])
        life.settle()
        assert isinstance(life.sent[-2][3], PlayheadError)
        assert isinstance(life.sent[-1][3], v1.CreateFlowRunResponse)
