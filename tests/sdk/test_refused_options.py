"""Options of flows and tasks that no run could use are refused by name when they are given."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from playhead import flow, tags, task
from playhead.task_runners import SequentialTaskRunner, ThreadPoolTaskRunner


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
