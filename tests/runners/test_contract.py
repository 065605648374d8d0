"""What holds on every runner that calls functions in other processes."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task, v1
from playhead.client.interface import CANCEL_FLOW_RUN
from playhead.context import FlowRunContext, tags
from playhead.engine.execution.ids import new_id
from playhead.exceptions import CrashedRun, NotSendable
from playhead.futures import as_completed
from playhead.states import State
from tests.runners import work
from tests.runners.conftest import MakeRunner
from tests.sdk.conftest import Service
from tests.sdk.test_logs import logs_of


def run(runner: MakeRunner, function: Callable[[], Any], **options: Any) -> Any:
    """What a function comes to as a flow on the runner."""
    return flow(function, name="elsewhere", task_runner=runner(), **options)()


def state_of(runner: MakeRunner, function: Callable[[], Any]) -> State[Any]:
    """The state of one call that a flow submits, whatever it is."""
    found: list[State[Any]] = []

    def one() -> None:
        future = function()
        found.append(future.wait())
        future.result(raise_on_failure=False)

    run(runner, one)
    return found[0]


# What is called, and what comes of it


def test_functions_are_called_in_other_processes_and_recorded_as_ever(runner: MakeRunner, service: Service) -> None:
    def several() -> Any:
        pids = {work.pid.submit().result() for _ in range(3)}
        mapped = work.add.map([1, 2, 3], y=10)
        return pids, mapped.result(), work.total_of.submit(mapped[0], {"values": mapped}).result()

    pids, mapped, total = run(runner, several)
    assert os.getpid() not in pids
    assert (mapped, total) == ([11, 12, 13], 47)
    runs = service.task_runs(service.flow_runs("elsewhere")[-1].spec.id)
    assert len(runs) == 7
    assert {run.status.state.type for run in runs} == {v1.COMPLETED}
    assert service.state_names(task_run=runs[0].spec.id) == ["Pending", "Running", "Completed"]
    inputs = next(run for run in runs if run.spec.name == "total_of-0").spec.inputs
    assert len(inputs["future"].inputs) == 1
    assert len(inputs["more"].inputs) == 3


def test_functions_of_every_kind(runner: MakeRunner, embedded: Service) -> None:
    offset = 100

    @task
    def local(x: int) -> int:
        return x + offset

    def several() -> list[Any]:
        futures = [
            work.add_async.submit(1),
            work.count_to.submit(3),
            work.Scale(3).times.submit(5),
            work.doubled.submit(2, 2),
            local.submit(1),
            task(lambda x: x + 1).submit(1),
        ]
        return [future.result() for future in futures]

    assert run(runner, several) == [2, [0, 1, 2], 15, 4, 101, 2]


def test_an_error_is_the_one_that_was_raised_and_says_where(
    runner: MakeRunner, embedded: Service, caplog: pytest.LogCaptureFixture
) -> None:
    state = state_of(runner, lambda: work.refuse.submit(7))
    error = state.result(raise_on_failure=False)
    assert state.is_failed()
    assert isinstance(error, work.Refusal)
    assert error.code == 7
    logged = [record for record in caplog.records if record.exc_info and "Encountered exception" in record.message]
    text = logging.Formatter().formatException(logged[0].exc_info)  # type: ignore[arg-type]  # it has one
    assert 'raise Refusal(code, "no")' in text
    assert "remote_calls.py" not in text


def test_what_would_end_a_process_ends_the_run(runner: MakeRunner, embedded: Service) -> None:
    state = state_of(runner, lambda: work.leave.submit())
    assert state.is_crashed()
    assert state.message == "Execution was aborted by Python system exit call."


def test_time_is_limited_there(runner: MakeRunner, embedded: Service) -> None:
    state = state_of(runner, lambda: work.never_ending.submit())
    assert (state.name, state.message) == ("TimedOut", "Task run exceeded timeout of 0.2 seconds")


def test_failures_are_tried_again(runner: MakeRunner, embedded: Service) -> None:
    assert run(runner, lambda: work.fails_twice.submit().result()) == 3


def test_hooks_are_called_in_the_process_of_the_flow(runner: MakeRunner, embedded: Service) -> None:
    seen = []
    hooked = work.add.with_options(on_completion=[lambda task, run, state: seen.append((os.getpid(), run.name))])
    assert run(runner, lambda: hooked.submit(1).result()) == 2
    assert seen == [(os.getpid(), "add-0")]


# What the function finds there


def test_the_context_goes_along(runner: MakeRunner, service: Service) -> None:
    @flow(task_runner=runner(), name="with-context")
    def with_context(day: int) -> Any:
        with tags("around"):
            future = work.facts.submit()
        return future.result(), future.run_id

    found, run_id = with_context(4)
    flow_run = service.flow_runs("with-context")[-1]
    assert found == {
        "task": "facts",
        "run_count": 1,
        "parameters": {"day": 4},
        "flow": "with-context",
        "flow run": flow_run.spec.id,
        "run": run_id,
        "tags": ["around", "mine"],
    }


def test_what_is_logged_and_printed_there_is_stored_as_the_runs(runner: MakeRunner, service: Service) -> None:
    run(runner, lambda: work.facts.submit().result())
    flow_run_id = service.flow_runs("elsewhere")[-1].spec.id

    def wanted() -> list[str]:
        return [record.message for record in logs_of(flow_run_id) if record.run_name == "facts-0"]

    while len(texts := wanted()) < 3:  # workers that live on send theirs within a second
        pass
    assert sorted(texts) == ["Finished in state Completed()", "as logged", "as printed"]


def test_tasks_call_tasks_and_flows_there(runner: MakeRunner, service: Service) -> None:
    def nesting() -> Any:
        inner, outer = work.nested.submit(1), work.with_subflow.submit(1)
        return [state.result() for state in inner.result()], outer.result()

    assert run(runner, nesting) == ([12, 2], 4)
    flow_run_id = service.flow_runs("elsewhere")[-1].spec.id
    runs = service.task_runs(flow_run_id)
    assert len(runs) == 7
    assert {run.status.state.type for run in runs} == {v1.COMPLETED}
    assert service.flow_runs("below")[-1].status.state.type == v1.COMPLETED


def test_the_counting_of_calls_is_the_same_in_every_attempt(runner: MakeRunner, embedded: Service) -> None:
    attempts = []

    def nesting() -> Any:
        result = [state.result() for state in work.nested.submit(1).result()]
        attempts.append(result)
        if len(attempts) == 1:
            raise ValueError("again")
        return result

    assert run(runner, nesting, retries=1) == [12, 2]
    assert len(embedded.task_runs(embedded.flow_runs("elsewhere")[-1].spec.id)) == 5


# What can not be sent


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda lock: work.add.map([1, 2], y=lock), r"Parameter 'y' of task 'add' can not be sent .*lock.* ThreadPool"),
        (lambda lock: [task(lambda: lock).submit()], r"Task '<lambda>' can not be sent .*lock.* a parameter or part"),
        (lambda _: [work.make_lock.submit()], r"The result of task 'make_lock' can not be sent .*lock"),
    ],
    ids=["parameter", "function", "result"],
)
def test_what_can_not_be_pickled_is_named(
    runner: MakeRunner, embedded: Service, call: Callable[[Any], Any], says: str
) -> None:
    lock = threading.Lock()

    def sending() -> Any:
        return [future.result(raise_on_failure=False) for future in call(lock)]

    for error in run(runner, sending):
        assert isinstance(error, NotSendable)
        assert re.search(says, str(error), re.DOTALL)


def test_what_can_not_be_sent_is_not_tried_again(runner: MakeRunner, embedded: Service) -> None:
    patient = work.add.with_options(retries=3, retry_delay_seconds=3_600, retry_condition_fn=lambda *_: True)
    state = state_of(runner, lambda: patient.submit(threading.Lock()))
    assert embedded.state_names(task_run=state.state_details.task_run_id) == ["Pending", "Running", "Failed"]


# Workers that are lost


def test_a_run_whose_worker_was_killed_has_crashed_and_others_go_on(
    runner: MakeRunner, embedded: Service, tmp_path: Path
) -> None:
    started, release, place = tmp_path / "started", tmp_path / "release", tmp_path / "died"

    def losing() -> Any:
        other = work.wait_for.submit(started, release)
        lost = work.die_once.submit(place, wait_for=[])
        state = lost.wait()
        release.touch()
        other.result()
        return state, lost.result(raise_on_failure=False), other.run_id, work.add.submit(1).result()

    state, error, other, after = run(runner, losing)
    assert state.is_crashed()
    assert isinstance(error, CrashedRun)
    assert after == 2
    assert embedded.state_names(task_run=state.state_details.task_run_id) == ["Pending", "Running", "Crashed"]
    assert embedded.state_names(task_run=other) == ["Pending", "Running", "Completed"]


def test_it_is_tried_again_by_its_policy(runner: MakeRunner, service: Service, tmp_path: Path) -> None:
    stubborn = work.die_once.with_options(retries=1)

    def losing() -> Any:
        future = stubborn.submit(tmp_path / "died")
        return future.result(), future.run_id

    attempt, run_id = run(runner, losing)
    assert attempt == 2
    assert service.state_names(task_run=run_id) == ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]


def test_many_more_runs_than_workers(runner: MakeRunner, embedded: Service) -> None:
    def mapping() -> list[int]:
        return sorted(future.result() for future in as_completed(work.add.map(range(100), 0)))

    assert run(runner, mapping) == list(range(100))


# Flow runs that stop


def test_a_cancelled_flow_run_does_not_wait_for_what_runs(
    runner: MakeRunner, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYHEAD_LEASE_RENEWAL_S", "0.2")
    started, never = tmp_path / "started", tmp_path / "never"

    def waiting() -> None:
        context = FlowRunContext.get()
        assert context is not None
        future = work.wait_for.submit(started, never)
        queued = [work.add.submit(1) for _ in range(3)]
        while not started.exists():
            pass
        request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=context.flow_run.run_id)
        service.client.unary(CANCEL_FLOW_RUN, request)
        future.result()
        raise AssertionError(f"it went on, with {queued}")

    state = flow(waiting, name="cancelled", task_runner=runner())(return_state=True)
    assert state.is_cancelled()
    assert service.flow_runs("cancelled")[-1].status.state.type == v1.CANCELLED
    never.touch()


def test_a_flow_run_that_is_out_of_time_leaves_no_run_running(
    runner: MakeRunner, embedded: Service, tmp_path: Path
) -> None:
    started, never = tmp_path / "started", tmp_path / "never"

    @flow(task_runner=runner(), timeout_seconds=2, name="too-long")
    def waiting() -> None:
        work.wait_for.submit(started, never).result()

    assert waiting(return_state=True).name == "TimedOut"
    never.touch()
    run_id = embedded.task_runs(embedded.flow_runs("too-long")[-1].spec.id)[0].spec.id
    while embedded.task_run(run_id).status.state.type == v1.RUNNING:
        pass
    assert embedded.task_run(run_id).status.state.type == v1.CRASHED
