"""What the engine tells of runs, in its log and in their states, in the words of Prefect 2.13 where it has them."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest

import playhead.engine as engine
from playhead import flow, task, v1
from playhead.client.interface import CANCEL_FLOW_RUN, CREATE_FLOW_RUN, GET_FLOW_RUN, REGISTER_FLOW
from playhead.context import FlowRunContext
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.leases import lease_ttl
from playhead.engine.execution.proposals import propose
from playhead.exceptions import PausedRun
from playhead.flows import load_flow_from_entrypoint
from playhead.runs import TaskRun
from playhead.runtime import flow_run as current
from playhead.states import Failed, Paused
from tests.sdk.conftest import Service
from tests.sdk.test_engine_functions import created
from tests.sdk.virtual import virtual_journal


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@pytest.fixture(autouse=True)
def _records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="playhead")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Each record: its level, and the first line of its message."""
    return [f"{record.levelname} {record.getMessage().splitlines()[0]}" for record in caplog.records]


CRASH = ["ERROR Crash detected! Execution was aborted by an interrupt signal.", "DEBUG Crash details:"]


class TestCrashes:
    def test_of_a_flow_run(self, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        @flow(flow_run_name="red-orca")
        def crashing() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            crashing()
        told = said(caplog)
        at = told.index(CRASH[0])
        assert told[at:] == [*CRASH, "DEBUG Reported crashed flow run 'red-orca' successfully!"]
        assert vars(caplog.records[at + 1])["exc_info"][0] is KeyboardInterrupt

    def test_of_a_task_run(self, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        @task
        def interrupted() -> None:
            raise KeyboardInterrupt

        @flow
        def around() -> None:
            interrupted()

        with pytest.raises(KeyboardInterrupt):
            around()
        told = said(caplog)
        at = told.index(CRASH[0])
        assert told[at : at + 3] == [*CRASH, "DEBUG Reported crashed task run 'interrupted-0' successfully!"]


class TestTaskRunsThatMayNotGoOn:
    """`begin_task_run` answers with the state on record, and says what has happened."""

    async def _cancelled(self, service: Service, *before: Any) -> TaskRun:
        context = FlowRunContext.get()
        assert context is not None
        run = await engine.create_task_run(add, "late", context, {"x": 1}, "key")
        for state in before:
            await engine.propose_state(service.client, state, force=True, task_run_id=run.id)
        request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=str(current.id))
        service.client.unary(CANCEL_FLOW_RUN, request)
        return run

    @pytest.mark.parametrize(
        ("before", "name", "told"),
        [
            ([], "Pending", "WARNING Task run '{id}' received abort during orchestration: "),
            ([Failed()], "Failed", "INFO Task run '{id}' already finished."),
        ],
        ids=["not finished", "finished"],
    )
    def test_of_a_flow_run_that_is_cancelled(
        self, service: Service, caplog: pytest.LogCaptureFixture, before: list[Any], name: str, told: str
    ) -> None:
        runs: list[TaskRun] = []

        @flow
        async def cancelled() -> None:
            runs.append(await self._cancelled(service, *before))
            assert (await engine.begin_task_run(add, runs[0], {"x": 1})).name == name

        assert asyncio.run(cancelled(return_state=True)).is_cancelled()
        (line,) = [line for line in said(caplog) if f"'{runs[0].run_id}'" in line]
        assert line.startswith(told.format(id=runs[0].run_id))
        if name == "Pending":
            assert line.endswith(" Task run is in PENDING state.")

    def test_of_a_flow_run_that_is_suspended(self, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        runs: list[TaskRun] = []

        @flow
        async def suspended() -> None:
            context = FlowRunContext.get()
            assert context is not None
            runs.append(await engine.create_task_run(add, "late", context, {"x": 1}, "key"))
            paused = Paused(reschedule=True)
            await engine.propose_state(service.client, paused, force=True, flow_run_id=context.flow_run.id)

        assert asyncio.run(suspended(return_state=True)).is_paused()
        assert asyncio.run(engine.begin_task_run(add, runs[0], {"x": 1})).is_paused()
        assert "INFO Task run encountered a pause signal during orchestration." in said(caplog)


def test_a_wait_instruction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with virtual_journal(tmp_path) as (time, client):
        run = scheduled(client, time.now_us + 5_000_000)
        request = v1.ProposeStateRequest(flow_run_id=run, state=v1.State(type=v1.RUNNING))
        assert time.drive(propose(request), client).decision == v1.ACCEPT
        assert time.slept_s == [5]
    assert "DEBUG Received wait instruction for 5s: The run is not due yet." in said(caplog)
    assert "INFO WaitForScheduledTime: The run is not due yet. Asking again in 0:00:05." in said(caplog)


def test_a_run_that_waits_for_the_lease_of_another_process_says_whose(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with virtual_journal(tmp_path) as (time, client):
        run = scheduled(client, time.now_us)
        running: dict[str, Any] = {"flow_run_id": run, "state": v1.State(type=v1.RUNNING), "lease_ttl": lease_ttl()}
        time.drive(propose(v1.ProposeStateRequest(**running)), client)
        holder = client.unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=run)).flow_run.status.lease.holder
        assert time.drive(propose(v1.ProposeStateRequest(**running)), client).decision == v1.ACCEPT
        assert time.slept_s == [60]
    (told,) = [line for line in said(caplog) if line.startswith("INFO WaitForLiveLease: ")]
    holds = f"INFO WaitForLiveLease: {holder} holds the run's lease, until "
    assert re.fullmatch(re.escape(holds) + r"\d\d:\d\d:\d\d if it has died\. Asking again in 0:01:00\.", told)


def scheduled(client: Any, due_us: int) -> str:
    """A flow run that is due then."""
    flow_id = new_id()
    client.unary(REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=flow_id, name=flow_id))
    state = v1.State(type=v1.SCHEDULED)
    state.details.scheduled_time.FromMicroseconds(due_us)
    spec = v1.FlowRunSpec(id=new_id(), flow_id=flow_id, name="due", state=state)
    client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
    return spec.id


def test_prints_of_a_task_run_are_logged_where_the_engine_is_told_so(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    @task
    def printing() -> None:
        print("printed")

    @flow
    async def around() -> None:
        context = FlowRunContext.get()
        assert context is not None
        run = await engine.create_task_run(printing, "printing", context, {}, "key")
        assert (await engine.begin_task_run(printing, run, {}, log_prints=True)).is_completed()

    asyncio.run(around())
    assert "INFO printed" in said(caplog)


@pytest.mark.parametrize("way", ["returned by the flow", "returned by a task", "of a submitted task"])
def test_a_paused_state_pauses_the_flow_run(service: Service, caplog: pytest.LogCaptureFixture, way: str) -> None:
    @task
    def pausing() -> Any:
        return Paused(timeout_seconds=600, pause_key="k")

    @flow
    def paused() -> Any:
        if way == "returned by the flow":
            return Paused(timeout_seconds=600, pause_key="k")
        return pausing() if way == "returned by a task" else pausing.submit().result()

    state = paused(return_state=True)
    recorded = service.flow_run(state.state_details.flow_run_id).status.state
    assert (state.name, recorded.name, recorded.details.pause_key) == ("Paused", "Paused", "k")
    until = state.state_details.pause_timeout.isoformat()
    told = f"INFO Currently paused and suspending execution. Resume before {until} to finish execution."
    assert said(caplog)[-1] == told
    # Nobody waits in the pause, so nobody is to be missed: the run is not given up when a lease would have lapsed.
    assert not service.flow_run(state.state_details.flow_run_id).status.HasField("lease")
    with pytest.raises(PausedRun):
        state.result()


class TestParametersThatDoNotFit:
    MESSAGE = "Validation of flow parameters failed with error:"

    def test_of_a_subflow_fail_it_and_reach_its_parent(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        ran: list[int] = []

        @flow(flow_run_name="blue-newt")
        def child(x: int) -> None:
            ran.append(x)

        @flow
        def parent() -> Any:
            return child("two", return_state=True)

        assert parent(return_state=True).message == "1/1 states failed."
        assert ran == []
        assert [line for line in said(caplog) if line.startswith(f"ERROR {self.MESSAGE}")]
        assert service.flow_runs("child")[-1].status.state.message.startswith(self.MESSAGE)

    def test_of_a_run_on_record_fail_it(self, service: Service, tmp_path: Path) -> None:
        run_id = on_record(service, tmp_path, b'{"n": "many"}')
        state = asyncio.run(engine.retrieve_flow_then_begin_flow_run(run_id, service.client))
        assert state.is_failed()
        assert state.message.startswith(self.MESSAGE)
        assert service.flow_run(run_id).status.state.message.startswith(self.MESSAGE)

    def test_a_run_on_record_has_the_defaults_of_its_function(self, service: Service, tmp_path: Path) -> None:
        run_id = on_record(service, tmp_path, b'{"n": "4"}')
        thread = threading.current_thread()
        state = asyncio.run(engine.retrieve_flow_then_begin_flow_run(run_id, service.client, thread))
        assert state.result() == [4, "default"]


RECORDED = """
from playhead import flow

@flow
def recorded(n: int, other: str = "default") -> list:
    return [n, other]
"""


def on_record(service: Service, folder: Path, parameters: bytes) -> str:
    """A run that was recorded with an entrypoint, and has not run."""
    file = folder / "recorded_flow.py"
    file.write_text(RECORDED)
    spec = service.flow_run(created(service, "recorded", parameters=parameters).id).spec
    spec.id, spec.entrypoint = new_id(), f"{file}:recorded"
    service.client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
    return spec.id


def test_a_flow_that_a_script_calls_while_it_is_only_loaded_does_not_run(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "careless.py"
    file.write_text("from playhead import flow\n@flow\ndef careless() -> int:\n    return 1\n\ncareless()\n")
    found: Any = load_flow_from_entrypoint(f"{file}:careless")
    assert service.flow_runs("careless") == []
    (line,) = [line for line in said(caplog) if line.startswith("WARNING Flow 'careless' is not called: ")]
    assert line.endswith("is only being loaded.")
    assert found() == 1
