"""The examples of a widely known guide to flow and task configuration, and their outcomes."""

from __future__ import annotations

import datetime
import os
from datetime import timedelta
from typing import Any

import pytest

from playhead import flow, task
from playhead.runtime import flow_run, task_run
from playhead.task_runners import SequentialTaskRunner
from playhead.tasks import task_input_hash
from tests.sdk.conftest import Service

THURSDAY = datetime.datetime(2024, 2, 29, 12)


def only_task_run_name(service: Service, flow_name: str) -> str:
    """The name of the one task run of a flow's last run."""
    (run,) = service.task_runs(service.flow_runs(flow_name)[-1].spec.id)
    return run.status.name


def test_metadata_of_flows(service: Service) -> None:
    @flow(name="My Example Flow", description="An example flow for a tutorial.", version=os.getenv("GIT_COMMIT_SHA"))
    def my_flow() -> None:
        """Not used as a description."""

    @flow
    def documented() -> None:
        """From the docstring."""

    my_flow()
    assert my_flow.description == "An example flow for a tutorial."
    assert service.flow_runs("My Example Flow")[-1].spec.flow_version == my_flow.version != ""
    assert documented.description == "From the docstring."


def test_names_of_flow_runs(service: Service) -> None:
    @flow(flow_run_name="{name}-on-{date:%A}")
    def from_template(name: str, date: datetime.datetime) -> None: ...

    @flow(flow_run_name=lambda: f"{THURSDAY:%A}-is-a-nice-day")
    def from_function(name: str) -> None: ...

    def generate_flow_run_name() -> str:
        parameters = flow_run.parameters
        return f"{flow_run.flow_name}-with-{parameters['name']}-and-{parameters['limit']}"

    @flow(flow_run_name=generate_flow_run_name)
    def my_flow(name: str, limit: int = 100) -> None: ...

    from_template(name="marvin", date=THURSDAY)
    from_function(name="marvin")
    my_flow(name="marvin")
    names = [service.flow_runs(name)[-1].status.name for name in ("from-template", "from-function", "my-flow")]
    assert names == ["marvin-on-Thursday", "Thursday-is-a-nice-day", "my-flow-with-marvin-and-100"]


def test_metadata_and_names_of_task_runs(service: Service) -> None:
    @task(
        name="My Example Task",
        description="An example task for a tutorial.",
        tags=["tutorial", "tag-test"],
        task_run_name="hello-{name}-on-{date:%A}",
    )
    def my_task(name: str, date: datetime.datetime) -> None: ...

    @flow
    def named_by_template() -> None:
        my_task(name="marvin", date=THURSDAY)

    def generate_task_name() -> str:
        parameters = task_run.parameters
        return f"{flow_run.flow_name}-{task_run.task_name}-with-{parameters['name']}-and-{parameters['limit']}"

    @task(name="my-example-task", description="An example task for a tutorial.", task_run_name=generate_task_name)
    def computed(name: str, limit: int = 100) -> None: ...

    @flow
    def named_by_function(name: str) -> None:
        computed(name="marvin")

    named_by_template()
    named_by_function(name="marvin")
    assert my_task.tags == {"tutorial", "tag-test"}
    assert only_task_run_name(service, "named-by-template") == "hello-marvin-on-Thursday"
    expected = "named-by-function-my-example-task-with-marvin-and-100"
    assert only_task_run_name(service, "named-by-function") == expected


def test_retries(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    @task(retries=2, retry_delay_seconds=0)
    def failure() -> None:
        print("running")
        raise ValueError("bad code")

    @flow
    def test_retries() -> Any:
        return failure()

    state = test_retries(return_state=True)
    assert capsys.readouterr().out == "running\n" * 3
    assert state.is_failed()
    (run,) = service.task_runs(state.state_details.flow_run_id)
    assert service.state_names(task_run=run.spec.id) == [
        "Pending", "Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Failed",
    ]  # fmt: skip


def test_caching_by_inputs(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    @task(cache_key_fn=task_input_hash, cache_expiration=timedelta(minutes=1))
    def hello_task(name_input: str) -> str:
        print(f"Saying hello {name_input}")
        return "hello " + name_input

    @flow
    def hello_flow(name_input: str) -> None:
        hello_task(name_input)

    states = [hello_flow(name, return_state=True) for name in ("Marvin", "Marvin", "Trillian")]
    assert capsys.readouterr().out == "Saying hello Marvin\nSaying hello Trillian\n"
    assert [str(state) for state in states] == ["Completed('All states completed.')"] * 3
    runs = [service.task_runs(state.state_details.flow_run_id)[0].status.state.name for state in states]
    assert runs == ["Completed", "Cached", "Completed"]


def test_caching_by_a_key_of_ones_own(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    def cache_key_from_sum(context: Any, parameters: dict[str, Any]) -> Any:
        print(parameters)
        return sum(parameters["nums"])

    @task(cache_key_fn=cache_key_from_sum, cache_expiration=timedelta(minutes=1))
    def cached_task(nums: list[int]) -> int:
        print("running an expensive operation")
        return sum(nums)

    @flow
    def test_caching(nums: list[int]) -> Any:
        return cached_task(nums)

    assert [test_caching(nums) for nums in ([2, 2], [2, 2], [1, 3], [2, 3])] == [4, 4, 4, 5]
    assert capsys.readouterr().out.splitlines() == [
        "{'nums': [2, 2]}",
        "running an expensive operation",
        "{'nums': [2, 2]}",
        "{'nums': [1, 3]}",
        "{'nums': [2, 3]}",
        "running an expensive operation",
    ]


def test_task_runners(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    @task
    def first_task(num: int) -> int:
        return num + num

    @task
    def second_task(num: int) -> int:
        return num * num

    @flow(name="My Example Flow", task_runner=SequentialTaskRunner())
    def my_flow(num: int) -> None:
        plusnum = first_task.submit(num)
        sqnum = second_task.submit(plusnum)
        print(f"add: {plusnum.result()}, square: {sqnum.result()}")

    my_flow(5)
    assert capsys.readouterr().out == "add: 10, square: 100\n"
