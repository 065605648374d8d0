"""Run loggers, printed text, facts of the current run, tags and settings."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import pytest

from playhead import flow, get_run_logger, settings, task
from playhead.context import TagsContext, get_run_context, tags
from playhead.exceptions import MissingContextError
from playhead.logging import LogEavesdropper, disable_run_logger, get_logger
from playhead.logging.loggers import ConsoleFormatter
from playhead.runtime import flow_run, task_run
from tests.sdk.conftest import Service


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The records as the console shows them, without the time."""
    return [ConsoleFormatter().format(record).partition(" | ")[2] for record in caplog.records]


def test_records_say_which_run_they_come_from(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    @task
    def logging_task() -> None:
        get_run_logger().info("in the %s", "task", extra={"batch_size": 1000})

    @flow(flow_run_name="red-orca")
    def logging_flow() -> None:
        get_run_logger().warning("in the flow")
        logging_task.submit().wait()

    logging_flow()
    shown = lines(caplog)
    assert shown == [
        "INFO    | Flow run 'red-orca' - Beginning flow run 'red-orca' for flow 'logging-flow'",
        "WARNING | Flow run 'red-orca' - in the flow",
        "INFO    | Task run 'logging_task-0' - in the task",
        "INFO    | Task run 'logging_task-0' - Finished in state Completed()",
        "INFO    | Flow run 'red-orca' - Finished in state Completed('All states completed.')",
    ]
    run = service.flow_runs("logging-flow")[-1]
    record = caplog.records[2].__dict__
    assert record["flow_run_id"] == run.spec.id
    assert record["task_run_id"] == service.task_runs(run.spec.id)[0].spec.id
    assert (record["flow_name"], record["task_name"], record["batch_size"]) == ("logging-flow", "logging_task", 1000)


def test_a_failure_is_logged_with_its_traceback(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    @task(retries=1)
    def failure() -> None:
        raise ValueError("bad code")

    @flow(flow_run_name="red-orca")
    def failing_loudly() -> Any:
        return failure(return_state=True)

    caplog.set_level(logging.INFO)
    failing_loudly(return_state=True)
    shown = [line.splitlines()[0].partition(" - ")[2] for line in lines(caplog)]
    assert shown == [
        "Beginning flow run 'red-orca' for flow 'failing-loudly'",
        "Encountered exception during execution:",
        "Received non-final state 'AwaitingRetry' when proposing final state 'Failed' and will attempt to run again...",
        "Encountered exception during execution:",
        "Finished in state Failed('Task run encountered an exception ValueError: bad code')",
        "Finished in state Failed('1/1 states failed.')",
    ]
    assert "ValueError: bad code" in lines(caplog)[1]


def test_run_loggers_need_a_run(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(MissingContextError):
        get_run_logger()
    with pytest.raises(MissingContextError):
        get_run_context()
    with disable_run_logger():
        get_run_logger().error("nobody hears this")
    assert caplog.records == []


def test_a_run_logger_can_be_silenced(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    @task
    def quiet() -> None:
        disable_run_logger()
        get_run_logger().info("not heard")

    @flow
    def around() -> None:
        quiet()
        get_run_logger().info("heard")
        with disable_run_logger():
            get_run_logger().info("not heard")
        get_run_logger().info("heard again")

    caplog.set_level(logging.INFO)
    around()
    assert "not heard" not in caplog.text
    assert "heard again" in caplog.text


def test_other_loggers_and_listening_in() -> None:
    assert get_logger("mine").name == "playhead.mine"
    assert get_logger().name == "playhead"
    with LogEavesdropper("playhead.mine") as ears:
        get_logger("mine").warning("one %d", 1)
    get_logger("mine").warning("two")
    assert ears.text() == "one 1"
    assert [record.levelname for record in ears.get_logs()] == ["WARNING"]


def test_prints_become_records_where_that_is_asked_for(
    service: Service, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    @task
    def inheriting() -> None:
        print("from", "task", sep="-")

    @task(log_prints=False)
    def printing() -> None:
        print("printed")

    @flow(log_prints=True)
    def logging_prints() -> None:
        print("from flow")
        inheriting.submit().wait()
        printing()

    caplog.set_level(logging.INFO)
    logging_prints()
    print("outside")
    assert "Flow run 'x' - from flow".partition(" - ")[2] in caplog.text
    assert "from-task" in caplog.text
    assert capsys.readouterr().out == "printed\noutside\n"


def test_facts_of_the_current_run(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    @task(tags=["t"])
    def facts_of_task(x: int) -> tuple[Any, ...]:
        return task_run.name, task_run.task_name, task_run.tags, task_run.parameters, task_run.run_count, task_run.id

    @flow
    def facts(x: int) -> tuple[Any, ...]:
        assert isinstance(flow_run.scheduled_start_time, datetime)
        assert flow_run.parent_flow_run_id is None
        assert flow_run.root_flow_run_id == flow_run.id
        return flow_run.id, flow_run.name, flow_run.flow_name, flow_run.tags, flow_run.run_count, facts_of_task(x)

    run_id, name, flow_name, run_tags, count, of_task = facts(1)
    recorded = service.flow_run(run_id)
    assert (name, flow_name, run_tags, count) == (recorded.status.name, "facts", [], 1)
    assert of_task[:5] == ("facts_of_task-0", "facts_of_task", ["t"], {"x": 1}, 1)
    assert (flow_run.id, flow_run.tags, flow_run.parameters, task_run.name) == (None, [], {}, None)
    monkeypatch.setenv("PLAYHEAD__RUNTIME__FLOW_RUN__NAME", "marvin")
    monkeypatch.setenv("PLAYHEAD__RUNTIME__TASK_RUN__RUN_COUNT", "7")
    monkeypatch.setenv("PLAYHEAD__RUNTIME__FLOW_RUN__TAGS", "a")
    assert (flow_run.name, task_run.run_count) == ("marvin", 7)
    with pytest.raises(ValueError, match="tags"):
        _ = flow_run.tags
    with pytest.raises(AttributeError, match="nosuch"):
        _ = flow_run.nosuch


def test_tags_nest_and_can_be_changed() -> None:
    with tags("a") as outer:
        assert outer == {"a"}
        with tags("b"):
            assert TagsContext.get().current_tags == {"a", "b"}
            TagsContext.get().add_tags("c")
            TagsContext.get().remove_tags("a")
            assert TagsContext.get().current_tags == {"b", "c"}
        assert TagsContext.get().current_tags == {"a"}
    assert TagsContext.get().current_tags == set()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", "5")
    assert settings.lease_ttl_s() == 5
    monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", "soon")
    with pytest.raises(ValueError, match="PLAYHEAD_LEASE_TTL_S must be from 1"):
        settings.lease_ttl_s()
    monkeypatch.setenv("PLAYHEAD_TASKS_DEFAULT_RETRIES", "3")
    assert task(lambda: None).retries == 3
