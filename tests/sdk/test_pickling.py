"""Flows and tasks as pickles: by name where another process finds them, as a whole where it does not."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import pytest

from playhead import flow, task
from playhead.dask import DaskTaskRunner
from playhead.ray import RayTaskRunner
from playhead.task_runners import ProcessPoolTaskRunner, SequentialTaskRunner, TaskRunner, ThreadPoolTaskRunner
from tests.runners import work


def carried(value: Any) -> Any:
    """What another process gets."""
    return cloudpickle.loads(cloudpickle.dumps(value))


def test_what_a_module_has_is_found_there() -> None:
    assert pickle.loads(pickle.dumps(work.add)) is work.add
    assert carried([work.below, work.add]) == [work.below, work.add]


def test_what_has_other_options_keeps_them_and_finds_its_function() -> None:
    other = carried(work.doubled)
    assert other is not work.add
    assert (other.name, other.fn) == ("doubled", work.add.fn)
    assert other.signature.bind((1,), {}) == {"x": 1, "y": 1}


def test_a_method_goes_with_what_it_is_bound_to() -> None:
    bound = carried(work.Scale(3).times)
    assert bound.ismethod
    assert bound.fn(2) == 6


def test_what_is_made_inside_of_a_function_goes_as_a_whole() -> None:
    @task(retries=2, tags=["a"])
    def countdown(n: int, step: int = 1) -> int:
        return 0 if n <= 0 else countdown.fn(n - step, step) + 1

    @flow(timeout_seconds=5)
    def starting(n: int) -> int:
        return countdown.fn(n)

    other, other_flow = carried((countdown, starting))
    assert other is not countdown
    assert (other.name, other.retries, other.tags) == ("countdown", 2, frozenset({"a"}))
    assert other.task_key == countdown.task_key
    assert other.fn(**other.signature.bind((4,), {"step": 2})) == 2
    assert (other_flow.fn(3), other_flow.timeout_seconds, other_flow.name) == (3, 5.0, "starting")


def test_a_function_that_refers_to_its_task_goes_with_it() -> None:
    @task
    def again(n: int) -> Any:
        return again if n else None

    function = carried(again.fn)
    assert function(1).fn(0) is None
    assert function(1).signature.bind((2,), {}) == {"n": 2}


@pytest.mark.parametrize(
    "runner",
    [
        ThreadPoolTaskRunner(2),
        SequentialTaskRunner(),
        ProcessPoolTaskRunner(3),
        DaskTaskRunner(address="tcp://here:1"),
        RayTaskRunner(init_kwargs={"num_cpus": 1}),
    ],
)
def test_a_flow_goes_with_its_runner(runner: TaskRunner) -> None:
    assert carried(flow(lambda: None, task_runner=runner)).task_runner == runner


def test_a_module_that_is_taken_by_value_is() -> None:
    cloudpickle.register_pickle_by_value(work)
    try:
        assert carried(work.add) is not work.add
        assert carried(work.add).fn(1, 2) == 3
    finally:
        cloudpickle.unregister_pickle_by_value(work)


def test_what_is_gone_from_its_module_is_named() -> None:
    data = pickle.dumps(work.add).replace(b"add", b"bad")
    with pytest.raises(AttributeError, match=r"The module 'tests\.runners\.work' has no 'bad' in this process"):
        pickle.loads(data)
