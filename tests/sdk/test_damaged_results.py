"""Stored results that are missing, cut short, altered or unreadable: never returned, and what made them runs again."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task, v1
from playhead.client.interface import LIST_STATES, PROPOSE_STATE
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.drivers import drive_sync
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.subflows import call_loop
from playhead.exceptions import ConfigurationError, CorruptResult
from playhead.runs import FlowRun
from playhead.states import State
from playhead.stored_results import StoredResult
from tests.sdk.conftest import Service

LARGE = "x" * 100_000
"""More than is kept in the journal."""


def alter(path: Path) -> None:
    """Another byte."""
    path.write_bytes(b"Y" + path.read_bytes()[1:])


def cut_short(path: Path) -> None:
    """The last byte is lost."""
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES: list[Callable[[Path], None]] = [alter, cut_short, Path.unlink]
every_damage = pytest.mark.parametrize("damage", DAMAGES, ids=["altered", "cut short", "gone"])


@pytest.fixture
def files(service: Service, tmp_path: Path) -> Callable[[], list[Path]]:
    """The files of the stored results."""
    return lambda: [path for path in (tmp_path / "home" / "results").rglob("*") if path.is_file()]


class Once(BaseException):
    """What ends the first attempt."""


def run_again(service: Service, which: Any) -> State[Any]:
    """Execute the newest run of a flow again."""
    recorded = service.flow_runs(which.name)[-1]
    existing = FlowRun(recorded.spec.id, recorded.status.name, [], which.name, {})
    return drive_sync(call_loop(FlowCall(which, {}, service.client, existing=existing)), service.client)


def states_of(service: Service, task_run_id: str) -> list[v1.State]:
    """All states of a task run."""
    return list(service.client.unary(LIST_STATES, v1.ListStatesRequest(task_run_id=task_run_id)).states)


@every_damage
def test_a_cached_result_that_is_damaged_is_made_again(
    service: Service, files: Callable[[], list[Path]], damage: Callable[[Path], None]
) -> None:
    ran = []

    @task(cache_key_fn=lambda context, parameters: f"damaged by {damage.__name__}")
    def large() -> str:
        ran.append(1)
        return LARGE

    @flow(name=f"caching-{damage.__name__.replace('_', '-')}")
    def caching() -> int:
        return len(large())

    assert caching() == len(LARGE)
    (path,) = files()
    damage(path)
    assert caching() == len(LARGE)
    assert len(ran) == 2
    assert caching() == len(LARGE)
    assert len(ran) == 2, "the new result is whole, and shared"
    runs = [service.task_runs(run.spec.id)[0] for run in service.flow_runs(caching.name)]
    states = [states_of(service, run.spec.id) for run in runs]
    names = [[state.name for state in of_run] for of_run in states]
    assert names[1] == ["Pending", "Cached", "Rerunning", "Completed"]
    assert names[2] == ["Pending", "Cached"]
    _, cached, running, completed = states[1]
    assert path.as_uri() in running.message
    assert running.details.damaged_result == cached.result.reference.sha256
    assert StoredResult(completed.result).get() == LARGE


@every_damage
def test_a_flow_run_that_is_resumed_runs_what_made_a_damaged_result_again(
    service: Service, files: Callable[[], list[Path]], damage: Callable[[Path], None]
) -> None:
    ran: list[str] = []

    @task
    def large() -> str:
        ran.append("large")
        return LARGE

    @task
    def small(text: str) -> int:
        ran.append("small")
        return len(text)

    @flow(name=f"resumed-{damage.__name__.replace('_', '-')}")
    def resumed() -> int:
        n = small(large())
        if len(ran) == 2:
            raise Once
        return n

    with pytest.raises(Once):
        resumed()
    (path,) = files()
    damage(path)
    assert run_again(service, resumed).result() == len(LARGE)
    assert ran == ["large", "small", "large"]
    runs = {
        run.spec.task_key.rpartition(".")[2]: run
        for run in service.task_runs(service.flow_runs(resumed.name)[-1].spec.id)
    }
    assert service.state_names(task_run=runs["small"].spec.id) == ["Pending", "Running", "Completed"]
    states = states_of(service, runs["large"].spec.id)
    assert [state.name for state in states] == ["Pending", "Running", "Completed", "Rerunning", "Completed"]
    assert path.as_uri() in states[3].message


def test_submitted_and_awaited_tasks_too(service: Service, files: Callable[[], list[Path]]) -> None:
    ran = []

    @task
    async def step(n: int) -> str:
        ran.append(n)
        return f"{n}" * 50_000

    @flow
    async def awaiting() -> int:
        texts = [*await asyncio.gather(step(1), step(2)), *step.map([3, 4]).result()]
        if len(ran) == 4:
            raise Once
        return sum(map(len, texts))

    with pytest.raises(Once):
        asyncio.run(awaiting())
    for path in files():
        alter(path)
    assert run_again(service, awaiting).result() == 200_000
    assert sorted(ran) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_subflow_and_a_flow_run_that_are_done_run_again(service: Service, files: Callable[[], list[Path]]) -> None:
    ran: list[str] = []

    @flow
    def inner() -> str:
        ran.append("inner")
        return LARGE

    @flow
    def outer() -> str:
        ran.append("outer")
        return inner()[1:]  # type: ignore[no-any-return]  # flows answer Any

    assert outer() == LARGE[1:]
    assert run_again(service, outer).result() == LARGE[1:]
    assert ran == ["outer", "inner"], "nothing is damaged"
    for path in files():
        path.unlink()
    assert run_again(service, outer).result() == LARGE[1:]
    assert ran == ["outer", "inner", "outer", "inner"]
    assert len(files()) == 2
    recorded = service.flow_runs("outer")[-1]
    assert service.state_names(flow_run=recorded.spec.id) == ["Pending", "Running", "Completed", "Running", "Completed"]
    (tracking,) = service.task_runs(recorded.spec.id)
    assert (
        states_of(service, tracking.spec.id)[-2].details.damaged_result
        == hashlib.sha256(f'"{LARGE}"'.encode()).digest()
    )


@task(cache_key_fn=lambda context, parameters: parameters["key"])
def cached(key: str) -> str:
    return "made anew"


@flow
def looking(key: str) -> str:
    return cached(key)  # type: ignore[no-any-return]  # tasks answer Any


def complete(service: Service, key: str, result: v1.Result) -> None:
    """Put a result in the cache."""
    state = v1.State(type=v1.COMPLETED, details=v1.StateDetails(cache_key=key), result=result)
    spec = v1.TaskRunSpec(id=new_id(), task_key="other")
    service.client.unary(PROPOSE_STATE, v1.ProposeStateRequest(request_id=new_id(), create_task_run=spec, state=state))


def test_a_result_in_the_journal_that_can_not_be_read_is_made_again(service: Service) -> None:
    """The class of the pickled value is gone, say."""
    pickled = base64.b64decode("gASVGAAAAAAAAACMBG5vbmWUjAVDbGFzc5STlCmBlC4=")
    complete(service, "unreadable", v1.Result(inline=pickled, media_type="application/x-cloudpickle"))
    assert looking("unreadable") == "made anew"


def test_storage_that_can_not_be_reached_is_no_damage(service: Service) -> None:
    reference = v1.ResultReference(url="nowhere://bucket/key", sha256=bytes(32))
    complete(service, "unreachable", v1.Result(reference=reference, media_type="application/json"))
    with pytest.raises(ConfigurationError, match="nowhere"):
        looking("unreachable")
    (run,) = service.task_runs(service.flow_runs("looking")[-1].spec.id)
    assert run.status.state.name == "Cached"


def test_a_result_that_is_damaged_while_it_is_held_is_reported_by_name(
    service: Service, files: Callable[[], list[Path]]
) -> None:
    @task
    def large() -> str:
        return LARGE

    @flow
    def holding() -> str:
        return str(large())

    holding()
    for path in files():
        cut_short(path)
    (run,) = service.task_runs(service.flow_runs("holding")[-1].spec.id)
    with pytest.raises(CorruptResult, match=r"The result stored at file:///.* was altered or cut short"):
        StoredResult(run.status.state.result).get()
