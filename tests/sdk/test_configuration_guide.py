"""The examples of Prefect 2.13's guide to flow and task configuration, in its order, and their outcomes."""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
import threading
from datetime import timedelta
from pathlib import Path
from time import time_ns
from typing import Any

import pytest

from playhead import flow, task
from playhead.runtime import flow_run, task_run
from playhead.task_runners import SequentialTaskRunner
from playhead.tasks import task_input_hash
from tests.sdk.conftest import Service
from tests.sdk.test_logging_runtime import lines
from tests.sdk.test_virtual_time import run_flow
from tests.sdk.virtual import virtual_journal

THURSDAY = datetime.datetime(2024, 2, 29, 12)


@pytest.fixture(autouse=True)
def _records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The first line of each new record, as the console shows it."""
    shown = [line.splitlines()[0] for line in lines(caplog)]
    caplog.clear()
    return shown


def only_task_run_name(service: Service, flow_name: str) -> str:
    """The name of the one task run of a flow's last run."""
    (run,) = service.task_runs(service.flow_runs(flow_name)[-1].spec.id)
    return run.status.name


class TestMetadataOfFlows:
    def test_a_name_is_shown_in_the_log(self, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        @flow(name="My Example Flow", flow_run_name="red-orca")
        def my_flow() -> None: ...

        my_flow()
        assert said(caplog)[0] == (
            "INFO    | Flow run 'red-orca' - Beginning flow run 'red-orca' for flow 'My Example Flow'"
        )

    def test_without_a_name_it_is_the_functions(self, service: Service) -> None:
        @flow
        def my_plain_flow() -> None: ...

        my_plain_flow()
        assert my_plain_flow.name == "my-plain-flow"
        assert len(service.flow_runs("my-plain-flow")) == 1

    def test_a_description(self) -> None:
        @flow(name="My Example Flow", description="An example flow for a tutorial.")
        def my_flow() -> None:
            """Not used as a description."""

        assert my_flow.description == "An example flow for a tutorial."

    def test_without_a_description_it_is_the_docstring(self) -> None:
        @flow
        def documented() -> None:
            """From the docstring."""

        assert documented.description == "From the docstring."

    def test_a_version_is_recorded(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GIT_COMMIT_SHA", "74a4913")

        @flow(name="My Example Flow", description="An example.", version=os.getenv("GIT_COMMIT_SHA"))
        def my_flow() -> None: ...

        my_flow()
        assert service.flow_runs("My Example Flow")[-1].spec.flow_version == "74a4913"

    def test_without_a_version_it_is_a_hash_of_the_file_and_changes_with_it(self, tmp_path: Path) -> None:
        source = "from playhead import flow\n@flow\ndef my_flow(): ...\n"
        versions = []
        for text in (source, source, source + "# changed\n"):
            (tmp_path / "defining.py").write_text(text)
            defined: dict[str, Any] = {}
            exec(compile(text, tmp_path / "defining.py", "exec"), defined)
            versions.append(defined["my_flow"].version)
        assert versions[0] == versions[1] != versions[2]
        assert versions[0] == hashlib.md5(source.encode(), usedforsecurity=False).hexdigest()

    def test_where_there_is_no_file_there_is_no_version(self) -> None:
        defined: dict[str, Any] = {}
        exec("from playhead import flow\n@flow\ndef my_flow(): ...\n", defined)
        assert defined["my_flow"].version is None


class TestNamesOfFlowRuns:
    def test_from_a_template(self, service: Service) -> None:
        @flow(flow_run_name="{name}-on-{date:%A}")
        def my_flow(name: str, date: datetime.datetime) -> None: ...

        my_flow(name="marvin", date=THURSDAY)
        assert service.flow_runs("my-flow")[-1].status.name == "marvin-on-Thursday"

    def test_from_a_function(self, service: Service) -> None:
        def generate_flow_run_name() -> str:
            return f"{THURSDAY:%A}-is-a-nice-day"

        @flow(flow_run_name=generate_flow_run_name)
        def my_flow(name: str) -> None: ...

        my_flow(name="marvin")
        assert service.flow_runs("my-flow")[-1].status.name == "Thursday-is-a-nice-day"

    def test_from_a_function_that_asks_for_the_runs_facts(self, service: Service) -> None:
        def generate_flow_run_name() -> str:
            flow_name = flow_run.flow_name
            parameters = flow_run.parameters
            name = parameters["name"]
            limit = parameters["limit"]
            return f"{flow_name}-with-{name}-and-{limit}"

        @flow(flow_run_name=generate_flow_run_name)
        def my_flow(name: str, limit: int = 100) -> None: ...

        my_flow(name="marvin")
        assert service.flow_runs("my-flow")[-1].status.name == "my-flow-with-marvin-and-100"


class TestMetadataOfTasks:
    def test_a_name_a_description_and_tags(self, service: Service) -> None:
        @task(
            name="My Example Task",
            description="An example task for a tutorial.",
            tags=["tutorial", "tag-test"],
        )
        def my_task() -> None: ...

        @flow
        def around_my_task() -> None:
            my_task()

        around_my_task()
        assert (my_task.name, my_task.description) == ("My Example Task", "An example task for a tutorial.")
        (run,) = service.task_runs(service.flow_runs("around-my-task")[-1].spec.id)
        assert run.status.name == "My Example Task-0"
        assert sorted(run.spec.tags) == ["tag-test", "tutorial"]

    def test_a_run_name_from_a_template(self, service: Service) -> None:
        @task(name="My Example Task", task_run_name="hello-{name}-on-{date:%A}")
        def my_task(name: str, date: datetime.datetime) -> None: ...

        @flow
        def my_flow() -> None:
            my_task(name="marvin", date=THURSDAY)

        my_flow()
        assert only_task_run_name(service, "my-flow") == "hello-marvin-on-Thursday"

    def test_a_run_name_from_a_function(self, service: Service) -> None:
        def generate_task_name() -> str:
            return f"{THURSDAY:%A}-is-a-lovely-day"

        @task(name="My Example Task", task_run_name=generate_task_name)
        def my_task(name: str) -> None: ...

        @flow
        def my_flow() -> None:
            my_task(name="marvin")

        my_flow()
        assert only_task_run_name(service, "my-flow") == "Thursday-is-a-lovely-day"

    def test_a_run_name_from_a_function_that_asks_for_the_runs_facts(self, service: Service) -> None:
        def generate_task_name() -> str:
            flow_name = flow_run.flow_name
            task_name = task_run.task_name
            parameters = task_run.parameters
            name = parameters["name"]
            limit = parameters["limit"]
            return f"{flow_name}-{task_name}-with-{name}-and-{limit}"

        @task(name="my-example-task", task_run_name=generate_task_name)
        def my_task(name: str, limit: int = 100) -> None: ...

        @flow
        def my_flow(name: str) -> None:
            my_task(name="marvin")

        my_flow("marvin")
        assert only_task_run_name(service, "my-flow") == "my-flow-my-example-task-with-marvin-and-100"


class TestRetries:
    def test_a_task_runs_three_times_and_the_log_says_so(
        self, service: Service, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        @task(retries=2, retry_delay_seconds=0)
        def failure() -> None:
            print("running")
            raise ValueError("bad code")

        @flow(flow_run_name="red-orca")
        def test_retries() -> Any:
            return failure.submit()

        state = test_retries(return_state=True)
        assert capsys.readouterr().out == "running\n" * 3
        again = [
            "ERROR   | Task run 'failure-0' - Encountered exception during execution:",
            "INFO    | Task run 'failure-0' - Received non-final state 'AwaitingRetry' when proposing final state "
            "'Failed' and will attempt to run again...",
        ]
        assert said(caplog) == [
            "INFO    | Flow run 'red-orca' - Beginning flow run 'red-orca' for flow 'test-retries'",
            *again,
            *again,
            again[0],
            "ERROR   | Task run 'failure-0' - Finished in state "
            "Failed('Task run encountered an exception ValueError: bad code')",
            "ERROR   | Flow run 'red-orca' - Finished in state Failed('1/1 states failed.')",
        ]
        (run,) = service.task_runs(state.state_details.flow_run_id)
        assert service.state_names(task_run=run.spec.id) == [
            "Pending", "Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Failed",
        ]  # fmt: skip

    def test_a_failure_that_is_called_is_raised_in_the_flow(self, service: Service) -> None:
        @task(retries=2, retry_delay_seconds=0)
        def failure() -> None:
            raise ValueError("bad code")

        @flow
        def test_retries() -> Any:
            return failure()

        with pytest.raises(ValueError, match="bad code"):
            test_retries()
        state = service.flow_runs("test-retries")[-1].status.state
        assert state.message == "Flow run encountered an exception. ValueError: bad code"

    def test_a_flow_that_is_retried_retries_its_tasks_and_subflows(self, service: Service) -> None:
        attempts: list[str] = []

        def failing_once(name: str) -> None:
            attempts.append(name)
            if attempts.count(name) == 1:
                raise ValueError("bad code")

        @task
        def a_task() -> None:
            failing_once("task")

        @flow
        def child() -> None:
            failing_once("child")

        @flow(retries=2, retry_delay_seconds=0)
        def parent() -> str:
            a_task()
            child()
            return "done"

        assert parent() == "done"
        assert attempts == ["task", "task", "child", "child"]
        assert service.flow_runs("parent")[-1].status.run_count == 3


class TestCaching:
    def test_by_the_hash_of_the_inputs(
        self, service: Service, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        @task(cache_key_fn=task_input_hash, cache_expiration=timedelta(minutes=1))
        def hello_task(name_input: str) -> str:
            print(f"Saying hello {name_input}")
            return "hello " + name_input

        @flow(flow_run_name="taupe-grasshopper")
        def hello_flow(name_input: str) -> None:
            hello_task(name_input)

        for name, printed, ended in (
            ("Marvin", "Saying hello Marvin\n", "Completed()"),
            ("Marvin", "", "Cached(type=COMPLETED)"),
            ("Trillian", "Saying hello Trillian\n", "Completed()"),
        ):
            state = hello_flow(name, return_state=True)
            assert capsys.readouterr().out == printed
            assert said(caplog) == [
                "INFO    | Flow run 'taupe-grasshopper' - Beginning flow run 'taupe-grasshopper' for flow 'hello-flow'",
                f"INFO    | Task run 'hello_task-0' - Finished in state {ended}",
                "INFO    | Flow run 'taupe-grasshopper' - Finished in state Completed('All states completed.')",
            ]
            assert (state.name, state.message) == ("Completed", "All states completed.")
            assert str(state.state_details.flow_run_id) == service.flow_runs("hello-flow")[-1].spec.id

    def test_a_result_that_was_found_is_the_same_value(self, service: Service) -> None:
        @task(cache_key_fn=task_input_hash, cache_expiration=timedelta(minutes=1))
        def shouted(name_input: str) -> str:
            return name_input.upper()

        @flow
        def shouting_flow(name_input: str) -> Any:
            return [shouted.submit(name_input)]

        first, second = (shouting_flow("Marvin", return_state=True).result()[0] for _ in range(2))
        assert [(state.name, state.result()) for state in (first, second)] == [
            ("Completed", "MARVIN"),
            ("Cached", "MARVIN"),
        ]

    def test_after_a_minute_it_runs_again(
        self, embedded: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        @task(cache_key_fn=task_input_hash, cache_expiration=timedelta(minutes=1))
        def hello_task(name_input: str) -> str:
            print(f"Saying hello {name_input}")
            return "hello " + name_input

        @flow
        def hello_flow(name_input: str) -> None:
            hello_task(name_input)

        with virtual_journal(tmp_path) as (time, client):
            time.now_us = time_ns() // 1000
            for seconds, printed in ((0, "Saying hello Marvin\n"), (59, ""), (3600, "Saying hello Marvin\n")):
                time.advance(seconds)
                assert run_flow((time, client), hello_flow, name_input="Marvin").is_completed()
                assert capsys.readouterr().out == printed

    def test_by_a_key_of_ones_own(
        self, service: Service, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
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

        for nums, ran, total in (([2, 2], True, 4), ([2, 2], False, 4), ([1, 3], False, 4), ([2, 3], True, 5)):
            assert test_caching(nums) == total
            printed = [str({"nums": nums}), *["running an expensive operation"] * ran]
            assert capsys.readouterr().out.splitlines() == printed
            ended = "Completed()" if ran else "Cached(type=COMPLETED)"
            assert f"INFO    | Task run 'cached_task-0' - Finished in state {ended}" in said(caplog)


class TestTaskRunners:
    def test_tasks_are_submitted_to_the_runner_of_the_flow(
        self, service: Service, capsys: pytest.CaptureFixture[str]
    ) -> None:
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

    def test_a_task_that_is_called_runs_without_the_runner_and_gives_its_result(self, service: Service) -> None:
        @task
        def thread_of_task() -> str:
            return threading.current_thread().name

        @flow
        def my_flow() -> tuple[bool, bool]:
            here = threading.current_thread().name
            return thread_of_task() == here, thread_of_task.submit().result() == here

        assert my_flow() == (True, False)
