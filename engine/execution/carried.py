"""Contexts carried to other places as JSON: another process, another machine.

There, code is in the same run: its loggers log to it, `playhead.runtime` answers, tasks called there are runs of the
same flow run, made under its lease. What is carried is a few hundred bytes. A flow run's parameters are not among them:
they are read from the journal when somebody asks.

Calls are numbered where they are made, so each carried context is a branch, with numbers of its own:

    the flow's own calls                        0, 1, 2, …
    calls in the first context it has carried   b0.0, b0.1, …
    calls in the second                         b1.0, …
    below a task run                            ID.b0.0, …, as its own calls are ID.0, …

Contexts that are carried in the same order in each attempt have the same numbers, and so find what they did before.
A serialized context is for one place: two that go on with the same one would make the same calls.
"""

from __future__ import annotations

import inspect
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any

from playhead import futures, settings, v1
from playhead.client.interface import GET_FLOW_RUN, Client
from playhead.context import (
    FlowRunContext,
    RunContext,
    SettingsContext,
    TagsContext,
    TaskRunContext,
    current_tags,
    get_settings_context,
)
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.parameters import exact_json, opened, parameters_from_json
from playhead.engine.execution.progress import FlowProgress
from playhead.exceptions import SerializationError
from playhead.profiles import Profile
from playhead.results import ResultStore, result_store_around
from playhead.runs import FlowRun, Run, TaskRun
from playhead.states import Running

_BRANCHES = "\0branches"
"""What the branches of a run are counted by: no task has this key."""

_PATHS = ("PLAYHEAD_HOME", "PLAYHEAD_DATABASE", "PLAYHEAD_RESULTS_URL")


@dataclass
class Elsewhere:
    """What is known of a flow or task in a process that has not loaded its module."""

    name: str
    version: str | None
    isasync: bool
    log_prints: bool | None
    persist_result: bool | None
    task_key: str | None


_FACTS = tuple(each.name for each in fields(Elsewhere))


def serialize_context() -> dict[str, Any]:
    """The context around, of plain JSON values, for one other place: see `hydrated_context`.

    Opens a branch of the run, as the module says. Its keys are flow_run_context, task_run_context (None outside of
    runs), tags_context, settings_context and branch. Settings may hold the password of a database. Raises
    `SerializationError` when a parameter of the task run can not be pickled.
    """
    data = carried_context()
    run = _innermost()
    if run is not None:
        data["branch"] = f"{run.branch}b{_number(run)}."
    return data


def carried_context(parameters: bool = True) -> dict[str, Any]:
    """The same, for runners that take the whole call of a task elsewhere: it has the task run's own numbers.

    `parameters` False: without those of the task run.
    """
    flow, task, run = FlowRunContext.get(), TaskRunContext.get(), _innermost()
    return {
        "flow_run_context": _of_flow_run(flow) if flow else None,
        "task_run_context": _of_task_run(task, parameters) if task else None,
        "tags_context": {"current_tags": sorted(current_tags() or ())},
        "settings_context": _of_settings(),
        "branch": run.branch if run else "",
    }


@contextmanager
def hydrated_context(
    serialized_context: Mapping[str, Any] | None = None, client: Client | None = None
) -> Iterator[None]:
    """Be in the context that `serialize_context` has told, here and no other. None or empty: change nothing.

    `context.flow` and `context.task` are the very objects where this process has loaded their module, else they have
    name, version and options only. `client` is what the service is asked with, by default what the carried settings
    select. Tasks can be submitted, to threads of this process; they have ended when the block ends. A process that was
    forked can not use a journal in a SQLite file: start it with "spawn", or use a server.

    Raises `SerializationError`, which names the field, for what is no serialized context.
    """
    if not serialized_context:
        yield
        return
    told = _Told(serialized_context, "")
    in_run = told.has("flow_run_context") or told.has("task_run_context")
    with _settings_and_tags(told), _runs(told, client or (get_client() if in_run else None)):
        yield


@contextmanager
def unconnected_context(carried: Mapping[str, Any]) -> Iterator[None]:
    """The same for runners, which connect to the service only once something is asked of it."""
    told = _Told(carried, "")
    with _settings_and_tags(told), _runs(told, None):
        yield


@contextmanager
def _runs(told: _Told, client: Client | None) -> Iterator[None]:
    with ExitStack() as stack:
        branch = told.text("branch")
        flow = _flow_run_context(told.part("flow_run_context"), client) if told.has("flow_run_context") else None
        task = _task_run_context(told.part("task_run_context"), client) if told.has("task_run_context") else None
        for kind, context in ((FlowRunContext, flow), (TaskRunContext, task)):
            if context is None:
                stack.callback(kind.show, kind.hide())
            else:
                context.branch = branch
                stack.enter_context(context)
        if flow is not None:
            stack.callback(_finish, flow)
        yield


def with_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that runs in the context around this call wherever it is called, sent to another process included.

    `pool.map(with_context(work), items)`. Each call of it is a branch of its own, numbered here in the order of the
    calls, or, sent to other processes, in the order in which it is pickled for them. A coroutine function stays one.
    """
    contextual = _Contextual(function, serialize_context())
    return contextual.awaited if inspect.iscoroutinefunction(function) else contextual


class _Contextual:
    """A function with its context. A copy in another process has numbers below those of the original."""

    def __init__(self, function: Callable[..., Any], context: dict[str, Any]) -> None:
        self._function = function
        self._context = context
        self._numbers = itertools.count()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with hydrated_context(self._branch()):
            return self._function(*args, **kwargs)

    async def awaited(self, *args: Any, **kwargs: Any) -> Any:
        """The same for a coroutine function."""
        with hydrated_context(self._branch()):
            return await self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Contextual, (self._function, self._branch())

    def _branch(self) -> dict[str, Any]:
        return {**self._context, "branch": f"{self._context['branch']}{next(self._numbers)}."}


def _innermost() -> RunContext | None:
    return TaskRunContext.get() or FlowRunContext.get()


def _number(run: RunContext) -> int:
    return next(run.calls.get(_BRANCHES) or run.calls.setdefault(_BRANCHES, itertools.count()))


def _finish(flow: FlowRunContext) -> None:
    """Wait for what was submitted in the block."""
    for effect in flow.progress.drain():
        futures.wait(effect.futures)
    flow.task_runner.close()


# What is told of each context, and how it is made again.


def _of_flow_run(context: FlowRunContext) -> dict[str, Any]:
    run = context.flow_run
    return {
        "flow": _of_definition(context.flow),
        "flow_run": {
            **_of_run(run),
            "flow_id": run.flow_id,
            "flow_name": run.flow_name,
            "flow_version": run.flow_version,
            "parent_task_run_id": run.parent_task_run_id,
            "deployment_id": run.deployment_id,
            "expected_start_time": run.expected_start_time.isoformat(),
            "lease_token": run.lease_token,
        },
        "ancestors": context.ancestors,
        "results": _of_results(context),
        "log_prints": context.log_prints,
        "start_time": context.start_time.isoformat(),
    }


def _flow_run_context(told: _Told, client: Client | None) -> FlowRunContext:
    from playhead.task_runners import ThreadPoolTaskRunner  # which knows the loops, as this module does

    of_run = told.part("flow_run")
    run_id = of_run.text("id")
    flow = _definition(told.part("flow"))
    parameters = cache(lambda: _recorded_parameters(run_id, flow, client))
    run = FlowRun(run_id, of_run.text("name"), of_run.texts("tags"), of_run.text("flow_name"), parameters)
    _restore(run, of_run)
    run.flow_id, run.lease_token = of_run.text("flow_id"), of_run.number("lease_token")
    run.flow_version, run.deployment_id = of_run.fields.get("flow_version"), of_run.fields.get("deployment_id")
    run.parent_task_run_id = of_run.fields.get("parent_task_run_id")
    run.expected_start_time = of_run.moment("expected_start_time")
    log_prints = bool(told.fields.get("log_prints"))
    context = FlowRunContext(flow, run, parameters, client, ThreadPoolTaskRunner(), log_prints)
    context.start_time, context.ancestors = told.moment("start_time"), told.texts("ancestors")
    context.progress, context.detached = FlowProgress(), True
    results = dict(told.part("results").fields)
    context.persist_result = results.pop("persist_result", None)
    context.result_store = ResultStore(**results)
    return context


def _recorded_parameters(flow_run_id: str, flow: Any, client: Client | None) -> dict[str, Any]:
    """The parameters as the journal has them, as the flow's annotations want them where the flow is at hand."""
    request = v1.GetFlowRunRequest(flow_run_id=flow_run_id)
    recorded = (client or get_client()).unary(GET_FLOW_RUN, request).flow_run
    parameters = parameters_from_json(recorded.spec.parameters)
    validated: dict[str, Any] = parameters
    if not isinstance(flow, Elsewhere) and flow.should_validate_parameters:
        validated = flow.validate_parameters(parameters)
    return validated


def _of_task_run(context: TaskRunContext, parameters: bool) -> dict[str, Any]:
    run = context.task_run
    return {
        "task": _of_definition(context.task),
        "task_run": {
            **_of_run(run),
            "task_name": run.task_name,
            "task_key": run.task_key,
            "dynamic_key": run.dynamic_key,
            "flow_run_id": run.parent_run_id,
        },
        "parameters": exact_json(context.parameters) if parameters else {},
        "log_prints": context.log_prints,
        "start_time": context.start_time.isoformat(),
    }


def _task_run_context(told: _Told, client: Client | None) -> TaskRunContext:
    of_run = told.part("task_run")
    keys = map(of_run.text, ("task_name", "task_key", "dynamic_key", "flow_run_id"))
    run = TaskRun(of_run.text("id"), of_run.text("name"), of_run.texts("tags"), *keys)
    _restore(run, of_run)
    parameters = told.part("parameters").fields
    log_prints = bool(told.fields.get("log_prints"))
    task = _definition(told.part("task"))
    context = TaskRunContext(task, run, lambda: opened(parameters), client, log_prints)
    context.start_time = told.moment("start_time")
    return context


def _of_run(run: Run) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "name": run.name,
        "tags": run.tags,
        "run_count": run.run_count,
        "created": run.created.isoformat(),
    }


def _restore(run: Run, told: _Told) -> None:
    run.run_count, run.created, run.state = told.number("run_count"), told.moment("created"), Running()


def _of_definition(definition: Any) -> dict[str, Any]:
    facts = {name: getattr(definition, name, None) for name in _FACTS}
    module, name = getattr(definition, "__module__", ""), getattr(definition, "__qualname__", "")
    return {"at": f"{module}:{name}" if module and "<" not in name else "", **facts}


def _definition(told: _Told) -> Any:
    """The flow or task itself, where its module is loaded; else what is known of it. Nothing is loaded for that."""
    module, _, path = told.text("at").partition(":")
    for place in (module, "__mp_main__") if module == "__main__" else (module,):
        found: Any = sys.modules.get(place)
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is not None and getattr(found, "name", None) == told.fields.get("name"):
            return found
    facts: dict[str, Any] = {name: told.fields.get(name) for name in _FACTS}
    return Elsewhere(**facts)


def _of_results(context: FlowRunContext) -> dict[str, Any]:
    """What is said of results, where something is."""
    store = result_store_around(context)
    said = {
        "result_storage": store.result_storage,
        "serializer": store.serializer.type if store.serializer is not None else None,
        "cache_result_in_memory": None if store.cache_result_in_memory else False,
        "persist_result": context.persist_result,
    }
    return {name: value for name, value in said.items() if value is not None}


def _of_settings() -> dict[str, Any]:
    context = get_settings_context()
    said = {name: settings.value(name) for name in settings.KNOWN}
    found = {name: _absolute(name, value) for name, value in said.items() if value}
    return {"profile": asdict(context.profile), "settings": found}


def _absolute(name: str, value: str) -> str:
    """A path as it is found from another working directory too."""
    return os.path.abspath(value) if name in _PATHS and "://" not in value else value


@contextmanager
def _settings_and_tags(told: _Told) -> Iterator[None]:
    around = told.part("settings_context")
    profile, found = around.part("profile"), around.part("settings").fields
    complete = settings.Settings({name: found.get(name) for name in settings.KNOWN})
    own = SettingsContext(Profile(profile.text("name"), dict(profile.part("settings").fields)), complete)
    with own, TagsContext(set(told.part("tags_context").texts("current_tags"))):
        yield


class _Told:
    """A part of a serialized context, and where it is. What is not as it must be raises `SerializationError`."""

    def __init__(self, told: Any, where: str) -> None:
        if not isinstance(told, Mapping):
            raise self._error(where or "it", "an object", told)
        self.fields: Mapping[str, Any] = told
        self._where = where

    def has(self, name: str) -> bool:
        """Whether it is said at all."""
        return self.fields.get(name) is not None

    def part(self, name: str) -> _Told:
        """A part of this part."""
        return _Told(self.fields.get(name), f"{self._where}.{name}".lstrip("."))

    def text(self, name: str) -> str:
        """A text."""
        return str(self._of(name, str, "text"))

    def number(self, name: str) -> int:
        """A whole number."""
        return int(self._of(name, int, "a whole number"))

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        return [str(each) for each in self._of(name, list, "a list")]

    def moment(self, name: str) -> datetime:
        """A time."""
        try:
            return datetime.fromisoformat(self.text(name))
        except ValueError:
            raise self._error(f"{self._where}.{name}".lstrip("."), "a time", self.fields[name]) from None

    def _of(self, name: str, kind: type, what: str) -> Any:
        value = self.fields.get(name)
        if not isinstance(value, kind):
            raise self._error(f"{self._where}.{name}".lstrip("."), what, value)
        return value

    @staticmethod
    def _error(where: str, what: str, value: object) -> SerializationError:
        return SerializationError(
            f"This is no serialized context: {where} must be {what}, not {type(value).__name__}. Hand hydrated_context "
            "what serialize_context gave, or the same after a round trip through JSON."
        )
