"""Options of flows and tasks that no run could use are refused by name when they are given."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from playhead import flow, pause_flow_run, suspend_flow_run, tags, task
from playhead.concurrency.sync import concurrency
from playhead.task_runners import SequentialTaskRunner, ThreadPoolTaskRunner
from tests.sdk.conftest import Service


def function(x: int = 1) -> int:
    """What is decorated."""
    return x


BOTH: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", "a\nb"),
    ("name", "caf\udce9"),
    ("version", 2),
    ("retries", "3"),
    ("retries", -1),
    ("retries", 1.5),
    ("retries", 2_000_000),
    ("retry_delay_seconds", "x"),
    ("retry_delay_seconds", -1),
    ("retry_delay_seconds", [1, float("nan")]),
    ("retry_delay_seconds", [1, "x"]),
    ("timeout_seconds", "x"),
    ("timeout_seconds", -1),
    ("timeout_seconds", float("inf")),
    ("log_prints", "yes"),
    ("persist_result", "x"),
    ("cache_result_in_memory", 3),
]
OF_FLOWS: list[tuple[str, Any]] = [
    ("task_runner", "threads"),
    ("task_runner", dict),
    ("validate_parameters", "maybe"),
    ("retry_on_crash", "no"),
]
OF_TASKS: list[tuple[str, Any]] = [
    ("tags", 3),
    ("tags", [3]),
    ("tags", [""]),
    ("tags", ["a", "caf\udce9"]),
    ("tags", "x" * 201),
    ("cache_expiration", 3),
    ("cache_key_fn", 3),
    ("refresh_cache", "x"),
    ("retry_delay_seconds", lambda retries: ["soon"]),
    ("retry_jitter_factor", "x"),
    ("retry_jitter_factor", -0.5),
    ("result_storage_key", 3),
    ("task_key", "two\nlines"),
    ("task_key", "  "),
]


@pytest.mark.parametrize(
    ("decorator", "option", "value"),
    [(each, *row) for each in (flow, task) for row in BOTH]
    + [(flow, *row) for row in OF_FLOWS]
    + [(task, *row) for row in OF_TASKS],
)
def test_an_option_that_no_run_could_use_is_refused_where_it_is_given(decorator: Any, option: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^`{option}` must be "):
        decorator(**{option: value})(function)
    with pytest.raises((TypeError, ValueError), match=f"^`{option}` must be "):
        decorator(function).with_options(**{option: value})


@pytest.mark.parametrize(
    ("decorator", "options"),
    [
        (flow, {"task_runner": ThreadPoolTaskRunner}),
        (flow, {"task_runner": SequentialTaskRunner()}),
        (flow, {"retries": 3.0, "retry_delay_seconds": 0.5, "timeout_seconds": 0}),
        (flow, {"retries": 0, "retry_delay_seconds": (1, 2.5), "timeout_seconds": 0.1}),
        (task, {"retries": 2, "retry_delay_seconds": lambda retries: [1.0] * retries, "retry_jitter_factor": 0}),
        (task, {"cache_expiration": dt.timedelta(0), "tags": ("a" for _ in range(2)), "version": ""}),
        (task, {"tags": "abc", "name": 3}),
    ],
)
def test_what_runs_can_use_is_taken(decorator: Any, options: dict[str, Any]) -> None:
    made = decorator(**options)(function)
    assert made.with_options(description="the same").retries == options.get("retries", 0)


@pytest.mark.parametrize("tag", ["", "a\nb", "caf\udce9", "x" * 201])
def test_a_tag_that_no_run_can_have_is_refused_before_the_run(tag: str) -> None:
    with pytest.raises(ValueError, match=r"^`tags` must be one line of 1 to 200 bytes"), tags("fine", tag):
        pass


def test_the_number_of_a_call_has_room_behind_any_name(embedded: Service) -> None:
    @task(name="é" * 250)
    def long() -> int:
        return 1

    @flow
    def several() -> int:
        with concurrency([f"limit-{number:040}" for number in range(12)]):
            return long() + long()

    state = several(return_state=True)
    assert state.result() == 2
    names = [run.status.name for run in embedded.task_runs(state.state_details.flow_run_id)]
    assert sorted(name[-2:] for name in names) == ["-0", "-0", "-1"]
    assert max(len(name.encode()) for name in names) == 500


OF_PAUSES: list[tuple[str, Any]] = [
    ("timeout", 0),
    ("timeout", -1),
    ("timeout", float("nan")),
    ("timeout", 1e300),
    ("timeout", "5"),
    ("key", 5),
    ("key", "a\nb"),
    ("key", "x" * 501),
]
OF_LIMITS: list[tuple[str, Any]] = [
    ("occupy", 0),
    ("occupy", -1),
    ("occupy", 1.5),
    ("occupy", True),
    ("occupy", 10**10),
    ("occupy", "2"),
    ("timeout_seconds", -1),
    ("timeout_seconds", float("nan")),
    ("timeout_seconds", "5"),
]


@pytest.mark.parametrize("names", ["", [""], ["db", ""], 5, ["db", 3], "a\nb", "x" * 496])
def test_names_of_limits_that_there_can_not_be_are_refused_by_name(embedded: Service, names: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^`names` must be "), concurrency(names):
        pass


@pytest.mark.parametrize(("option", "value"), [*OF_PAUSES, *OF_LIMITS])
def test_what_no_pause_and_no_limit_could_use_is_refused_by_name_and_changes_nothing(
    embedded: Service, option: str, value: Any
) -> None:
    @flow
    def asks() -> None:
        of_pauses = option in ("timeout", "key")
        for ask in (
            (pause_flow_run, suspend_flow_run) if of_pauses else (concurrency("db", **{option: value}).__enter__,)
        ):
            with pytest.raises((ValueError, TypeError), match=f"^`{option}` must be "):
                ask(**({option: value} if of_pauses else {}))

    state = asks(return_state=True)
    assert state.name == "Completed"
    assert embedded.task_runs(state.state_details.flow_run_id) == []
