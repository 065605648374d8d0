"""Every option of `@flow` and `@task`, in the order of docs/compatibility.md: for sync and async functions, embedded
and through a server. What only one option is about in detail has a module of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, tags, task
from playhead.exceptions import FailedRun, ParameterTypeError
from playhead.flows import Flow
from playhead.states import Cancelled, Completed, Failed, State
from playhead.task_runners import SequentialTaskRunner, ThreadPoolTaskRunner
from playhead.tasks import Task, exponential_backoff
from tests.sdk.conftest import Service

Body = Callable[..., Any]


class Form:
    """How functions are written: sync or async. The bodies of the tests are sync, and become what is asked for."""

    def __init__(self, name: str) -> None:
        self.isasync = name == "async"

    def function(self, body: Body) -> Body:
        """The body as a function of this form, under its own name and signature."""
        if not self.isasync:
            return body

        async def written(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            outcome = body(*args, **kwargs)
            return await outcome if inspect.isawaitable(outcome) else outcome

        written.__name__, written.__qualname__, written.__doc__ = body.__name__, body.__qualname__, body.__doc__
        written.__signature__ = inspect.signature(body, eval_str=True)  # type: ignore[attr-defined] # a function's own
        written.__annotations__ = inspect.get_annotations(body, eval_str=True)
        return written

    def flow(self, body: Body, **options: Any) -> Flow[..., Any]:
        """A flow of this form."""
        return flow(**options)(self.function(body))

    def task(self, body: Body, **options: Any) -> Task[..., Any]:
        """A task of this form."""
        return task(**options)(self.function(body))

    def run(self, runnable: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a flow or task, and wait for it."""
        outcome = runnable(*args, **kwargs)
        return asyncio.run(_awaited(outcome)) if self.isasync else outcome

    def state(self, runnable: Any, *args: Any, **kwargs: Any) -> State[Any]:
        """The state that a call ends in."""
        found: State[Any] = self.run(runnable, *args, return_state=True, **kwargs)
        return found

    def hook(self, calls: list[tuple[str, ...]]) -> Callable[..., Any]:
        """A hook of this form that notes the names of what it was told."""

        def note(what: Any, run: Any, state: State[Any]) -> None:
            calls.append((what.name, run.name, state.name or ""))

        return self.function(note)


async def _awaited(outcome: Any) -> Any:
    return await outcome


@pytest.fixture(params=["sync", "async"])
def form(request: pytest.FixtureRequest) -> Form:
    """Each form."""
    return Form(request.param)


def named(*, first: int, second: str = "b") -> str:
    """What it is for."""
    return f"{first}{second}"


def fails() -> None:
    raise ValueError("it fails")


class TestFlows:
    def test_name_version_description(self, service: Service, form: Form) -> None:
        plain, told = form.flow(named), form.flow(named, name="Told", version="v7", description="Said.")
        assert (plain.name, plain.description) == ("named", "What it is for.")
        assert plain.version
        assert (told.name, told.version, told.description) == ("Told", "v7", "Said.")
        assert form.run(told, first=1) == "1b"
        assert service.flow_runs("Told")[-1].spec.flow_version == "v7"

    @pytest.mark.parametrize("name", ["{first:03d}-{second}", lambda: "007-b"])
    def test_flow_run_name(self, service: Service, form: Form, name: Any) -> None:
        state = form.state(form.flow(named, flow_run_name=name), first=7)
        assert service.flow_run(state.state_details.flow_run_id).status.name == "007-b"

    def test_retries(self, service: Service, form: Form) -> None:
        attempts: list[int] = []

        def at_third() -> int:
            attempts.append(len(attempts))
            return 1 // (len(attempts) // 3)

        state = form.state(form.flow(at_third, retries=2, retry_delay_seconds=0))
        assert (state.result(), attempts) == (1, [0, 1, 2])
        names = service.state_names(flow_run=state.state_details.flow_run_id)
        assert names[-5:] == ["AwaitingRetry", "Running", "AwaitingRetry", "Running", "Completed"]

    @pytest.mark.parametrize("runner", [SequentialTaskRunner, ThreadPoolTaskRunner(max_workers=2)])
    def test_task_runner(self, service: Service, form: Form, runner: Any) -> None:
        double = form.task(lambda n: n * 2, name="double")

        def mapping() -> Any:
            return double.map([1, 2, 3]).result()

        made = form.flow(mapping, task_runner=runner)
        assert form.run(made) == [2, 4, 6]

    def test_timeout_seconds(self, embedded: Service, form: Form) -> None:
        def endless() -> Any:
            if form.isasync:
                return asyncio.Event().wait()
            while True:
                pass

        state = form.state(form.flow(endless, timeout_seconds=0.05))
        assert (state.name, state.message) == ("TimedOut", "Flow run exceeded timeout of 0.05 seconds")
        with pytest.raises(TimeoutError):
            state.result()

    def test_validate_parameters(self, service: Service, form: Form) -> None:
        assert form.run(form.flow(named), first="7") == "7b"
        assert form.run(form.flow(named, validate_parameters=False), first="7") == "7b"
        state = form.state(form.flow(named), first="seven")
        assert state.is_failed()
        assert str(state.message).startswith("Validation of flow parameters failed with error:")
        with pytest.raises(ParameterTypeError, match="first"):
            state.result()

    def test_persist_result(self, service: Service, form: Form) -> None:
        def five() -> int:
            return 5

        kept = form.state(form.flow(five))
        lost = form.state(form.flow(five, persist_result=False))
        assert (kept.result(), lost.result()) == (5, 5)
        results = [
            service.flow_run(state.state_details.flow_run_id).status.state.HasField("result") for state in (kept, lost)
        ]
        assert results == [True, False]

    def test_result_storage(self, service: Service, form: Form, tmp_path: Path) -> None:
        def large() -> bytes:
            return bytes(20_000)

        state = form.state(form.flow(large, result_storage=str(tmp_path / "kept")))
        assert state.result() == bytes(20_000)
        assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]

    def test_log_prints(self, service: Service, form: Form, caplog: pytest.LogCaptureFixture) -> None:
        def says() -> None:
            print("said aloud")

        with caplog.at_level(logging.INFO):
            form.run(form.flow(says, log_prints=True))
            form.run(form.flow(says, log_prints=False))
        assert [record.message for record in caplog.records].count("said aloud") == 1

    @pytest.mark.parametrize("way", ["option", "decorator"])
    @pytest.mark.parametrize(
        ("hook", "returned", "seen"),
        [
            ("on_running", Completed(), ["Running"]),
            ("on_completion", Completed(), ["Completed"]),
            ("on_failure", ValueError("it fails"), ["Failed"]),
            ("on_cancellation", Cancelled(), ["Cancelled"]),
            ("on_crashed", SystemExit(3), ["Crashed"]),
        ],
    )
    def test_hooks(self, service: Service, form: Form, hook: str, returned: Any, seen: list[str], way: str) -> None:
        calls: list[tuple[str, ...]] = []

        def ending() -> Any:
            if isinstance(returned, BaseException):
                raise returned
            return returned.fresh_copy()

        told = {hook: [form.hook(calls)]} if way == "option" else {}
        made = form.flow(ending, flow_run_name="hooked", **told)
        if way == "decorator":
            getattr(made, hook)(form.hook(calls))
        if isinstance(returned, SystemExit):
            with pytest.raises(SystemExit):
                form.run(made)
        else:
            form.state(made)
        assert calls == [("ending", "hooked", name) for name in seen]

    def test_a_hook_that_raises_is_logged(self, service: Service, form: Form, caplog: pytest.LogCaptureFixture) -> None:
        calls: list[tuple[str, ...]] = []

        def hook(*_: object) -> None:
            raise LookupError("in the hook")

        made = form.flow(named, on_completion=[form.function(hook), form.hook(calls)])
        assert form.run(made, first=1) == "1b"
        assert len(calls) == 1
        assert "in the hook" in caplog.text

    def test_return_state(self, service: Service, form: Form) -> None:
        state = form.state(form.flow(fails))
        assert state.message == "Flow run encountered an exception. ValueError: it fails"
        with pytest.raises(ValueError, match="it fails"):
            form.run(form.flow(fails))

    def test_wait_for(self, service: Service, form: Form) -> None:
        broken = task(fails)
        inner = form.flow(named, name="inner")

        def outer() -> Any:
            failed = broken(return_state=True)
            waiting = inner(first=1, wait_for=[failed], return_state=True)
            return form_outcome(waiting)

        def form_outcome(waiting: Any) -> Any:
            async def said() -> tuple[str, str]:
                state = await waiting
                return state.type.value, state.name

            return said() if form.isasync else (waiting.type.value, waiting.name)

        assert form.run(form.flow(outer)) == ("PENDING", "NotReady")

    def test_tags(self, service: Service, form: Form) -> None:
        with tags("nightly"):
            state = form.state(form.flow(named), first=1)
        assert list(service.flow_run(state.state_details.flow_run_id).status.tags) == ["nightly"]


class TestTasks:
    def test_name_description_tags(self, service: Service, form: Form) -> None:
        plain = form.task(named)
        told = form.task(named, name="Told", description="Said.", tags=["b", "a"])
        assert (plain.name, plain.description) == ("named", "What it is for.")
        assert (told.name, told.description, sorted(told.tags)) == ("Told", "Said.", ["a", "b"])
        with tags("nightly"):
            state = form.state(told, first=1)
        assert list(service.task_run(str(state.state_details.task_run_id)).status.tags) == ["a", "b", "nightly"]

    @pytest.mark.parametrize("name", ["{first:03d}-{second}", lambda: "007-b"])
    def test_task_run_name(self, service: Service, form: Form, name: Any) -> None:
        state = form.state(form.task(named, task_run_name=name), first=7)
        assert service.task_run(str(state.state_details.task_run_id)).status.name == "007-b"

    @pytest.mark.parametrize("delay", [0, [0, 0], exponential_backoff(0)])
    def test_retries(self, service: Service, form: Form, delay: Any) -> None:
        attempts: list[int] = []

        def at_third() -> int:
            attempts.append(len(attempts))
            return 1 // (len(attempts) // 3)

        made = form.task(at_third, retries=2, retry_delay_seconds=delay, retry_jitter_factor=0.5)
        state = form.state(made)
        assert (state.result(), attempts) == (1, [0, 1, 2])
        names = service.state_names(task_run=state.state_details.task_run_id)
        assert names[-5:] == ["AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed"]

    @pytest.mark.parametrize(("verdict", "attempts"), [(True, 3), (False, 1)])
    def test_retry_condition_fn(self, service: Service, form: Form, verdict: bool, attempts: int) -> None:
        began: list[int] = []

        def counted() -> None:
            began.append(1)
            raise ValueError("it fails")

        def condition(task: Any, task_run: Any, state: State[Any]) -> bool:
            return verdict

        made = form.task(counted, retries=2, retry_delay_seconds=0, retry_condition_fn=form.function(condition))
        assert form.state(made).is_failed()
        assert len(began) == attempts

    def test_cache_key_fn_and_refresh_cache(self, service: Service, form: Form, tmp_path: Path) -> None:
        began: list[int] = []

        def counted(n: int) -> int:
            began.append(n)
            return n

        key = f"{tmp_path}"
        made = form.task(counted, cache_key_fn=lambda context, parameters: f"{key}-{parameters['n']}")
        states = [form.state(made, n) for n in (1, 1, 2)]
        assert [state.name for state in states] == ["Completed", "Cached", "Completed"]
        assert form.state(made.with_options(refresh_cache=True), 1).name == "Completed"
        assert began == [1, 2, 1]

    def test_timeout_seconds(self, embedded: Service, form: Form) -> None:
        def endless() -> Any:
            if form.isasync:
                return asyncio.Event().wait()
            while True:
                pass

        state = form.state(form.task(endless, timeout_seconds=0.05))
        assert (state.name, state.message) == ("TimedOut", "Task run exceeded timeout of 0.05 seconds")

    def test_log_prints(self, service: Service, form: Form, caplog: pytest.LogCaptureFixture) -> None:
        def says() -> None:
            print("said aloud")

        with caplog.at_level(logging.INFO):
            form.run(form.task(says, log_prints=True))
            form.run(form.task(says, log_prints=False))
        assert [record.message for record in caplog.records].count("said aloud") == 1

    @pytest.mark.parametrize("way", ["option", "decorator"])
    @pytest.mark.parametrize(
        ("hook", "returned", "seen"),
        [
            ("on_running", Completed(), ["Running"]),
            ("on_completion", Completed(), ["Completed"]),
            ("on_failure", ValueError("it fails"), ["Failed"]),
            ("on_cancellation", Cancelled(), ["Cancelled"]),
            ("on_crashed", SystemExit(3), ["Crashed"]),
        ],
    )
    def test_hooks(self, service: Service, form: Form, hook: str, returned: Any, seen: list[str], way: str) -> None:
        calls: list[tuple[str, ...]] = []

        def ending() -> Any:
            if isinstance(returned, BaseException):
                raise returned
            return returned.fresh_copy()

        told = {hook: [form.hook(calls)]} if way == "option" else {}
        made = form.task(ending, task_run_name="hooked", **told)
        if way == "decorator":
            getattr(made, hook)(form.hook(calls))
        if isinstance(returned, SystemExit):
            with pytest.raises(SystemExit):
                form.run(made)
        else:
            form.state(made)
        assert calls == [("ending", "hooked", name) for name in seen]

    @pytest.mark.parametrize("way", ["call", "submit", "map"])
    def test_ways_to_run_it_in_a_flow(self, service: Service, form: Form, way: str) -> None:
        double = form.task(lambda n: n * 2, name="double")

        def calling() -> Any:
            if way == "call":
                return double(4)
            return double.submit(4).result() if way == "submit" else double.map([4]).result()[0]

        assert form.run(form.flow(calling)) == 8

    def test_wait_for_and_return_state(self, service: Service, form: Form) -> None:
        broken = task(fails)

        def waiting() -> Any:
            failed = broken(return_state=True)
            future = form.task(named).submit(first=1, wait_for=[failed])
            state = future.wait()
            return state.type.value, state.name

        assert form.run(form.flow(waiting)) == ("PENDING", "NotReady")

    def test_a_failed_state_without_an_exception(self, service: Service, form: Form) -> None:
        state = form.state(form.task(lambda: Failed(message="by choice"), name="failing"))
        with pytest.raises(FailedRun, match="by choice"):
            state.result()
