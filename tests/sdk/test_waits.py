"""A run that a rule lets wait, or that awaits its retry, says so, and hears at once that it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from playhead import flow, task, v1
from playhead.client.interface import CANCEL_FLOW_RUN, LIST_STATES
from playhead.engine.execution.ids import new_id
from playhead.engine.orchestration.rules.effects import Effect, wait
from playhead.engine.orchestration.rules.rule import Rule
from tests.sdk.conftest import Service
from tests.sdk.test_refused_runs import folder, under

__all__ = ["folder"]


class Closed(Rule):
    """any -> RUNNING: WAIT for an hour."""

    to_states = frozenset({v1.RUNNING})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return wait(3_600, "Doors are closed.")


class Cancelling(logging.Handler):
    """Cancels the newest run of `outer` as soon as the log says something."""

    def __init__(self, words: str) -> None:
        super().__init__(logging.INFO)
        self.words = words
        self.told: list[str] = []
        self.service: Service | None = None
        self._elsewhere = ThreadPoolExecutor(1)

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.told.append(record.getMessage())
            self._elsewhere.submit(self._cancel).result(60)

    def _cancel(self) -> None:
        assert self.service is not None
        run = self.service.flow_runs("outer")[-1]
        request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run.spec.id)
        self.service.client.unary(CANCEL_FLOW_RUN, request)


@pytest.fixture
def cancelling() -> Iterator[Callable[[str], Cancelling]]:
    """Make a handler of the log."""
    logger, made = logging.getLogger("playhead"), []

    def make(words: str) -> Cancelling:
        made.append(Cancelling(words))
        logger.addHandler(made[-1])
        return made[-1]

    yield make
    for handler in made:
        logger.removeHandler(handler)


@task
def inner() -> None:
    raise AssertionError("it ran")


@flow(name="outer")
def called() -> None:
    inner()


@flow(name="outer")
def submitted() -> None:
    inner.submit().wait()


@pytest.mark.parametrize(
    ("subject", "outer"),
    [("core_flow", called), ("core_task", called), ("core_task", submitted)],
    ids=["flow run", "task run", "submitted"],
)
def test_a_rule_that_lets_a_run_wait_is_told_and_a_cancellation_ends_the_wait(
    folder: Path, cancelling: Callable[[str], Cancelling], subject: str, outer: Callable[..., object]
) -> None:
    handler = cancelling("Doors")
    handler.service = under(folder, Closed(), subject)
    state = outer(return_state=True)
    assert getattr(state, "name", None) == "Cancelled"
    assert handler.told == ["Closed: Doors are closed. Asking again in 1:00:00."]


class Open(Rule):
    """RUNNING -> COMPLETED: WAIT for an hour."""

    to_states = frozenset({v1.COMPLETED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return wait(3_600, "Doors are open.")


@task
def done() -> None: ...


@flow(name="outer")
def ending() -> None:
    done()


@flow(name="outer")
def ending_elsewhere() -> None:
    done.submit().wait()


@flow(name="outer")
async def ending_async() -> None:
    done()


@pytest.mark.parametrize(
    "outer",
    [ending, ending_elsewhere, lambda **how: asyncio.run(ending_async(**how))],
    ids=["called", "submitted", "async"],
)
def test_a_task_run_whose_end_has_to_wait_hears_of_a_cancellation(
    folder: Path, cancelling: Callable[[str], Cancelling], outer: Callable[..., object]
) -> None:
    handler = cancelling("Doors")
    handler.service = under(folder, Open(), "core_task")
    state = outer(return_state=True)
    assert getattr(state, "name", None) == "Cancelled"
    assert handler.told == ["Open: Doors are open. Asking again in 1:00:00."]


@task(retries=1, retry_delay_seconds=3_600)
def failing() -> None:
    raise ValueError("once")


@flow(name="outer")
def retrying() -> None:
    failing()


@flow(name="outer")
def retrying_elsewhere() -> None:
    failing.submit().wait()


@pytest.mark.parametrize("outer", [retrying, retrying_elsewhere], ids=["called", "submitted"])
def test_a_task_run_that_awaits_its_retry_hears_of_a_cancellation(
    service: Service, cancelling: Callable[[str], Cancelling], outer: Callable[..., object]
) -> None:
    handler = cancelling("will attempt to run again")
    handler.service = service
    state = outer(return_state=True)
    assert getattr(state, "name", None) == "Cancelled"


@flow(name="outer", retries=1, retry_delay_seconds=3_600)
def retried() -> None:
    raise ValueError("once")


def test_a_flow_run_that_awaits_its_retry_is_cancelled_by_its_process(
    service: Service, cancelling: Callable[[str], Cancelling]
) -> None:
    told: list[str] = []
    handler = cancelling("will attempt to run again")
    handler.service = service
    state = retried.with_options(on_cancellation=[lambda flow, run, state: told.append(state.name)])(return_state=True)
    assert state.name == "Cancelled"
    assert told == ["Cancelled"]
    states = service.client.unary(
        LIST_STATES, v1.ListStatesRequest(flow_run_id=service.flow_runs("outer")[-1].spec.id)
    ).states
    assert [state.name for state in states][-3:] == ["AwaitingRetry", "Cancelling", "Cancelled"]
