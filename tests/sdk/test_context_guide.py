"""The examples of a guide to context and utilities of Prefect 3.4, each with its documented outcome."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from playhead import flow, get_run_logger, tags, task
from playhead.context import FlowRunContext, TaskRunContext, hydrated_context, serialize_context
from playhead.logging import disable_run_logger, get_logger
from playhead.utilities.annotations import Quote, allow_failure, quote, unmapped
from tests.sdk.conftest import Service
from tests.sdk.test_logs import logs_of

module_logger = get_logger(__name__)


@pytest.fixture(autouse=True)
def _records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def said_by(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """The records of a run, by the name of its flow or task."""
    records = [record for record in caplog.records if name in {vars(record).get("task_name"), flow_of(record)}]
    return [f"{record.levelname} {record.getMessage()}" for record in records]


def flow_of(record: logging.LogRecord) -> Any:
    """The flow of a flow run's record; None for a task run's."""
    return None if vars(record).get("task_name") else vars(record).get("flow_name")


def test_logging(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    def complex_operation(data: list[int]) -> list[int]:
        return [2 // x for x in data]

    @task
    def extract_data() -> list[int]:
        return [1, 2]

    @task
    def process_data(data: list[int]) -> list[int]:
        logger = get_run_logger()
        logger.info(f"Processing {len(data)} records")
        try:
            result = complex_operation(data)
            logger.info(f"Successfully processed {len(result)} records")
            return result
        except Exception as e:
            logger.error(f"Processing failed: {e}")
            raise

    @flow(flow_run_name="green-newt")
    def data_pipeline() -> list[int]:
        logger = get_run_logger()
        logger.info("Starting data pipeline")
        logger.info("Configuration", extra={"batch_size": 1000, "env": "production"})
        data = extract_data()
        result = process_data(data)
        process_data([0], return_state=True)
        logger.info(f"Pipeline completed successfully with {len(result)} records")
        return result

    assert data_pipeline() == [2, 1]
    assert said_by(caplog, "data-pipeline") == [
        "INFO Beginning flow run 'green-newt' for flow 'data-pipeline'",
        "INFO Starting data pipeline",
        "INFO Configuration",
        "INFO Pipeline completed successfully with 2 records",
        "INFO Finished in state Completed()",
    ]
    assert [line.splitlines()[0] for line in said_by(caplog, "process_data")] == [
        "INFO Processing 2 records",
        "INFO Successfully processed 2 records",
        "INFO Finished in state Completed()",
        "INFO Processing 1 records",
        "ERROR Processing failed: integer division or modulo by zero",
        "ERROR Encountered exception during execution:",
        "ERROR Finished in state Failed('Task run encountered an exception ZeroDivisionError: integer division or "
        "modulo by zero')",
    ]
    run = service.flow_runs("data-pipeline")[-1]
    stored = {record.message: record for record in logs_of(run.spec.id)}
    assert json.loads(stored["Configuration"].extra) == {"batch_size": 1000, "env": "production"}
    first, *_ = [each for each in service.task_runs(run.spec.id) if each.spec.task_key.endswith("process_data")]
    about = stored["Processing 2 records"]
    assert (about.flow_run_id, about.task_run_id) == (run.spec.id, first.spec.id)
    assert module_logger.name == f"playhead.{__name__}"


def test_a_quiet_task(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    @task
    def quiet_task() -> str:
        disable_run_logger()
        get_run_logger().info("not heard")
        return "completed quietly"

    @flow
    def around() -> str:
        result: str = quiet_task()
        get_run_logger().info("heard")
        return result

    assert around() == "completed quietly"
    assert said_by(caplog, "quiet_task") == []
    assert "INFO heard" in said_by(caplog, "around")


def test_contexts_and_tags(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    @task
    def analyze_data() -> str:
        context = TaskRunContext.get()
        if context:
            print(f"Task: {context.task.name}")
            print(f"Task Run ID: {context.task_run.id}")
        return "analysis complete"

    @flow
    def data_workflow() -> list[str]:
        context = FlowRunContext.get()
        if context:
            print(f"Flow: {context.flow.name}")
            print(f"Flow Run ID: {context.flow_run.id}")
        with tags("critical", "production"):
            result1 = analyze_data()
            result2 = analyze_data()
        result3 = analyze_data()
        return [result1, result2, result3]

    assert data_workflow() == ["analysis complete"] * 3
    run = service.flow_runs("data-workflow")[-1]
    runs = service.task_runs(run.spec.id)
    assert [sorted(each.spec.tags) for each in runs] == [["critical", "production"]] * 2 + [[]]
    told = [line for each in runs for line in ("Task: analyze_data", f"Task Run ID: {each.spec.id}")]
    assert capsys.readouterr().out.splitlines() == ["Flow: data-workflow", f"Flow Run ID: {run.spec.id}", *told]


def test_tags_around_a_flow(service: Service) -> None:
    @flow
    def my_flow() -> None:
        pass

    with tags("production", "etl"):
        my_flow()
    assert sorted(service.flow_runs("my-flow")[-1].spec.tags) == ["etl", "production"]


def test_nested_tags(service: Service) -> None:
    @task
    def extract_data() -> int:
        return 1

    @task
    def transform_data(data: int) -> int:
        return data + 1

    @task
    def load_data(data: int) -> int:
        return data * 10

    @flow
    def complex_workflow() -> int:
        with tags("pipeline"):
            with tags("extract"):
                extract_result = extract_data()
            with tags("transform"):
                transform_result = transform_data(extract_result)
            with tags("load"):
                load_result: int = load_data(transform_result)
            return load_result

    assert complex_workflow() == 20
    runs = service.task_runs(service.flow_runs("complex-workflow")[-1].spec.id)
    assert [sorted(run.spec.tags) for run in runs] == [
        ["extract", "pipeline"],
        ["pipeline", "transform"],
        ["load", "pipeline"],
    ]


def test_mapping_with_unmapped_arguments(service: Service) -> None:
    @task
    def process_item(item: int, config: dict[str, int], multiplier: int) -> int:
        return item * config["factor"] * multiplier

    @flow
    def mapping_example() -> Any:
        items = [1, 2, 3, 4, 5]
        config = {"factor": 10}
        multiplier = 2
        return process_item.map(items, unmapped(config), unmapped(multiplier))

    state = mapping_example(return_state=True)
    assert [each.result() for each in state.result()] == [20, 40, 60, 80, 100]


def test_failures_that_are_allowed_reach_what_comes_after(service: Service) -> None:
    @task
    def handle_result(result: object) -> str:
        if isinstance(result, Exception):
            return f"Error: {result}"
        return f"Success: {result}"

    @task
    def risky_task(value: int) -> int:
        if value < 0:
            raise ValueError("Negative value")
        return value * 2

    @flow
    def failure_handling_example() -> Any:
        values = [-1, 2, 3, -4, 5]
        results = risky_task.map(allow_failure(values))
        return handle_result.map(results)

    state = failure_handling_example(return_state=True)
    assert state.is_completed()
    error = "Error: Negative value"
    handled = [each.result() for each in state.result()]
    assert handled == [error, "Success: 4", "Success: 6", error, "Success: 10"]


def test_quoted_expressions(service: Service) -> None:
    @task
    def expression_task(expr_string: object) -> str:
        return f"Expression: {expr_string}"

    @flow
    def quote_example() -> tuple[str, str]:
        x = 10
        y = 20
        result1 = expression_task(x + y)
        result2 = expression_task(quote("x + y"))
        return result1, result2

    assert quote_example() == ("Expression: 30", "Expression: x + y")
    assert Quote is quote


def test_a_context_that_was_serialized_and_restored(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    @task
    def child_task() -> None:
        context = TaskRunContext.get()
        if context:
            print(f"Restored task context: {context.task_run.id}")

    @flow
    def parent_flow() -> None:
        context_data = serialize_context()
        context_json = json.dumps(context_data, default=str)
        restored_data = json.loads(context_json)
        with hydrated_context(restored_data):
            child_task()

    parent_flow()
    (run,) = service.task_runs(service.flow_runs("parent-flow")[-1].spec.id)
    assert capsys.readouterr().out == f"Restored task context: {run.spec.id}\n"
