"""Crash reports: whatever interrupts a run, its end is recorded with the reason before the interruption goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task, v1
from playhead.client.interface import CANCEL_FLOW_RUN, PROPOSE_STATE, Client
from playhead.engine.execution.connection import use_client
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.proposals import LAST_WORD_S
from playhead.engine.signals import Abort, TerminationSignal
from playhead.exceptions import CancelledRun, DeadlinePassed, PlayheadError
from playhead.journal.errors import JournalUnavailable
from playhead.states import Completed, exception_to_crashed_state
from tests.sdk.conftest import Service


class Odd(BaseException):
    """Neither an exception nor a signal."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyboardInterrupt(), "Execution was aborted by an interrupt signal."),
        (SystemExit(1), "Execution was aborted by Python system exit call."),
        (TerminationSignal(15), "Execution was aborted by a termination signal."),
        (asyncio.CancelledError(), "Execution was cancelled by the runtime environment."),
        (Odd("why"), "Execution was interrupted by an unexpected exception: Odd: why"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_flow_and_task_end_crashed_and_the_error_goes_on(service: Service, error: BaseException, message: str) -> None:
    assert exception_to_crashed_state(error).message == message
    if isinstance(error, TerminationSignal):
        return
    hooks = []

    @task
    def interrupted() -> None:
        raise error

    @flow(on_crashed=[lambda flow, run, state: hooks.append(state.name)])
    def interrupted_flow() -> None:
        interrupted()

    with pytest.raises(type(error)):
        interrupted_flow()
    run = service.flow_runs("interrupted-flow")[-1]
    (task_run,) = service.task_runs(run.spec.id)
    assert (run.status.state.name, run.status.state.message) == ("Crashed", message)
    assert (task_run.status.state.name, task_run.status.state.message) == ("Crashed", message)
    assert hooks == ["Crashed"]


def test_a_submitted_task_that_crashes_does_not_take_the_flow_along(service: Service) -> None:
    @task
    def leaving() -> None:
        sys.exit(3)

    @flow
    def staying() -> Any:
        state = leaving.submit(return_state=True)
        return state.name, state.message

    assert staying() == ("Crashed", "Execution was aborted by Python system exit call.")


def test_a_cancelled_async_flow_ends_crashed(service: Service) -> None:
    started = threading.Event()

    @task
    async def waiting() -> None:
        started.set()
        await asyncio.Event().wait()

    @flow
    async def cancelled() -> None:
        await waiting()

    async def main() -> None:
        running = asyncio.ensure_future(cancelled())
        while not started.is_set():
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    run = service.flow_runs("cancelled")[-1]
    assert run.status.state.message == "Execution was cancelled by the runtime environment."
    assert [task_run.status.state.name for task_run in service.task_runs(run.spec.id)] == ["Crashed"]


def test_a_crashed_subflow_and_what_tracks_it_end_crashed(service: Service) -> None:
    @flow
    def child() -> None:
        raise KeyboardInterrupt

    @flow
    def parent_of_crash() -> None:
        child()

    with pytest.raises(KeyboardInterrupt):
        parent_of_crash()
    run = service.flow_runs("parent-of-crash")[-1]
    assert run.status.state.name == "Crashed"
    assert [task_run.status.state.name for task_run in service.task_runs(run.spec.id)] == ["Crashed"]


PROGRAM = """
import sys, threading
from playhead import flow, task

@task
def waiting():
    print("ready", flush=True)
    threading.Event().wait()

@flow
def waiting_flow():
    waiting()

@flow
async def waiting_async_flow():
    import asyncio
    print("ready", flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    if sys.argv[1] == "sync":
        waiting_flow()
    else:
        import asyncio
        asyncio.run(waiting_async_flow())
"""


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGTERM, "Execution was aborted by a termination signal."),
        (signal.SIGINT, "Execution was aborted by an interrupt signal."),
    ],
    ids=["SIGTERM", "SIGINT"],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_process_that_is_asked_to_end_reports_its_run(
    service: Service, tmp_path: Path, number: signal.Signals, message: str, kind: str
) -> None:
    script = tmp_path / "waiting.py"
    script.write_text(PROGRAM)
    command = [sys.executable, str(script), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
    assert process.returncode in {-number, 130}
    run = service.flow_runs("waiting-flow" if kind == "sync" else "waiting-async-flow")[-1]
    assert run.status.state.name == "Crashed"
    if (kind, number) != ("async", signal.SIGINT):  # asyncio turns the interrupt into a cancellation
        assert run.status.state.message == message
    assert {task_run.status.state.name for task_run in service.task_runs(run.spec.id)} <= {"Crashed"}


def test_flows_beside_each_other_leave_the_signal_handler_as_it_was(service: Service) -> None:
    first_may_end = asyncio.Event()

    @flow
    async def first() -> None:
        await first_may_end.wait()

    @flow
    async def second() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        running = asyncio.ensure_future(first())
        await second()
        assert signal.getsignal(signal.SIGTERM) is not before
        first_may_end.set()
        await running

    before = signal.getsignal(signal.SIGTERM)
    asyncio.run(main())
    assert signal.getsignal(signal.SIGTERM) is before


class Gone:
    """A client whose service goes away when the first run has something to report."""

    def __init__(self, client: Client, error: PlayheadError) -> None:
        self._client = client
        self._error = error
        self.waited_s: list[float | None] = []
        """How long each request was to be waited for that nobody answered."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def unary(self, method: Any, request: Any, *, timeout_s: float | None = None) -> Any:
        if method is PROPOSE_STATE and (self.waited_s or request.state.type != v1.RUNNING):
            self.waited_s.append(timeout_s)
            raise self._error
        return self._client.unary(method, request, timeout_s=timeout_s)

    def submit(self, method: Any, request: Any, *, timeout_s: float | None = None) -> Future[Any]:
        answer: Future[Any] = Future()
        try:
            answer.set_result(self.unary(method, request, timeout_s=timeout_s))
        except PlayheadError as error:
            answer.set_exception(error)
        return answer


@task
def ran() -> None:
    """A task that completes."""


@flow
def calling() -> None:
    """A flow whose task run can not be reported."""
    ran()


@flow
def submitting() -> None:
    """A flow that does not look at what became of its task run."""
    ran.submit()


@flow
def returning() -> Any:
    """A flow that returns what became of its task run."""
    return [ran.submit(), Completed()]


@flow
def around() -> None:
    """A flow that calls another."""
    calling()


@pytest.mark.parametrize("error", [DeadlinePassed("Not in time."), JournalUnavailable("Starting up.")])
@pytest.mark.parametrize(("ended", "runs"), [(calling, 2), (submitting, 2), (returning, 2), (around, 3)])
def test_a_service_that_is_gone_is_waited_for_once_and_told_of_in_a_line_by_each_run(
    embedded: Service, caplog: pytest.LogCaptureFixture, ended: Callable[[], Any], runs: int, error: PlayheadError
) -> None:
    before, gone = embedded.client, Gone(embedded.client, error)
    use_client(gone)  # type: ignore[arg-type]  # what it does not define is the client's
    try:
        with pytest.raises(type(error)):
            ended()
    finally:
        use_client(before)
    assert gone.waited_s == [None, *[LAST_WORD_S] * (runs - 1)]
    told = f"Nobody answers, so what came of the run is not on record: {error}"
    assert [record.message for record in caplog.records if "not on record" in record.message] == [told] * runs
    assert "Crash" not in caplog.text


class TestCancellation:
    def test_a_cancelled_run_stops_at_its_next_call(self, service: Service) -> None:
        hooks, after = [], []

        @task
        def step() -> None: ...

        @flow(on_cancellation=[lambda flow, run, state: hooks.append(state.name)])
        def to_be_cancelled() -> None:
            step()
            run_id = service.flow_runs("to-be-cancelled")[-1].spec.id
            request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run_id)
            service.client.unary(CANCEL_FLOW_RUN, request)
            step()
            after.append(1)

        state = to_be_cancelled(return_state=True)
        assert state.name == "Cancelled"
        assert (hooks, after) == (["Cancelled"], [])
        assert service.flow_run(state.state_details.flow_run_id).status.state.name == "Cancelled"
        with pytest.raises(CancelledRun):
            state.result()

    def test_a_run_that_ends_before_it_notices_is_cancelled_too(self, service: Service) -> None:
        @flow
        def unaware() -> int:
            run_id = service.flow_runs("unaware")[-1].spec.id
            request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run_id)
            service.client.unary(CANCEL_FLOW_RUN, request)
            return 5

        assert unaware(return_state=True).name == "Cancelled"

    def test_submitted_tasks_of_a_cancelled_run_are_given_up(self, service: Service) -> None:
        ran = []

        @task
        def step(n: int) -> None:
            ran.append(n)

        @flow
        def submitting_after_cancellation() -> None:
            run_id = service.flow_runs("submitting-after-cancellation")[-1].spec.id
            request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run_id)
            service.client.unary(CANCEL_FLOW_RUN, request)
            step.map(range(5)).wait()

        assert submitting_after_cancellation(return_state=True).name == "Cancelled"
        assert ran == []

    def test_a_subflow_of_a_cancelled_run_stops_at_its_next_call_and_no_lease_has_to_be_renewed_for_that(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", "86400")

        @task
        def step() -> None: ...

        @flow
        def inner() -> None:
            run_id = service.flow_runs("outer")[-1].spec.id
            service.client.unary(CANCEL_FLOW_RUN, v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run_id))
            while True:
                step()

        @flow
        def outer() -> None:
            inner()

        assert outer(return_state=True).name == "Cancelled"
        assert service.flow_runs("inner")[-1].status.state.name == "Cancelled"

    def test_an_abort_is_not_an_ordinary_exception(self) -> None:
        assert not issubclass(Abort, Exception)
