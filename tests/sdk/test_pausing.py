"""Pausing, suspending and resuming flow runs, from their own code and from anywhere else."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import playhead
from playhead import engine, flow, flow_runs, pause_flow_run, resume_flow_run, suspend_flow_run, task, v1
from playhead.client.interface import (
    CANCEL_FLOW_RUN,
    CREATE_FLOW_RUN,
    PAUSE_FLOW_RUN,
    PROPOSE_STATE,
    REGISTER_FLOW,
    RESUME_FLOW_RUN,
    WATCH_EVENTS,
    WATCH_RUN,
    Client,
)
from playhead.concurrency.sync import concurrency
from playhead.context import FlowRunContext
from playhead.engine import enter_flow_run_engine_from_subprocess
from playhead.engine.execution.connection import use_client
from playhead.engine.execution.ids import new_id
from playhead.exceptions import FailedRun, FlowPauseTimeout, FlowRunWaitTimeout, NotFound, NotPausedError, PausedRun
from playhead.logging.loggers import FLOW_RUNS
from playhead.runtime import flow_run
from playhead.states import State
from tests.sdk.conftest import Service

PATIENCE_S = 30.0


class Elsewhere:
    """What happens while a flow runs, in threads of its own."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._threads = ThreadPoolExecutor(8)
        self._doing: list[Future[Any]] = []

    def do(self, action: Callable[..., Any], *args: Any) -> None:
        """Do something meanwhile; the test fails if it fails."""
        self._doing.append(self._threads.submit(action, *args))

    def resume_when(self, flow_run_id: str, state: str = "PAUSED", times: int = 1) -> None:
        """Resume a run each time it comes to a state of this type, so many times."""
        self.do(self._resume_when, flow_run_id, state, times)

    def _resume_when(self, flow_run_id: str, state: str, times: int) -> None:
        for run in self.changes(flow_run_id):
            if run.status.state.type == v1.StateType.Value(state):
                resume_flow_run(flow_run_id)
                times -= 1
            if not times:
                return

    def changes(self, flow_run_id: str) -> Iterator[v1.FlowRun]:
        """A run, and again after each change."""
        request = v1.WatchRunRequest(flow_run_id=flow_run_id)
        for response in self.service.client.stream(WATCH_RUN, request, timeout_s=PATIENCE_S):
            yield response.flow_run

    def refusals_until(self, flow_run_id: str) -> list[str]:
        """Wait until a proposal for a run is refused; the rules that refused some."""
        request = v1.WatchEventsRequest(filter=v1.EventFilter(stream=flow_run_id))
        for response in self.service.client.stream(WATCH_EVENTS, request, timeout_s=PATIENCE_S):
            proposals = (event.event.state_proposed for event in response.page.events)
            if refused := [one.rule for one in proposals if one.decision == v1.REJECT]:
                return refused
        return []

    def end(self) -> None:
        """Wait until all is done."""
        for done in self._doing:
            done.result(PATIENCE_S)
        self._threads.shutdown()


@pytest.fixture
def elsewhere(service: Service) -> Iterator[Elsewhere]:
    """Threads beside the flow's."""
    elsewhere = Elsewhere(service)
    yield elsewhere
    elsewhere.end()


def this_run() -> str:
    """The id of the flow run that the code is in."""
    context = FlowRunContext.get()
    assert context is not None
    return context.flow_run.run_id


def ask_for_pause(
    service: Service, flow_run_id: str, seconds: float | None = None, run_input_schema: bytes = b""
) -> None:
    """Pause a flow run as anybody can."""
    request = v1.PauseFlowRunRequest(request_id=new_id(), flow_run_id=flow_run_id, run_input_schema=run_input_schema)
    if seconds is not None:
        request.timeout.FromMicroseconds(round(seconds * 1e6))
    assert service.client.unary(PAUSE_FLOW_RUN, request).decision == v1.ACCEPT


def nobodys_run(client: Client) -> str:
    """A flow run that is RUNNING and that no process works on."""
    flow_id = new_id()
    client.unary(REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=flow_id, name=flow_id))
    spec = v1.FlowRunSpec(id=new_id(), flow_id=flow_id)
    request = v1.ProposeStateRequest(request_id=new_id(), create_flow_run=spec, state=v1.State(type=v1.RUNNING))
    return client.unary(PROPOSE_STATE, request).run_id


class TestInProcess:
    def test_a_flow_waits_where_it_pauses_and_goes_on_when_it_is_resumed(
        self, service: Service, elsewhere: Elsewhere
    ) -> None:
        seen = []

        @task
        def step(name: str) -> None:
            seen.append((name, service.flow_run(this_run()).status.state.name))

        @flow
        def pausing() -> str:
            step("before")
            elsewhere.resume_when(this_run())
            assert pause_flow_run(timeout=PATIENCE_S) is None
            step("after")
            return "done"

        assert pausing() == "done"
        assert seen == [("before", "Running"), ("after", "Running")]
        run = service.flow_runs("pausing")[-1]
        assert service.state_names(flow_run=run.spec.id) == ["Pending", "Running", "Paused", "Running", "Completed"]

    @pytest.mark.parametrize("pause", [playhead.pause_flow_run, playhead.apause_flow_run, engine.pause_flow_run])
    def test_an_async_flow_awaits_its_pause_and_others_go_on(self, elsewhere: Elsewhere, pause: Any) -> None:
        ticks = []

        @flow
        async def pausing_async() -> str:
            elsewhere.resume_when(this_run())
            await asyncio.gather(pause(timeout=PATIENCE_S), tick())
            return "done"

        async def tick() -> None:
            for number in range(5):
                await asyncio.sleep(0)
                ticks.append(number)

        assert asyncio.run(pausing_async()) == "done"
        assert ticks == [0, 1, 2, 3, 4]

    def test_a_sync_flow_that_an_event_loop_calls_pauses_without_await(self, elsewhere: Elsewhere) -> None:
        @flow
        def called_by_async_code() -> str:
            elsewhere.resume_when(this_run())
            pause_flow_run(timeout=PATIENCE_S)
            return "done"

        async def main() -> str:
            return str(called_by_async_code())

        assert asyncio.run(main()) == "done"

    def test_waiting_asks_nothing_of_the_service(self, service: Service, elsewhere: Elsewhere) -> None:
        asked: list[str] = []
        client = service.client

        class Counting:
            """The client, noting what it is asked for."""

            def unary(self, method: Any, request: Any, *, timeout_s: float | None = None) -> Any:
                if method.name != "WriteLogs":  # logs are sent by a thread of their own
                    asked.append(method.name)
                return client.unary(method, request, timeout_s=timeout_s)

            def __getattr__(self, name: str) -> Any:
                return getattr(client, name)

        def resume_later(flow_run_id: str) -> None:
            for response in client.stream(WATCH_RUN, v1.WatchRunRequest(flow_run_id=flow_run_id)):
                if response.flow_run.status.state.type == v1.PAUSED:
                    break
            for _ in range(100):
                nobodys_run(client)
            client.unary(RESUME_FLOW_RUN, v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=flow_run_id))

        @flow
        def pausing_quietly() -> list[str]:
            asked.clear()
            elsewhere.do(resume_later, this_run())
            pause_flow_run(poll_interval=0.001)
            return list(asked)

        use_client(Counting())  # type: ignore[arg-type]  # what it does not define is the client's
        assert pausing_quietly() == ["PauseFlowRun"]
        use_client(client)

    def test_a_subflow_pauses_alone(self, service: Service, elsewhere: Elsewhere) -> None:
        states = []

        @flow
        def child() -> int:
            parent = service.flow_runs("parent-of-paused")[-1].spec.id
            elsewhere.resume_when(this_run())
            elsewhere.do(lambda: states.append(service.flow_run(parent).status.state.name))
            pause_flow_run(timeout=PATIENCE_S)
            return 5

        @flow
        def parent_of_paused() -> Any:
            return child()

        assert parent_of_paused() == 5
        assert states == ["Running"]

    def test_a_task_pauses_the_flow_run_it_is_in(self, service: Service, elsewhere: Elsewhere) -> None:
        @task
        def approve() -> str:
            elsewhere.resume_when(this_run())
            pause_flow_run(timeout=PATIENCE_S)
            return "approved"

        @flow
        def approving() -> Any:
            return approve.submit().result()

        assert approving() == "approved"
        run = service.flow_runs("approving")[-1]
        assert "Paused" in service.state_names(flow_run=run.spec.id)

    def test_each_attempt_pauses_again_and_a_key_pauses_an_attempt_once(
        self, service: Service, elsewhere: Elsewhere
    ) -> None:
        attempts = []

        @flow(retries=3)
        def pausing_twice() -> int:
            attempts.append(1)
            if len(attempts) == 1:
                elsewhere.resume_when(this_run(), times=4)
            pause_flow_run(timeout=PATIENCE_S)
            pause_flow_run(key="mine")
            pause_flow_run(key="mine")
            if len(attempts) < 2:
                raise ValueError("once more")
            return len(attempts)

        assert pausing_twice() == 2
        run = service.flow_runs("pausing-twice")[-1]
        keys = [d.proposed.details.pause_key for d in service.decisions(run.spec.id) if d.proposed.type == v1.PAUSED]
        assert keys == ["1", "mine", "mine"] * 2
        assert service.state_names(flow_run=run.spec.id).count("Paused") == 4

    def test_a_resume_uses_up_no_retry(self, service: Service, elsewhere: Elsewhere) -> None:
        attempts = []

        @flow(retries=1)
        def approved_and_failing() -> None:
            elsewhere.resume_when(this_run())
            pause_flow_run(timeout=PATIENCE_S)
            attempts.append(flow_run.run_count)
            raise ValueError("not yet")

        with pytest.raises(ValueError, match="not yet"):
            approved_and_failing()
        assert attempts == [1, 2]
        run = service.flow_runs("approved-and-failing")[-1]
        assert (run.status.state.type, run.status.run_count) == (v1.FAILED, 2)

    @pytest.mark.parametrize("first", ["whoever it is", "a timer"])
    def test_a_pause_that_nobody_ends_fails_the_run_and_its_hooks_are_called(
        self, service: Service, elsewhere: Elsewhere, first: str
    ) -> None:
        hooks = []

        @flow(on_failure=[lambda flow, run, state: hooks.append(state.name)])
        def forgotten() -> None:
            try:
                pause_flow_run(timeout=0.01)
            finally:
                if first == "a timer":
                    assert any(run.status.state.type == v1.FAILED for run in elsewhere.changes(this_run()))

        state = forgotten(return_state=True)
        assert state.name == "Failed"
        own = "Flow run encountered an exception. FlowPauseTimeout: Flow run was paused and never resumed."
        by_rule = "The flow was paused and never resumed."
        assert state.message in ({own} if first == "a timer" else {own, by_rule})
        with pytest.raises(FlowPauseTimeout, match=r"^Flow run was paused and never resumed\.$"):
            state.result()
        assert hooks == ["Failed"]
        run_id = state.state_details.flow_run_id
        assert service.flow_run(run_id).status.state.name == "Failed"
        with pytest.raises(NotPausedError):
            resume_flow_run(run_id)

    def test_a_flow_that_goes_on_after_its_pause_has_timed_out_can_start_no_task_and_fails(
        self, service: Service
    ) -> None:
        ran = []

        @task
        def step() -> None:
            ran.append(1)

        @flow
        def stubborn() -> str:
            for call in (pause_flow_run, step, lambda **_: step.submit().result()):
                with pytest.raises(FlowPauseTimeout):
                    call(**({"timeout": 0.01} if call is pause_flow_run else {}))
            return "done all the same"

        state = stubborn(return_state=True)
        assert (state.name, ran) == ("Failed", [])
        assert service.flow_run(state.state_details.flow_run_id).status.state.name == "Failed"

    @pytest.mark.parametrize("within", ["flow", "subflow", "task"])
    def test_a_run_that_is_cancelled_while_it_is_paused_ends_cancelled(
        self, service: Service, elsewhere: Elsewhere, within: str
    ) -> None:
        def cancel(flow_run_id: str) -> None:
            for run in elsewhere.changes(flow_run_id):
                if run.status.state.type == v1.PAUSED:
                    break
            request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=flow_run_id)
            assert service.client.unary(CANCEL_FLOW_RUN, request).decision == v1.ACCEPT

        @task
        def step() -> None:
            raise AssertionError("it ran")

        @flow
        def cancelled_in_pause() -> None:
            elsewhere.do(cancel, this_run())
            if within == "task":
                ask_for_pause(service, this_run())
                step.submit().wait()
            else:
                pause_flow_run(timeout=None)
            raise AssertionError("it went on")

        @flow
        def calling() -> State[Any]:
            return cancelled_in_pause(return_state=True)

        called = calling if within == "subflow" else cancelled_in_pause
        assert called(return_state=True).name == "Cancelled"

    def test_where_nothing_can_be_paused_that_is_said(self, service: Service) -> None:
        with pytest.raises(RuntimeError, match=r"^Flow runs can only be paused from within a flow run\.$"):
            pause_flow_run()
        with pytest.raises(RuntimeError, match=r"^Flow runs can only be suspended from within a flow run\.$"):
            suspend_flow_run()

        @task
        def suspending() -> None:
            suspend_flow_run()

        @flow
        def with_suspending_task() -> None:
            suspending()

        with pytest.raises(RuntimeError, match=r"^Cannot suspend task runs\.$"):
            with_suspending_task()

        @flow
        def without_deployment() -> None:
            suspend_flow_run()

        with pytest.raises(RuntimeError, match=r"^Flow run cannot be suspended: A run without a deployment"):
            without_deployment()


def test_a_run_that_is_cancelled_from_outside_says_so(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    @flow
    def cancelled_by_others() -> None:
        request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=this_run())
        assert service.client.unary(CANCEL_FLOW_RUN, request).decision == v1.ACCEPT
        task(lambda: None)()

    assert cancelled_by_others(return_state=True).name == "Cancelled"
    assert "The flow run was asked to cancel from outside, and ends." in caplog.text


class TestFromOutside:
    """A run that others pause waits at its next call, and goes on with it when it is resumed."""

    @pytest.mark.parametrize("kind", ["called", "submitted", "mapped", "subflow", "slots", "pause"])
    def test_it_waits_at_its_next_call(self, service: Service, elsewhere: Elsewhere, kind: str) -> None:
        @task
        def step(number: int = 1) -> int:
            return number

        @flow
        def child() -> int:
            return 1

        def in_slots() -> int:
            with concurrency("nobody limits this"):
                return 1

        def in_pause() -> int:
            pause_flow_run(timeout=PATIENCE_S)
            return 1

        calls: dict[str, Callable[[], Any]] = {
            "called": step,
            "submitted": lambda: step.submit().result(),
            "mapped": lambda: len(step.map(range(200)).result()) // 200,
            "subflow": child,
            "slots": in_slots,
            "pause": in_pause,
        }

        @flow
        def paused_by_others() -> Any:
            pause_flow_run(flow_run_id=this_run())
            elsewhere.resume_when(this_run(), times=2 if kind == "pause" else 1)
            return calls[kind]()

        assert paused_by_others() == 1
        run = service.flow_runs("paused-by-others")[-1]
        names = service.state_names(flow_run=run.spec.id)
        assert names[:4] == ["Pending", "Running", "Paused", "Running"]
        for task_run in service.task_runs(run.spec.id):
            assert service.state_names(task_run=task_run.spec.id)[-1] == "Completed"
            assert task_run.status.run_count == 1

    @pytest.mark.parametrize("calls", [1, 100])
    def test_it_says_once_that_it_waits_and_that_it_goes_on(
        self, service: Service, elsewhere: Elsewhere, calls: int
    ) -> None:
        said: list[str] = []

        class Resuming(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                said.append(record.getMessage())
                if said[-1].startswith("The flow run was paused"):
                    elsewhere.do(resume_flow_run, record.__dict__["flow_run_id"])

        @flow
        def told_of_its_pause() -> list[int]:
            ask_for_pause(service, this_run())
            return task(lambda number: number, name="same").map(range(calls)).result()

        handler = Resuming()
        FLOW_RUNS.addHandler(handler)
        try:
            assert told_of_its_pause() == list(range(calls))
        finally:
            FLOW_RUNS.removeHandler(handler)
        assert said[1:3] == [
            "The flow run was paused from outside: it waits until it is resumed.",
            "The flow run was resumed, and goes on.",
        ]
        assert len(said) == 4

    def test_an_async_flow_waits_at_its_next_call(self, service: Service, elsewhere: Elsewhere) -> None:
        @task
        async def step(number: int) -> int:
            return number

        @flow
        async def paused_async() -> Any:
            await flow_runs.apause_flow_run(flow_run_id=this_run())
            elsewhere.resume_when(this_run())
            return await asyncio.gather(*(step(number) for number in range(10)))

        assert asyncio.run(paused_async()) == list(range(10))

    def test_a_retry_that_falls_due_in_a_pause_waits_for_its_end(self, service: Service, elsewhere: Elsewhere) -> None:
        attempts = []

        @task(retries=1)
        def failing_once() -> int:
            attempts.append(1)
            if len(attempts) == 1:
                ask_for_pause(service, this_run())
                elsewhere.resume_when(this_run())
                raise ValueError("once")
            return len(attempts)

        @flow
        def retrying() -> Any:
            return failing_once()

        assert retrying() == 2

    def test_who_is_paused_again_before_it_has_noticed_waits_again(
        self, service: Service, elsewhere: Elsewhere
    ) -> None:
        @task
        def step() -> str:
            return service.flow_run(this_run()).status.state.name

        @flow
        def paused_thrice() -> Any:
            for _ in range(2):
                ask_for_pause(service, this_run())
                resume_flow_run(this_run())
            ask_for_pause(service, this_run())
            elsewhere.resume_when(this_run())
            return step()

        assert paused_thrice() == "Running"

    @pytest.mark.parametrize("submitted", [False, True])
    def test_who_is_not_resumed_in_time_fails(self, service: Service, submitted: bool) -> None:
        @task
        def step() -> None:
            raise AssertionError("it ran")

        @flow
        def left_alone() -> None:
            ask_for_pause(service, this_run(), seconds=0.01)
            if submitted:
                step.submit().result()
            else:
                step()

        state = left_alone(return_state=True)
        assert state.name == "Failed"
        with pytest.raises(FlowPauseTimeout):
            state.result()

    def test_a_run_that_ends_before_it_notices_has_ended(self, service: Service) -> None:
        @flow
        def unaware() -> int:
            ask_for_pause(service, this_run())
            return 5

        assert unaware() == 5

    def test_a_run_that_ends_before_it_notices_waits_for_the_input_that_was_asked_for(
        self, service: Service, elsewhere: Elsewhere
    ) -> None:
        def resume_with_input(flow_run_id: str) -> None:
            assert "ValidateRunInput" in elsewhere.refusals_until(flow_run_id)
            resume_flow_run(flow_run_id, run_input={"a": 1})

        @flow
        def unaware() -> int:
            ask_for_pause(service, this_run(), run_input_schema=b"{}")
            elsewhere.do(resume_with_input, this_run())
            return 5

        assert unaware() == 5
        run = service.flow_runs("unaware")[-1]
        assert service.state_names(flow_run=run.spec.id)[-3:] == ["Paused", "Running", "Completed"]

    def test_a_run_that_ends_before_it_notices_fails_when_nobody_brings_the_input(self, service: Service) -> None:
        @flow
        def unaware() -> int:
            ask_for_pause(service, this_run(), seconds=0.01, run_input_schema=b"{}")
            return 5

        state = unaware(return_state=True)
        assert (state.name, service.flow_run(state.state_details.flow_run_id).status.state.name) == ("Failed", "Failed")
        # Found by this process, which knows what it means, or by a rule or timer of the service.
        with pytest.raises((FlowPauseTimeout, FailedRun), match=r"paused and (never|not) resumed"):
            state.result()

    def test_a_run_is_paused_and_resumed_by_its_id_in_both_forms(self, service: Service) -> None:
        run_id = nobodys_run(service.client)
        for pause in (
            lambda: engine.pause_flow_run(run_id, 30),
            lambda: pause_flow_run(run_id, 30),
            lambda: pause_flow_run(flow_run_id=run_id, timeout=None, key="of mine"),
        ):
            assert pause() is None
            assert service.flow_run(run_id).status.state.name == "Paused"
            assert resume_flow_run(run_id) is None
            assert service.flow_run(run_id).status.state.name == "Running"
        with pytest.raises(RuntimeError, match=r"This pause has been passed already\."):
            pause_flow_run(flow_run_id=run_id, key="of mine")
        with pytest.raises(NotFound):
            pause_flow_run(flow_run_id=new_id())

    def test_who_resumes_in_vain_is_told_why(self, service: Service) -> None:
        with pytest.raises(NotPausedError, match=r"^Cannot resume a run that isn't paused!$"):
            resume_flow_run(nobodys_run(service.client))
        late = nobodys_run(service.client)
        ask_for_pause(service, late, seconds=1e-6)
        with pytest.raises(FlowPauseTimeout, match=r"^Flow run can no longer be resumed\.$"):
            asyncio.run(flow_runs.aresume_flow_run(late))
        curious = nobodys_run(service.client)
        ask_for_pause(service, curious)
        with pytest.raises(RuntimeError, match=r"^Cannot resume this run: run_input: nobody asked for it\.$"):
            resume_flow_run(curious, run_input={"a": 1})
        assert service.flow_run(curious).status.state.name == "Paused"
        with pytest.raises(NotFound):
            resume_flow_run(new_id())


PROGRAM = """
from playhead import flow, pause_flow_run, suspend_flow_run, task
from playhead.engine import pause_flow_run as pause_of_version_2
from playhead.states import Suspended

done = []

@task
def step(name):
    done.append(name)
    return name

@flow
def suspending():
    first = step("first")
    slow = step.submit("submitted")
    suspend_flow_run(timeout=3600)
    second = step("second")
    pause_of_version_2(reschedule=True)
    return [first, slow.result(), second, step("third")]

@flow
def suspended_by_others():
    from playhead.runtime import flow_run
    step("first")
    suspend_flow_run(flow_run_id=flow_run.id)
    return step("second")

@task
def asking(answer):
    done.append("asked")
    return answer if done.count("asked") == 2 else Suspended(timeout_seconds=3600, pause_key="asking")

@flow
def suspended_by_its_task():
    return [step("first"), asking("yes")]
"""


class TestSuspended:
    """The process leaves a run that is suspended; when it is resumed, another goes on where it was."""

    @pytest.fixture
    def of_deployment(
        self, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[str], tuple[str, list[str]]]:
        """Makes runs of deployments: the id, and what its tasks have done."""
        name = f"suspending_{new_id().replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(PROGRAM)
        monkeypatch.chdir(tmp_path)

        def make(flow_name: str) -> tuple[str, list[str]]:
            flow_id = new_id()
            client = service.client
            client.unary(REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=flow_id, name=flow_id))
            spec = v1.FlowRunSpec(
                id=new_id(),
                flow_id=flow_id,
                deployment_id=new_id(),
                entrypoint=f"{name}.py:{flow_name}",
                state=v1.State(type=v1.SCHEDULED),
            )
            client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
            monkeypatch.syspath_prepend(tmp_path)
            module = __import__(name)
            monkeypatch.delitem(sys.modules, name)
            sys.modules[name] = module
            return spec.id, module.done

        return make

    def test_it_goes_on_where_it_was(
        self,
        service: Service,
        of_deployment: Callable[[str], tuple[str, list[str]]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level("INFO")
        run_id, done = of_deployment("suspending")
        state: Any = enter_flow_run_engine_from_subprocess(run_id)
        assert (state.name, sorted(done)) == ("Suspended", ["first", "submitted"])
        until = state.state_details.pause_timeout
        told = f"Currently paused and suspending execution. Resume before {until.isoformat()} to finish execution."
        assert caplog.records[-1].getMessage() == told
        with pytest.raises(PausedRun):
            state.result()
        resume_flow_run(run_id)
        assert service.flow_run(run_id).status.state.name == "Resuming"
        state = enter_flow_run_engine_from_subprocess(run_id)
        assert (state.name, done[2:]) == ("Suspended", ["second"])
        resume_flow_run(run_id)
        state = enter_flow_run_engine_from_subprocess(run_id)
        assert state.result() == ["first", "submitted", "second", "third"]
        assert done[3:] == ["third"]
        assert service.flow_run(run_id).status.run_count == 1

    def test_it_is_left_at_its_next_call(
        self, service: Service, of_deployment: Callable[[str], tuple[str, list[str]]]
    ) -> None:
        run_id, done = of_deployment("suspended_by_others")
        state: Any = enter_flow_run_engine_from_subprocess(run_id)
        assert (state.name, done) == ("Suspended", ["first"])
        assert str(state.state_details.flow_run_id) == run_id

    def test_a_task_that_returns_a_suspended_state_is_asked_again(
        self, service: Service, of_deployment: Callable[[str], tuple[str, list[str]]]
    ) -> None:
        run_id, done = of_deployment("suspended_by_its_task")
        state: Any = enter_flow_run_engine_from_subprocess(run_id)
        assert (state.name, done) == ("Suspended", ["first", "asked"])
        assert state.state_details.pause_timeout is not None
        resume_flow_run(run_id)
        state = enter_flow_run_engine_from_subprocess(run_id)
        assert (state.result(), done) == (["first", "yes"], ["first", "asked", "asked"])


class TestWaiting:
    def test_the_end_of_a_run_is_waited_for(self, service: Service, elsewhere: Elsewhere) -> None:
        run_id = nobodys_run(service.client)

        def complete() -> None:
            request = v1.ProposeStateRequest(
                request_id=new_id(), flow_run_id=run_id, state=v1.State(type=v1.COMPLETED, message="by hand")
            )
            service.client.unary(PROPOSE_STATE, request)

        async def main() -> None:
            elsewhere.do(complete)
            run = await flow_runs.wait_for_flow_run(run_id, timeout=PATIENCE_S, log_states=True)
            assert (str(run.id), run.state.name, run.state.message) == (run_id, "Completed", "by hand")
            again = await flow_runs.wait_for_flow_run(run_id)
            assert again.state == run.state

        asyncio.run(main())

    def test_not_longer_than_it_may_take(self, service: Service) -> None:
        run_id = nobodys_run(service.client)
        with pytest.raises(FlowRunWaitTimeout, match=f"Flow run with ID {run_id} exceeded watch timeout of 0.01 sec"):
            asyncio.run(flow_runs.wait_for_flow_run(run_id, timeout=0.01))
        with pytest.raises(NotFound):
            asyncio.run(flow_runs.wait_for_flow_run(new_id()))
