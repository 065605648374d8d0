"""A flow run that stops while calls that have begun wait for a worker again ends as it was asked to, with its hooks."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task, v1
from playhead.client.interface import CANCEL_FLOW_RUN
from playhead.context import FlowRunContext
from playhead.engine.execution.ids import new_id
from playhead.engine.signals import TerminationSignal
from playhead.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from tests.runners import work
from tests.sdk.conftest import Service


@pytest.fixture
def terminated() -> Iterator[list[int]]:
    """The signals that this process has got in the end, which it survives."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


def cancel(service: Service, run_id: str) -> None:
    service.client.unary(CANCEL_FLOW_RUN, v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run_id))
    task(lambda: None)()


def interrupt(service: Service, run_id: str) -> None:
    signal.raise_signal(signal.SIGINT)


def terminate(service: Service, run_id: str) -> None:
    signal.raise_signal(signal.SIGTERM)


@task(retries=1_000, retry_delay_seconds=0.01)
def fails() -> None:
    raise ValueError("again")


@pytest.mark.parametrize(("stop", "name"), [(cancel, "Cancelled"), (interrupt, "Crashed"), (terminate, "Crashed")])
@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner, ProcessPoolTaskRunner])
def test_a_call_that_waits_for_a_worker_again_is_given_up(
    embedded: Service,
    tmp_path: Path,
    terminated: list[int],
    runner: type[ThreadPoolTaskRunner],
    stop: Callable[[Service, str], None],
    name: str,
) -> None:
    started, never = tmp_path / "started", tmp_path / "never"
    hooks: list[str] = []

    def hook(_: object, __: object, state: Any) -> None:
        hooks.append(state.name)

    @flow(name="stopped", task_runner=runner(max_workers=1), on_cancellation=[hook], on_crashed=[hook])
    def stopped() -> None:
        context = FlowRunContext.get()
        assert context is not None
        # Its retry finds the one worker taken, sooner or later.
        fails.submit()
        work.wait_for.submit(started, never)
        pool = context.task_runner._pool
        while not (started.exists() and pool._waiting):
            pass
        stop(embedded, context.flow_run.run_id)
        raise AssertionError("it went on")

    with suppress(KeyboardInterrupt, TerminationSignal):
        stopped(return_state=True)
    never.touch()
    assert embedded.flow_runs("stopped")[-1].status.state.name == name
    assert hooks == [name]
    assert terminated == ([signal.SIGTERM] if stop is terminate else [])


class Objecting(ThreadPoolTaskRunner):
    """A runner that can not give up what was submitted to it."""

    def abandon(self) -> None:
        super().abandon()
        raise RuntimeError("no")


def test_a_runner_that_can_not_give_up_its_calls_does_not_keep_the_flow_run_from_its_end(
    embedded: Service, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = []

    @flow(task_runner=Objecting(), on_crashed=[lambda flow, run, state: hooks.append(state.name)])
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert embedded.flow_runs("interrupted")[-1].status.state.name == "Crashed"
    assert hooks == ["Crashed"]
    assert "The calls that were submitted could not be given up" in caplog.text
