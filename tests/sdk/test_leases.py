"""Leases: a run that is being executed renews its lease, and learns from the answer when it is to stop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import flow, settings, task, v1
from playhead.client.interface import CANCEL_FLOW_RUN, PROPOSE_STATE, REGISTER_FLOW, Client
from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.leases import LeaseKeeper
from playhead.engine.execution.progress import FlowProgress
from playhead.engine.signals import Abort
from playhead.light_futures import LightFuture
from playhead.timer import Alarm
from tests.sdk.conftest import Service


class ManualTimer:
    """Calls what was scheduled when it is told to."""

    def __init__(self) -> None:
        self.alarms: list[tuple[float, Alarm]] = []

    def later(self, seconds: float, function: Callable[[], None]) -> Alarm:
        """Schedule a call."""
        alarm = Alarm(function)
        self.alarms.append((seconds, alarm))
        return alarm

    def fire(self) -> None:
        """Make the call that was scheduled last."""
        function = self.alarms[-1][1].function
        assert function is not None
        function()


class PromptClient:
    """A client whose answers are there when `submit` returns."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(self, method: Any, request: Any) -> LightFuture[Any]:
        """Ask, and wait for the answer."""
        future = self._client.submit(method, request)
        future.exception()
        return future


def running_flow_run(service: Service) -> v1.ProposeStateResponse:
    """A flow run under a lease of one minute."""
    flow_id = new_id()
    service.client.unary(REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=flow_id, name=flow_id))
    request = v1.ProposeStateRequest(
        request_id=new_id(),
        create_flow_run=v1.FlowRunSpec(id=new_id(), flow_id=flow_id),
        state=v1.State(type=v1.RUNNING),
        lease_ttl=Duration(seconds=60),
    )
    return service.client.unary(PROPOSE_STATE, request)


def keeper_of(service: Service, run: v1.ProposeStateResponse) -> tuple[LeaseKeeper, ManualTimer, FlowProgress]:
    """The keeper of a run's lease, and what it goes by."""
    timer, progress = ManualTimer(), FlowProgress()
    client: Any = PromptClient(service.client)
    renewal = v1.RenewLeaseRequest(flow_run_id=run.run_id, lease_token=run.lease_token)
    return LeaseKeeper(client, renewal, progress, timer.later), timer, progress


def test_a_lease_is_renewed_every_third_of_its_length(embedded: Service) -> None:
    keeper, timer, progress = keeper_of(embedded, running_flow_run(embedded))
    timer.fire()
    timer.fire()
    assert [seconds for seconds, _ in timer.alarms] == [20, 20, 20]
    assert progress.stop is None
    keeper.release()
    assert timer.alarms[-1][1].function is None


def test_a_cancellation_is_learned_from_a_renewal(embedded: Service) -> None:
    run = running_flow_run(embedded)
    _, timer, progress = keeper_of(embedded, run)
    embedded.client.unary(CANCEL_FLOW_RUN, v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run.run_id))
    timer.fire()
    with pytest.raises(Abort, match="cancelled"):
        progress.check()


def test_a_lease_that_is_gone_stops_the_run(embedded: Service) -> None:
    run = running_flow_run(embedded)
    _, timer, progress = keeper_of(embedded, run)
    failed = v1.ProposeStateRequest(
        request_id=new_id(), flow_run_id=run.run_id, state=v1.State(type=v1.FAILED), lease_token=run.lease_token
    )
    embedded.client.unary(PROPOSE_STATE, failed)
    timer.fire()
    with pytest.raises(Abort, match="lease"):
        progress.check()


def test_a_run_that_is_to_stop_does_so_at_its_next_call(embedded: Service) -> None:
    ran = []

    @task
    def step() -> None:
        ran.append(1)

    @flow
    def told_to_stop() -> None:
        step()
        context = FlowRunContext.get()
        assert context is not None
        run_id = context.flow_run.run_id
        embedded.client.unary(CANCEL_FLOW_RUN, v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run_id))
        context.progress.stop = Abort("The flow run is to be cancelled.")
        step()

    assert told_to_stop(return_state=True).name == "Cancelled"
    assert ran == [1]


def test_a_flow_run_that_awaits_its_retry_keeps_its_lease_and_hears_of_its_cancellation(
    embedded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYHEAD_LEASE_RENEWAL_S", "0.01")

    @flow(retries=1, retry_delay_seconds=3_600)
    def failing() -> None:
        raise ValueError("once")

    def expiry() -> int:
        database = embedded.client.orchestrator.journal.database  # type: ignore[attr-defined] # the embedded client's
        with database.reading() as connection:
            return int(connection.exec_driver_sql("SELECT expires_at FROM leases").scalar())

    with ThreadPoolExecutor(1) as elsewhere:
        client = embedded.client
        ended = elsewhere.submit(failing, return_state=True)
        while not (runs := embedded.flow_runs("failing")) or runs[0].status.state.name != "AwaitingRetry":
            assert not ended.done()
        before = expiry()
        while expiry() == before:
            assert not ended.done()
        cancel = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=runs[0].spec.id)
        assert client.unary(CANCEL_FLOW_RUN, cancel).state.name == "Cancelling"
        assert ended.result(60).name == "Cancelled"


@pytest.mark.parametrize(
    ("lease", "renewal"), [("0.5", ""), ("90000", ""), ("60", "60"), ("60", "0"), ("60", "-1"), ("nan", "")]
)
def test_settings_of_leases_that_make_no_sense_are_refused_before_anything_is_recorded(
    embedded: Service, monkeypatch: pytest.MonkeyPatch, lease: str, renewal: str
) -> None:
    monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", lease)
    monkeypatch.setenv("PLAYHEAD_LEASE_RENEWAL_S", renewal)

    @flow
    def never() -> None: ...

    with pytest.raises(ValueError, match="PLAYHEAD_LEASE"):
        never()
    assert embedded.flow_runs("never") == []


def test_a_lease_of_a_second_may_be_renewed_as_often_as_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", "1")
    assert settings.lease_renewal_s() == pytest.approx(1 / 3)
    monkeypatch.setenv("PLAYHEAD_LEASE_RENEWAL_S", "0.1")
    assert (settings.lease_ttl_s(), settings.lease_renewal_s()) == (1, 0.1)


def test_a_task_run_outside_of_flow_runs_works_under_a_lease_of_its_own(service: Service) -> None:
    seen: list[v1.RunStatus] = []

    @task
    def alone() -> None:
        context = TaskRunContext.get()
        assert context is not None
        seen.append(service.task_run(context.task_run.run_id).status)

    alone()
    assert seen[0].lease.token
    assert seen[0].lease.ttl == Duration(seconds=60)


def test_the_report_of_a_task_run_that_was_given_up_changes_nothing(service: Service) -> None:
    tried = []

    @task
    def given_up() -> None:
        context = TaskRunContext.get()
        assert context is not None
        tried.append(context.task_run.run_id)
        crashed = v1.ProposeStateRequest(
            request_id=new_id(), task_run_id=tried[-1], state=v1.State(type=v1.CRASHED, message="given up")
        )
        service.client.unary(PROPOSE_STATE, crashed)

    with pytest.raises(Abort, match="is not this run's lease"):
        given_up()
    assert len(tried) == 1
    assert service.task_run(tried[0]).status.state.message == "given up"


def test_a_subflow_run_that_was_given_up_and_scheduled_again_is_tried_again_by_its_caller(service: Service) -> None:
    tried: list[str] = []

    @task
    def step() -> int:
        return 7

    @flow
    def child() -> int:
        context = FlowRunContext.get()
        assert context is not None
        tried.append(context.flow_run.run_id)
        if len(tried) == 1:
            # As a lapsed lease does to a run that is tried again after a crash.
            again = v1.State(type=v1.SCHEDULED, name="AwaitingRetry")
            given_up = v1.ProposeStateRequest(request_id=new_id(), flow_run_id=tried[0], state=again, force=True)
            service.client.unary(PROPOSE_STATE, given_up)
        return step()

    @flow
    def parent() -> int:
        return child() + step()

    assert parent() == 14
    assert tried == [tried[0]] * 2
    run = service.flow_run(tried[0])
    assert (run.status.state.type, run.status.run_count) == (v1.COMPLETED, 2)
    assert service.task_run(run.spec.parent_task_run_id).status.state.type == v1.COMPLETED


def test_a_subflow_run_is_not_tried_again_by_a_caller_that_was_given_up(service: Service) -> None:
    tried = []

    @task
    def step() -> None: ...

    @flow
    def child() -> None:
        context = FlowRunContext.get()
        assert context is not None
        tried.append(context.flow_run.run_id)
        for run_id in (*context.ancestors, tried[0]):
            again = v1.State(type=v1.SCHEDULED, name="AwaitingRetry")
            given_up = v1.ProposeStateRequest(request_id=new_id(), flow_run_id=run_id, state=again, force=True)
            service.client.unary(PROPOSE_STATE, given_up)
        step()

    @flow
    def parent() -> None:
        child()

    assert parent(return_state=True).name == "AwaitingRetry"
    assert len(tried) == 1


def test_a_flow_that_was_taken_over_stops_and_is_not_run_again(service: Service) -> None:
    tried = []

    @task
    def step() -> str:
        return "too late"

    @flow
    def taken_over() -> None:
        context = FlowRunContext.get()
        assert context is not None
        tried.append(context.flow_run.run_id)
        other = v1.ProposeStateRequest(
            request_id=new_id(), flow_run_id=tried[-1], state=v1.State(type=v1.RUNNING), force=True
        )
        other.lease_ttl.FromSeconds(60)
        service.client.unary(PROPOSE_STATE, other)
        step()

    with pytest.raises(Abort, match="is not the flow run's lease"):
        taken_over()
    assert len(tried) == 1
    assert service.flow_run(tried[0]).status.state.type == v1.RUNNING
    (late,) = service.task_runs(tried[0])
    assert late.status.state.type == v1.PENDING
