"""Contexts in other places: through JSON, in other processes, with numbers of their own."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, get_run_logger, settings, tags, task, v1
from playhead.context import (
    FlowRunContext,
    TagsContext,
    TaskRunContext,
    get_settings_context,
    hydrated_context,
    serialize_context,
    use_profile,
    with_context,
)
from playhead.exceptions import SerializationError
from playhead.profiles import Profile
from playhead.results import get_result_store, should_persist_result
from playhead.runtime import flow_run, task_run
from playhead.serializers import JSONSerializer
from tests.sdk.conftest import Service
from tests.sdk.test_logs import logs_of

SPAWN = multiprocessing.get_context("spawn")


def through_json() -> Any:
    """The context around, as another program would get it."""
    return json.loads(json.dumps(serialize_context(), default=str))


def in_another_process(function: Callable[..., Any], *args: Any) -> Any:
    """What a function gives when a process that multiprocessing has spawned calls it."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(function, *args).result()


@task
def note(place: Path, text: str) -> str:
    """A task that leaves a trace of each call."""
    with place.open("a") as file:
        file.write(f"{text}\n")
    return text.upper()


def facts_there(context: Any) -> dict[str, Any]:
    """What code sees of its run in another process."""
    with hydrated_context(context):
        get_run_logger().info("said in another process")
        around_flow, around_task = FlowRunContext.get(), TaskRunContext.get()
        assert around_flow is not None
        return {
            "flow run": (flow_run.id, flow_run.name, flow_run.flow_name, flow_run.tags, flow_run.run_count),
            "task run": (task_run.id, task_run.name, task_run.task_name, task_run.tags, task_run.parameters),
            "flow parameters": flow_run.parameters,
            "names": (around_flow.flow.name, around_task and around_task.task.name),
            "tags": TagsContext.get().current_tags,
            "journal": settings.value("PLAYHEAD_HOME"),
            "profile": get_settings_context().profile.name,
            "root": (flow_run.root_flow_run_id, flow_run.parent_flow_run_id),
        }


@task(tags=["t"])
def fact_finding(x: int, day: date) -> tuple[dict[str, Any], str]:
    """A task that asks another process for the facts."""
    with tags("inner"):
        return in_another_process(facts_there, through_json()), task_run.id or ""


@flow
def finding_facts(day: date) -> Any:
    """A flow whose parameter is not plain JSON."""
    with tags("outer"):
        return fact_finding(1, day), flow_run.name


def test_another_process_is_in_the_same_run(service: Service) -> None:
    with use_profile(Profile("staging", {"PLAYHEAD_TASKS_DEFAULT_RETRIES": "2"})):
        (seen, task_run_id), name = finding_facts("2026-02-03")
    run = service.flow_runs("finding-facts")[-1]
    assert seen["flow run"] == (run.spec.id, name, "finding-facts", [], 1)
    parameters = {"x": 1, "day": date(2026, 2, 3)}
    assert seen["task run"] == (task_run_id, "fact_finding-0", "fact_finding", ["outer", "t"], parameters)
    assert seen["flow parameters"] == {"day": date(2026, 2, 3)}
    assert seen["names"] == ("finding-facts", "fact_finding")
    assert seen["tags"] == {"outer", "inner"}
    assert seen["journal"] == settings.value("PLAYHEAD_HOME")
    assert seen["profile"] == "staging"
    assert seen["root"] == (run.spec.id, None)
    said = [record for record in logs_of(run.spec.id) if record.message == "said in another process"]
    assert [record.task_run_id for record in said] == [task_run_id]


def two_notes(context: Any, place: Path) -> list[str]:
    """Call a task twice, once directly and once submitted, in another process."""
    with hydrated_context(context):
        note.submit(place, "submitted")
        return [note(place, "called")]


def test_tasks_called_there_are_runs_of_the_flow_run_with_numbers_of_their_own(
    service: Service, tmp_path: Path
) -> None:
    @task
    def carrying() -> list[str]:
        return two_notes(through_json(), tmp_path / "below")

    @flow
    def around() -> Any:
        note(tmp_path / "here", "before")
        elsewhere = [in_another_process(two_notes, through_json(), tmp_path / f"there{n}") for n in range(2)]
        note(tmp_path / "here", "after")
        return elsewhere, carrying()

    assert around() == ([["CALLED"]] * 2, ["CALLED"])
    runs = service.task_runs(service.flow_runs("around")[-1].spec.id)
    parent = next(run.spec.id for run in runs if run.spec.name == "carrying-0")
    keys = sorted(run.spec.dynamic_key for run in runs if run.spec.task_key == note.task_key)
    assert keys == sorted(["0", "1", "b0.0", "b0.1", "b1.0", "b1.1", f"{parent}.b0.0", f"{parent}.b0.1"])
    assert {run.status.state.type for run in runs} == {v1.COMPLETED}
    for name in ("there0", "there1", "below"):
        assert sorted((tmp_path / name).read_text().split()) == ["called", "submitted"]


def test_an_attempt_that_follows_finds_what_was_done_there(service: Service, tmp_path: Path) -> None:
    attempts = []

    @flow(retries=1)
    def again() -> list[str]:
        found: list[str] = in_another_process(two_notes, through_json(), tmp_path / "there")
        attempts.append(found)
        if len(attempts) == 1:
            raise ValueError("once more")
        return found

    assert again() == ["CALLED"]
    assert len(attempts) == 2
    assert sorted((tmp_path / "there").read_text().split()) == ["called", "submitted"]


def one_note(place: Path, text: str) -> str:
    """For `with_context`."""
    return str(note(place, text))


def test_a_function_takes_its_context_to_processes_and_threads(service: Service, tmp_path: Path) -> None:
    def noted(pool: Any, place: Path) -> list[str]:
        with pool:
            return list(pool.map(with_context(one_note), [place] * 3, ["same", "same", "other"]))

    @flow
    def pools() -> Any:
        return noted(ProcessPoolExecutor(2, mp_context=SPAWN), tmp_path / "processes"), noted(
            ThreadPoolExecutor(2), tmp_path / "threads"
        )

    assert pools() == (["SAME", "SAME", "OTHER"],) * 2
    for name in ("processes", "threads"):
        assert sorted((tmp_path / name).read_text().split()) == ["other", "same", "same"]
    runs = service.task_runs(service.flow_runs("pools")[-1].spec.id)
    keys = sorted(run.spec.dynamic_key for run in runs)
    assert keys == ["b0.0.0.0", "b0.1.0.0", "b0.2.0.0", "b1.0.0", "b1.1.0", "b1.2.0"]


def test_a_coroutine_function_takes_its_context_along(embedded: Service) -> None:
    async def where() -> str | None:
        return flow_run.id

    @flow
    async def asynchronous() -> tuple[str | None, str | None]:
        with ThreadPoolExecutor(1) as pool:
            carried = with_context(where)
            return flow_run.id, await asyncio.wrap_future(pool.submit(lambda: asyncio.run(carried())))

    here, there = asyncio.run(asynchronous())
    assert here == there is not None


def test_a_program_of_ones_own_goes_on_from_a_file(service: Service, tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from playhead.context import hydrated_context, FlowRunContext\n"
        "from playhead import task\n"
        "@task\n"
        "def elsewhere(): return 7\n"
        "with hydrated_context(json.load(sys.stdin)):\n"
        "    print(elsewhere(), FlowRunContext.get().flow.name, FlowRunContext.get().parameters)\n"
    )

    @flow
    def telling(x: int) -> str:
        data = json.dumps(serialize_context(), default=str)
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, input=data, text=True, capture_output=True, check=True, cwd=tmp_path)
        return done.stdout

    assert telling(3) == "7 telling {'x': 3}\n"
    names = [run.spec.name for run in service.task_runs(service.flow_runs("telling")[-1].spec.id)]
    assert names == ["elsewhere-b0.0"]


def test_only_what_was_told_is_around(embedded: Service) -> None:
    outside = through_json()

    @task
    def inside() -> tuple[Any, ...]:
        with hydrated_context(outside):
            hidden = FlowRunContext.get(), TaskRunContext.get(), flow_run.id, TagsContext.get().current_tags
        with hydrated_context({}):
            kept = TaskRunContext.get()
        return hidden, kept is TaskRunContext.get() is not None

    @flow
    def around() -> Any:
        with tags("here"):
            return inside()

    assert around() == ((None, None, None, set()), True)


def results_there(context: Any) -> tuple[Any, ...]:
    """Where and how another process stores results."""
    with hydrated_context(context):
        store = get_result_store()
        return store.url, store.serializer, store.cache_result_in_memory, should_persist_result()


def test_results_are_stored_in_the_same_place_and_way(embedded: Service, tmp_path: Path) -> None:
    @flow(result_storage=tmp_path, result_serializer="json", cache_result_in_memory=False, persist_result=False)
    def around() -> Any:
        return in_another_process(results_there, through_json())

    assert around() == (str(tmp_path), JSONSerializer(), False, False)


def test_what_is_carried_is_small(embedded: Service) -> None:
    @task
    def large(data: bytes) -> tuple[int, bool]:
        context = json.dumps(serialize_context())
        with hydrated_context(json.loads(context)):
            return len(context), task_run.parameters == {"data": data}

    @flow
    def around(data: list[int]) -> Any:
        return len(json.dumps(serialize_context())), large(b"x" * 1_000_000)

    of_flow, (of_task, same) = around(list(range(100_000)))
    assert of_flow < 1_000
    assert of_task < 2_500
    assert same


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda told: told.pop("tags_context"), "tags_context must be an object, not NoneType"),
        (lambda told: told["tags_context"].update(current_tags="a"), "tags_context.current_tags must be a list"),
        (lambda told: told["flow_run_context"]["flow_run"].update(id=7), "flow_run_context.flow_run.id must be text"),
        (lambda told: told["flow_run_context"].update(start_time="soon"), "flow_run_context.start_time must be a time"),
    ],
)
def test_what_is_no_context_is_refused_by_the_field(
    embedded: Service, damage: Callable[[Any], Any], message: str
) -> None:
    @flow
    def telling() -> Any:
        return through_json()

    told = telling()
    damage(told)
    with pytest.raises(SerializationError, match=message), hydrated_context(told):
        pass
    with pytest.raises(SerializationError, match="it must be an object, not str"), hydrated_context("x"):  # type: ignore[arg-type]  # what a user might do
        pass
    assert FlowRunContext.get() is None
