"""Every form that flows and tasks are declared in, and every option in every place it is given."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

import pytest

from playhead import Flow, Task, flow, task, v1
from playhead.client.interface import CANCEL_FLOW_RUN
from playhead.engine.execution.ids import new_id
from playhead.exceptions import InvalidNameError
from playhead.runtime import flow_run as current
from playhead.serializers import JSONSerializer, PickleSerializer
from playhead.states import State
from playhead.task_runners import SequentialTaskRunner, ThreadPoolTaskRunner
from playhead.utilities.annotations import NotSet
from tests.sdk.conftest import Service


def hook(definition: Any, run: Any, state: State[Any]) -> None: ...


def other_hook(definition: Any, run: Any, state: State[Any]) -> None: ...


class Scale:
    """Methods of every kind, each decorated in both orders where there are two."""

    factor = 3

    def __init__(self, factor: int) -> None:
        self.factor = factor

    @flow
    def flow_method(self, n: int) -> int:
        return n * self.factor

    @task
    def task_method(self, n: int) -> int:
        return n * self.factor

    @classmethod
    @flow
    def class_flow(cls, n: int) -> int:
        return n * cls.factor

    @flow
    @classmethod
    def flow_class(cls, n: int) -> int:
        return n * cls.factor

    @task
    @classmethod
    def task_class(cls, n: int) -> int:
        return n * cls.factor

    @staticmethod
    @flow
    def static_flow(n: int) -> int:
        return n * 2

    @flow
    @staticmethod
    def flow_static(n: int) -> int:
        return n * 2

    @task
    @staticmethod
    def task_static(n: int) -> int:
        return n * 2


class Wide(Scale):
    factor = 10


def test_methods_of_every_kind(service: Service) -> None:
    five: Any = Scale(5)
    assert [five.flow_method("2"), five.task_method(2)] == [10, 10]
    assert [Scale.class_flow("2"), five.class_flow(2), Wide.class_flow(2)] == [6, 6, 20]
    assert [Wide.flow_class("2"), Wide(1).flow_class(2), Wide.task_class(2), five.task_class(2)] == [20, 20, 20, 6]
    assert [Scale.static_flow("2"), five.static_flow(2), five.flow_static("2"), Scale.task_static(2)] == [4, 4, 4, 4]
    assert [run.status.state.name for run in service.flow_runs("flow-class")] == ["Completed", "Completed"]


def test_what_kind_of_method_it_is() -> None:
    five: Any = Scale(5)
    kinds = {
        name: (bound.ismethod, bound.isclassmethod, bound.isstaticmethod)
        for name in ("flow_method", "task_method", "flow_class", "task_class", "flow_static", "task_static")
        for bound in [getattr(five, name)]
    }
    assert kinds == {
        "flow_method": (True, False, False),
        "task_method": (True, False, False),
        "flow_class": (True, True, False),
        "task_class": (True, True, False),
        "flow_static": (False, False, True),
        "task_static": (False, False, True),
    }
    renamed = Scale.__dict__["flow_class"].with_options(name="renamed")
    assert (renamed.isclassmethod, renamed.isstaticmethod) == (True, False)


def test_objects_and_partial_functions_can_be_flows_and_tasks(service: Service) -> None:
    class Adding:
        def __call__(self, n: int) -> int:
            return n + 1

    added = functools.partial(lambda x, y: x + y, y=2)
    assert flow(Adding())(n="1") == 2
    assert task(Adding())(1) == 2
    assert flow(name="partial")(added)(1) == 3
    assert (flow(lambda: 1).name, flow(Adding()).name, task(Adding()).name) == ("unknown-lambda", "Adding", "Adding")
    with pytest.raises(TypeError, match="'fn' must be callable"):
        flow(5)  # type: ignore[call-overload]  # wrong on purpose


def test_names_of_flows(service: Service) -> None:
    @flow(name='A "very" [odd] {name} | \\ yes')
    def odd() -> str:
        return str(current.flow_name)

    assert odd() == odd.name
    for character in "/%&><":
        with pytest.raises(InvalidNameError, match="invalid character"):
            flow(name=f"a{character}b")(odd.fn)
    with pytest.raises(TypeError, match=r"Expected string for flow parameter 'name'; got function instead\. Perhaps"):
        flow(name=hook)(odd.fn)  # type: ignore[call-overload]  # wrong on purpose


@pytest.mark.parametrize("decorator", [flow, task])
def test_hooks_must_be_lists_of_functions(decorator: Any) -> None:
    with pytest.raises(TypeError, match="Expected iterable for 'on_completion'; got function instead"):
        decorator(on_completion=hook)(lambda: None)
    with pytest.raises(TypeError, match="Expected callables in 'on_failure'; got int instead"):
        decorator(on_failure=[hook, 5])(lambda: None)


FLOW_OPTIONS: dict[str, tuple[Any, Any]] = {
    "name": ("first", "second"),
    "version": ("1", "2"),
    "flow_run_name": ("a-{n}", "b-{n}"),
    "retries": (1, 2),
    "retry_delay_seconds": ([1.0], [2.0, 3.0]),
    "retry_on_crash": (True, False),
    "task_runner": (SequentialTaskRunner(), ThreadPoolTaskRunner(max_workers=3)),
    "description": ("one", "two"),
    "timeout_seconds": (10.0, 20.0),
    "validate_parameters": (True, False),
    "persist_result": (True, False),
    "result_storage": ("/one", "/two"),
    "result_serializer": (PickleSerializer(), JSONSerializer()),
    "cache_result_in_memory": (True, False),
    "log_prints": (True, False),
    "on_completion": ([hook], [other_hook]),
    "on_failure": ([hook], [other_hook]),
    "on_cancellation": ([hook], [other_hook]),
    "on_crashed": ([hook], [other_hook]),
    "on_running": ([hook], [other_hook]),
}
TASK_OPTIONS: dict[str, tuple[Any, Any]] = {
    "name": ("first", "second"),
    "description": ("one", "two"),
    "tags": ({"a"}, {"b", "c"}),
    "version": ("1", "2"),
    "task_run_name": ("a-{n}", "b-{n}"),
    "cache_key_fn": (lambda context, parameters: "a", lambda context, parameters: "b"),
    "cache_expiration": (dt.timedelta(1), dt.timedelta(2)),
    "refresh_cache": (True, False),
    "retries": (1, 2),
    "retry_delay_seconds": ([1.0], [2.0, 3.0]),
    "retry_jitter_factor": (0.5, 0.25),
    "retry_condition_fn": (lambda *_: True, lambda *_: False),
    "persist_result": (True, False),
    "result_storage": ("/one", "/two"),
    "result_storage_key": ("one", "two"),
    "result_serializer": (PickleSerializer(), JSONSerializer()),
    "cache_result_in_memory": (True, False),
    "timeout_seconds": (10.0, 20.0),
    "log_prints": (True, False),
    "on_completion": ([hook], [other_hook]),
    "on_failure": ([hook], [other_hook]),
    "on_cancellation": ([hook], [other_hook]),
    "on_crashed": ([hook], [other_hook]),
    "on_running": ([hook], [other_hook]),
    "viz_return_value": (1, 2),
}
OPTIONS = [
    *((flow, FLOW_OPTIONS, name) for name in FLOW_OPTIONS),
    *((task, TASK_OPTIONS, name) for name in TASK_OPTIONS),
]


def shown(definition: Flow[..., Any] | Task[..., Any], option: str) -> Any:
    """An option as the flow or task has it."""
    attributes = {"validate_parameters": "should_validate_parameters", "retry_jitter_factor": "retry"}
    if option.startswith("on_"):
        return getattr(definition, f"{option}_hooks")
    value = getattr(definition, attributes.get(option, option))
    return value.jitter_factor if option == "retry_jitter_factor" else value


@pytest.mark.parametrize(("decorator", "options", "option"), OPTIONS)
def test_with_options_replaces_one_option_and_keeps_the_others(decorator: Any, options: Any, option: str) -> None:
    @decorator(**{name: first for name, (first, _) in options.items()})
    def original(n: int = 0) -> None: ...

    changed = original.with_options(**{option: options[option][1]})
    for name, (first, second) in options.items():
        assert shown(original, name) == first
        assert shown(changed, name) == (second if name == option else first)
    assert shown(original.with_options(**{option: NotSet}), option) == options[option][0]


@pytest.mark.parametrize(
    ("decorator", "options", "choices"),
    [
        (flow, FLOW_OPTIONS, {"result_storage", "result_serializer", "log_prints"}),
        (
            task,
            TASK_OPTIONS,
            {
                "task_run_name",
                "refresh_cache",
                "result_storage",
                "result_storage_key",
                "result_serializer",
                "log_prints",
            }
            | {"retries", "retry_delay_seconds", "retry_jitter_factor", "log_prints"},
        ),
    ],
)
def test_none_leaves_an_option_unless_it_is_a_choice(decorator: Any, options: Any, choices: set[str]) -> None:
    @decorator(**{name: first for name, (first, _) in options.items()})
    def original(n: int = 0) -> None: ...

    for name, (first, _) in options.items():
        reset = shown(original.with_options(**{name: None}), name)
        assert (reset in (None, 0, [])) == (name in choices)
        assert reset == first or name in choices
    with pytest.raises(TypeError, match="unknown"):
        original.with_options(unknown=1)


@pytest.mark.parametrize("decorator", [flow, task])
@pytest.mark.parametrize("option", ["result_storage", "result_serializer"])
def test_who_says_where_or_how_results_are_stored_wants_them_stored(decorator: Any, option: str) -> None:
    def plain() -> None: ...

    assert decorator(plain).persist_result is None
    stored = decorator(**{option: "json"})(plain)
    assert stored.persist_result is True
    assert stored.with_options(**{option: None}).persist_result is None
    refused = stored.with_options(persist_result=False)
    assert refused.persist_result is False
    assert refused.with_options(persist_result=None).persist_result is True


def test_tasks_with_other_options_are_the_same_task_to_the_service(service: Service) -> None:
    @task
    def counted() -> None: ...

    @flow
    def counting() -> None:
        counted()
        counted.with_options(name="renamed")()

    state = counting(return_state=True)
    first, second = service.task_runs(state.state_details.flow_run_id)
    assert first.spec.task_key == second.spec.task_key
    assert (first.spec.dynamic_key, second.spec.dynamic_key) == ("0", "1")
    assert (first.status.name, second.status.name) == ("counted-0", "renamed-1")


def test_a_timeout_of_zero_is_none() -> None:
    assert flow(timeout_seconds=0)(lambda: None).timeout_seconds is None
    assert task(timeout_seconds=0)(lambda: None).timeout_seconds is None


def test_hooks_of_flows_as_decorators(service: Service) -> None:
    calls: list[tuple[str, str]] = []

    @flow
    def hooked(what: str) -> None:
        if what == "fail":
            raise ValueError
        if what == "crash":
            raise KeyboardInterrupt
        if what == "cancel":
            request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=str(current.id))
            service.client.unary(CANCEL_FLOW_RUN, request)

    def note(name: str) -> Any:
        return lambda flow, run, state: calls.append((name, state.name))

    for name in ("running", "completion", "failure", "crashed", "cancellation"):
        function = note(name)
        assert getattr(hooked, f"on_{name}")(function) is function
    hooked("complete")
    hooked("fail", return_state=True)
    with pytest.raises(KeyboardInterrupt):
        hooked("crash")
    hooked("cancel", return_state=True)
    assert calls == [
        ("running", "Running"),
        ("completion", "Completed"),
        ("running", "Running"),
        ("failure", "Failed"),
        ("running", "Running"),
        ("crashed", "Crashed"),
        ("running", "Running"),
        ("cancellation", "Cancelled"),
    ]


class Naming:
    """An object and methods that make names."""

    def __call__(self, parameters: dict[str, Any]) -> str:
        return f"object-{parameters['n']}"

    def method(self, *, parameters: dict[str, Any]) -> str:
        return f"method-{parameters['n']}"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{n:03d}-{day:%a}", "007-Thu"),
        (Naming(), "object-7"),
        (Naming().method, "method-7"),
        (functools.partial("partial-{}".format, 1), "partial-1"),
        (lambda: "plain", "plain"),
    ],
)
def test_names_of_runs_from_anything_that_makes_them(embedded: Service, source: Any, name: str) -> None:
    @task(task_run_name=source)
    def named(n: int, day: dt.date) -> None: ...

    @flow(flow_run_name=source)
    def naming(n: int, day: dt.date) -> str:
        named(n, day)
        return str(current.name)

    state = naming(7, dt.date(2024, 2, 29), return_state=True)
    assert state.result() == name
    assert [run.status.name for run in embedded.task_runs(state.state_details.flow_run_id)] == [name]


@pytest.mark.parametrize(
    ("source", "error"),
    [("{nope}", ValueError), ("{n:%Z}", ValueError), (lambda: 5, TypeError), (lambda: 1 / 0, ZeroDivisionError)],
)
def test_a_run_that_can_not_be_named_is_there_and_has_failed(
    service: Service, source: Any, error: type[Exception]
) -> None:
    failures, calls = [], []

    def failed(definition: Any, run: Any, state: State[Any]) -> None:
        failures.append((definition.name, state.name))

    @task(task_run_name=source, on_failure=[failed], retries=3)
    def named(n: int) -> None:
        calls.append(n)

    @flow
    def outer() -> Any:
        return named(1, return_state=True)

    @flow(flow_run_name=source, on_failure=[failed], retries=3)
    def naming(n: int) -> None:
        calls.append(n)

    state = outer(return_state=True)
    with pytest.raises(error):
        state.result()
    (run,) = service.task_runs(state.state_details.flow_run_id)
    assert run.status.state.name == "Failed"
    assert run.status.state.message.startswith(f"Task run encountered an exception {error.__name__}")
    with pytest.raises(error):
        naming(1)
    assert service.flow_runs("naming")[-1].status.state.message.startswith("Flow run encountered an exception.")
    assert (failures, calls) == ([("named", "Failed"), ("naming", "Failed")], [])


def test_parameters_for_people_and_other_programs() -> None:
    @flow
    def any_flow() -> None: ...

    parameters = {"n": 1, "day": dt.date(2024, 2, 29), "tags": {"a"}, "lock": object()}
    assert any_flow.serialize_parameters(parameters) == {"n": 1, "day": "2024-02-29", "tags": ["a"]}
