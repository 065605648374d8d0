"""The engine's functions under the names and with the arguments of Prefect 2: each does what its documentation says."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import playhead.engine as engine
from playhead import allow_failure, flow, quote, task, unmapped, v1
from playhead.client.connect import connect
from playhead.client.interface import CANCEL_FLOW_RUN, CREATE_FLOW_RUN, CREATE_TASK_RUN, PAUSE_FLOW_RUN, REGISTER_FLOW
from playhead.context import FlowRunContext
from playhead.engine.execution.ids import new_id, task_run_id
from playhead.engine.execution.translation import flow_run_of
from playhead.engine.functions import states
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import (
    ExecutionError,
    MappingLengthMismatch,
    MappingMissingIterable,
    MissingContextError,
    UpstreamTaskError,
)
from playhead.futures import PlayheadFuture
from playhead.runs import FlowRun
from playhead.runtime import flow_run as current
from playhead.runtime import task_run as current_task
from playhead.states import Completed, Failed, Pending, Running, State
from playhead.task_runners import SequentialTaskRunner
from tests.sdk.conftest import Service


@task
def add(x: Any, y: int = 1) -> Any:
    return x + y


@task
async def add_async(x: int, y: int = 1) -> int:
    await asyncio.sleep(0)
    return x + y


@task
def fail(message: str = "bad") -> None:
    raise ValueError(message)


@flow
def adding(x: int, y: int = 1) -> int:
    return int(add(x, y))


@flow
async def adding_async(x: int, y: int = 1) -> int:
    return int(await add_async(x, y))


def created(service: Service, flow_name: str, state: v1.State | None = None, parameters: bytes = b"{}") -> FlowRun:
    """A flow run that was recorded and has not run."""
    client = service.client
    registered = client.unary(
        REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name=flow_name)
    )
    spec = v1.FlowRunSpec(
        id=new_id(), flow_id=registered.flow.id, name="by hand", parameters=parameters, state=state or pending()
    )
    request = v1.CreateFlowRunRequest(request_id=new_id(), spec=spec)
    return flow_run_of(client.unary(CREATE_FLOW_RUN, request).flow_run)


def pending() -> v1.State:
    return v1.State(type=v1.PENDING)


class TestFlows:
    @pytest.mark.parametrize("called", [adding, adding_async])
    def test_calls(self, service: Service, called: Any) -> None:
        def enter(return_type: Any) -> Any:
            begun = engine.enter_flow_run_engine_from_flow_call(called, {"x": "2"}, None, return_type)
            return asyncio.run(begun) if called.isasync else begun

        async def create(return_type: Any) -> Any:
            thread = threading.current_thread()
            return await engine.create_then_begin_flow_run(
                called, {"x": "2"}, None, return_type, service.client, user_thread=thread
            )

        assert enter("result") == asyncio.run(create("result")) == 3
        assert enter("state").is_completed()
        assert asyncio.run(create("state")).is_completed()
        for begin in (lambda: enter("future"), lambda: asyncio.run(create("future"))):
            with pytest.raises(ValueError, match="Invalid return type for flow engine 'future'"):
                begin()

    def test_parameters_that_do_not_fit_make_a_failed_run(self, service: Service) -> None:
        begun = engine.create_then_begin_flow_run(adding, {"x": "two"}, None, "state", service.client)
        state = asyncio.run(begun)
        assert state.message.startswith("Validation of flow parameters failed with error:")
        assert service.flow_run(state.state_details.flow_run_id).status.state.name == "Failed"

    def test_subflows(self, service: Service) -> None:
        @flow
        async def outer() -> Any:
            future = add.submit(1)
            first = await engine.create_and_begin_subflow_run(adding, {"x": future}, [future], "result")
            second = await engine.create_and_begin_subflow_run(adding_async, {"x": first}, None, "state")
            return [first, second.result(), current.flow_name]

        state = asyncio.run(outer(return_state=True))
        assert state.result() == [3, 4, "outer"]
        names = [run.status.name for run in service.task_runs(state.state_details.flow_run_id)]
        assert names == ["add-0", "adding-0", "adding-async-0"]
        with pytest.raises(MissingContextError):
            asyncio.run(engine.create_and_begin_subflow_run(adding, {"x": 1}))
        with pytest.raises(ValueError, match="Only flows run as subflows can wait"):
            asyncio.run(engine.create_then_begin_flow_run(adding, {"x": 1}, [1]))

    @pytest.mark.parametrize("called", [adding, adding_async])
    def test_a_run_on_record_is_executed(self, service: Service, called: Any) -> None:
        run = created(service, called.name)
        renamed = called.with_options(flow_run_name="{x}-plus-{y}")
        state = asyncio.run(engine.begin_flow_run(renamed, run, {"x": 2, "y": 2}, service.client))
        assert (state.result(), str(state.state_details.flow_run_id)) == (4, run.run_id)
        recorded = service.flow_run(run.id).status
        assert (recorded.state.name, recorded.name, recorded.run_count) == ("Completed", "2-plus-2", 1)

    def test_a_run_on_record_waits_for_what_it_needs(self, service: Service) -> None:
        async def orchestrate(wait_for: list[Any]) -> State[Any]:
            run = created(service, "adding")
            return await engine.orchestrate_flow_run(
                adding, run, {"x": 2}, wait_for, True, service.client, None, threading.current_thread()
            )

        assert asyncio.run(orchestrate([Completed(data=1)])).result() == 3
        state = asyncio.run(orchestrate([Failed()]))
        assert state.name == "NotReady"
        assert "did not reach a 'COMPLETED' state" in str(state.message)
        assert service.flow_run(state.state_details.flow_run_id).status.state.name == "NotReady"

    def test_a_run_is_executed_by_its_id(self, service: Service, tmp_path: Path) -> None:
        source = "from playhead import flow\n@flow\ndef doubled(n: int) -> int:\n    return n * 2\n"
        file = tmp_path / "doubled_flow.py"
        file.write_text(source)
        for name, outcome in (("doubled", "Completed"), ("missing", "Failed")):
            run = created(service, name, parameters=b'{"n": 4}')
            client = service.client
            spec = service.flow_run(run.id).spec
            spec.id, spec.entrypoint = new_id(), f"{file}:{name}"
            client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
            state = asyncio.run(engine.retrieve_flow_then_begin_flow_run(spec.id, client, threading.current_thread()))
            assert state.name == service.flow_run(spec.id).status.state.name == outcome
            if outcome == "Completed":
                assert state.result() == 8
            else:
                assert state.message.startswith("Flow could not be retrieved from deployment.")


class TestTasks:
    @pytest.mark.parametrize("called", [add, add_async])
    def test_what_is_asked_for_is_given(self, service: Service, called: Any) -> None:
        def enter(**options: Any) -> Any:
            return engine.enter_task_run_engine(called, {"x": 1, "y": 2}, None, **options)

        @flow
        def entering() -> list[Any]:
            future = enter(return_type="future", task_runner=None, mapped=False)
            assert isinstance(future, PlayheadFuture)
            with pytest.raises(ValueError, match="Invalid return type for task engine 'x'"):
                enter(return_type="x")
            return [future.result(), enter(return_type="state").result(), enter(return_type="result")]

        assert entering() == [3, 3, 3]
        with pytest.raises(RuntimeError, match="outside of a flow"):
            enter(return_type="result")

    def test_async_tasks_are_awaited_in_async_flows(self, service: Service) -> None:
        @flow
        async def entering() -> list[Any]:
            runner = SequentialTaskRunner()
            return [
                await engine.enter_task_run_engine(add_async, {"x": 1}, None, "result"),
                engine.enter_task_run_engine(add, {"x": 2}, None, "result", runner),
                [await f.aresult() for f in await engine.enter_task_run_engine(add_async, {"x": [3]}, mapped=True,
                                                                               return_type="future")],
            ]  # fmt: skip

        assert asyncio.run(entering()) == [2, 3, [4]]

    def test_mapping(self, service: Service) -> None:
        @flow
        async def mapping() -> Any:
            context = FlowRunContext.get()

            async def begin(parameters: dict[str, Any], return_type: Any = "result", runner: Any = None) -> Any:
                return await engine.begin_task_map(add, context, parameters, None, return_type, runner)

            upstream = add.submit([1], [2])  # the list [1, 2]
            results = [
                await begin({"x": [1, 2], "y": 10}),
                await begin({"x": upstream, "y": unmapped(1)}),
                await begin({"x": allow_failure([1, 2])}, runner=SequentialTaskRunner()),
                [state.name for state in await begin({"x": [1]}, "state")],
                [future.task_run_name for future in await begin({"x": [1]}, "future")],
            ]
            with pytest.raises(MappingMissingIterable, match="No iterable parameters were received"):
                await begin({"x": 1})
            with pytest.raises(MappingLengthMismatch, match=r"Got lengths: \{'x': 1, 'y': 2\}"):
                await begin({"x": [1], "y": [1, 2]})
            return results

        assert asyncio.run(mapping()) == [[11, 12], [2, 3], [2, 3], ["Completed"], ["add-8"]]

    def test_a_task_run_is_created_then_submitted(self, service: Service) -> None:
        @flow
        async def creating() -> list[Any]:
            context = FlowRunContext.get()
            assert context is not None
            inputs = await engine.collect_task_run_inputs(add.submit(0))
            run = await engine.create_task_run(add, "named", context, {"x": 1}, "key", None, {"x": inputs})
            assert [run.name, run.state.name, run.dynamic_key] == ["named", "Pending", "key"]
            state = await engine.begin_task_run(add, run, {"x": 1}, None, None, False, None)
            future: PlayheadFuture[Any] = PlayheadFuture(run.run_id, "second")
            await engine.create_task_run_then_submit(
                add, "second", "other key", future, context, {"x": 2}, [state], context.task_runner, {}
            )
            third = await engine.create_task_run_future(add, context, {"x": 3}, None, None, {"x": inputs})
            return [state.result(), await future.aresult(), await third.aresult()]

        state = asyncio.run(creating(return_state=True))
        assert state.result() == [2, 3, 4]
        first, named, second, third = service.task_runs(state.state_details.flow_run_id)
        assert [run.status.name for run in (named, second)] == ["named", "second"]
        assert [item.task_run_id for item in named.spec.inputs["x"].inputs] == [first.spec.id]
        assert [item.task_run_id for item in second.spec.inputs["wait_for"].inputs] == [named.spec.id]
        assert [item.task_run_id for item in third.spec.inputs["x"].inputs] == [first.spec.id]
        assert {run.status.state.name for run in (first, named, second, third)} == {"Completed"}

    def test_a_task_run_on_record_is_executed_elsewhere(self, service: Service) -> None:
        runs: list[Any] = []

        @flow
        async def creating() -> Any:
            context = FlowRunContext.get()
            assert context is not None
            runs.append(await engine.create_task_run(add_async, "elsewhere", context, {"x": 1}, "key"))

            def elsewhere() -> None:
                assert FlowRunContext.get() is None
                states.append(asyncio.run(engine.begin_task_run(add_async, runs[0], {"x": 1})))

            states: list[State[Any]] = []
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            return states[0].result()

        assert asyncio.run(creating()) == 2

    def test_a_run_that_must_not_go_on(self, service: Service) -> None:
        @flow
        async def cancelled() -> None:
            context = FlowRunContext.get()
            assert context is not None
            run = await engine.create_task_run(add, "late", context, {"x": 1}, "key")
            request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=str(current.id))
            service.client.unary(CANCEL_FLOW_RUN, request)
            with pytest.raises(Abort):
                await engine.orchestrate_task_run(add, run, {"x": 1}, None, None, False, False, service.client)
            assert (await engine.begin_task_run(add, run, {"x": 1})).name == "Pending"

        assert asyncio.run(cancelled(return_state=True)).is_cancelled()

    def test_waiting_for_task_runs(self, service: Service) -> None:
        @task
        def interrupted() -> None:
            raise KeyboardInterrupt

        @flow
        async def waiting() -> None:
            futures = [add.submit(1), fail.submit(), add_async.submit(1)]
            assert await engine.wait_for_task_runs_and_report_crashes(futures, service.client) is True
            assert all(future.done() for future in futures)
            with pytest.raises(KeyboardInterrupt):
                await engine.wait_for_task_runs_and_report_crashes([interrupted.submit()], service.client)

        asyncio.run(waiting(return_state=True))


class TestInputs:
    def test_inputs_are_resolved(self, service: Service) -> None:
        @flow
        async def resolving() -> None:
            future, failed = add.submit(1), fail.submit()
            assert await engine.resolve_inputs({}) == {}
            parameters = {"a": future, "b": [{"c": future}], "d": quote(future), "e": Completed(data=5), "f": 1}
            resolved = await engine.resolve_inputs(parameters)
            assert resolved == {"a": 2, "b": [{"c": 2}], "d": future, "e": 5, "f": 1}
            assert await engine.resolve_inputs({"a": [future]}, return_data=False) == {"a": None}
            shallow = await engine.resolve_inputs({"a": future, "b": [future], "c": allow_failure(future)}, max_depth=1)
            assert shallow == {"a": 2, "b": [future], "c": 2}
            with pytest.raises(UpstreamTaskError, match="did not reach a 'COMPLETED' state"):
                await engine.resolve_inputs({"a": failed})
            allowed = await engine.resolve_inputs({"a": allow_failure(failed)})
            assert str(allowed["a"]) == "bad"

            class Strange(dict[str, Any]):
                def items(self) -> Any:
                    raise OSError("no items")

            with pytest.raises(ExecutionError, match=r"Failed to resolve inputs in parameter 'a'\..*`quote`"):
                await engine.resolve_inputs({"a": Strange(b=1)})

        assert asyncio.run(resolving(return_state=True)).message == "1/2 states failed."

    def test_inputs_are_collected(self, service: Service) -> None:
        @task
        def pair() -> tuple[list[int], dict[str, int]]:
            return [1], {"b": 2}

        @flow
        async def collecting() -> Any:
            future = add.submit(1)
            first, second = pair()
            parameters = {"x": future, "y": [first, {"z": second}], "q": quote(future), "s": future.wait(), "n": 1}
            found = {k: await engine.collect_task_run_inputs(v) for k, v in parameters.items()}
            shallow = await engine.collect_task_run_inputs([future], max_depth=0)
            return {name: [str(item.id) for item in items] for name, items in found.items()}, shallow

        state = asyncio.run(collecting(return_state=True))
        found, shallow = state.result()
        added, paired = (run.spec.id for run in service.task_runs(state.state_details.flow_run_id))
        assert found == {"x": [added], "y": [paired], "q": [], "s": [added], "n": []}
        assert shallow == set()

    def test_results_are_linked_with_their_states(self, service: Service) -> None:
        result = [1, ["a", "b"], ("c",)]

        @task
        def making() -> Any:
            return result

        @flow
        def linking() -> None:
            made = making(return_state=True)
            state = engine.get_state_for_result(made.result())
            assert state == made
            assert state.result() == result
            linked = Completed()
            engine.link_state_to_result(linked, result)
            assert linked.state_details.untrackable_result
            assert [engine.get_state_for_result(item) for item in (result, *result)] == [linked, None, linked, linked]
            untouched = Completed()
            engine.link_state_to_result(untouched, ["long enough"])
            assert not untouched.state_details.untrackable_result
            assert engine.get_state_for_result(object()) is None

        linking()
        engine.link_state_to_result(Completed(), result)
        assert engine.get_state_for_result(result) is None


class TestStates:
    def test_proposals_are_answered(self, service: Service) -> None:
        async def main() -> None:
            run = created(service, "proposing")
            client = service.client
            accepted = await engine.propose_state(client, Running(), flow_run_id=run.id)
            assert accepted.is_running()
            assert accepted.state_details.flow_run_id == run.id
            recorded = service.flow_run(run.id).status.state
            assert accepted.timestamp.timestamp() == pytest.approx(recorded.timestamp.seconds, abs=1)
            final = await engine.propose_state(client, Completed(data={"stored": 1}), flow_run_id=run.id)
            assert final.result() == {"stored": 1}
            rejected = await engine.propose_state(client, Running(), flow_run_id=run.id)
            assert rejected.is_completed()
            assert rejected.result() == {"stored": 1}
            with pytest.raises(ValueError, match="You must provide either a `task_run_id` or `flow_run_id`"):
                await engine.propose_state(client, Running())

        asyncio.run(main())

    def test_a_refusal_is_a_signal(self, service: Service) -> None:
        async def main() -> None:
            run = created(service, "proposing")
            client = service.client
            with pytest.raises(Abort):
                await engine.propose_state(client, Pending(), flow_run_id=run.id)
            forced = await engine.propose_state(client, Pending(name="Again"), force=True, flow_run_id=run.id)
            assert forced.name == "Again"
            await engine.propose_state(client, Running(), flow_run_id=run.id)
            client.unary(PAUSE_FLOW_RUN, v1.PauseFlowRunRequest(request_id=new_id(), flow_run_id=run.run_id))
            spec = v1.TaskRunSpec(
                id=task_run_id(run.run_id, "t", "0"), flow_run_id=run.run_id, task_key="t", dynamic_key="0", name="t",
                state=pending(),
            )  # fmt: skip
            client.unary(CREATE_TASK_RUN, v1.CreateTaskRunRequest(request_id=new_id(), spec=spec))
            with pytest.raises(Pause) as pause:
                await engine.propose_state(client, Running(), task_run_id=spec.id)
            assert isinstance(pause.value.state, State)
            assert pause.value.state.is_paused()

        asyncio.run(main())

    def test_the_options_of_the_run_that_proposes_hold(self, service: Service) -> None:
        @task(persist_result=False)
        async def proposing() -> Any:
            return await engine.propose_state(
                service.client, Failed(data=ValueError("no")), task_run_id=current_task.id
            )

        @flow
        async def outer() -> Any:
            return await proposing(return_state=True)

        asyncio.run(outer(return_state=True))
        (run,) = service.task_runs(service.flow_runs("outer")[-1].spec.id)
        assert "Failed" in service.state_names(task_run=run.spec.id)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError(), OSError("disk")])
    def test_crashes_are_reported(self, service: Service, error: BaseException) -> None:
        hooks: list[str] = []

        @flow(on_crashed=[lambda flow, run, state: hooks.append(state.name)])
        def crashing() -> None: ...

        async def main() -> FlowRun:
            run = created(service, "crashing")
            await engine.propose_state(service.client, Running(), flow_run_id=run.id)
            with pytest.raises(type(error)):
                async with engine.report_flow_run_crashes(run, service.client, crashing):
                    raise error
            for signal in (Abort("stop"), Pause("wait")):
                with pytest.raises(type(signal)):
                    async with engine.report_flow_run_crashes(run, service.client, crashing):
                        raise signal
            return run

        run = asyncio.run(main())
        state = service.flow_run(run.id).status.state
        assert (state.name, hooks) == ("Crashed", ["Crashed"])
        assert (
            state.message
            == {
                KeyboardInterrupt: "Execution was aborted by an interrupt signal.",
                SystemExit: "Execution was aborted by Python system exit call.",
                asyncio.CancelledError: "Execution was cancelled by the runtime environment.",
                OSError: "Execution was interrupted by an unexpected exception: OSError: disk",
            }[type(error)]
        )

    def test_crashes_of_task_runs_are_forced(self, service: Service) -> None:
        @flow
        async def outer() -> str:
            context = FlowRunContext.get()
            assert context is not None
            run = await engine.create_task_run(add, "crashing", context, {"x": 1}, "key")
            with pytest.raises(KeyboardInterrupt):
                async with engine.report_task_run_crashes(run, service.client):
                    raise KeyboardInterrupt
            return run.run_id

        run_id = asyncio.run(outer())
        assert service.state_names(task_run=run_id) == ["Pending", "Crashed"]

    def test_what_is_asked_before_a_run_begins(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        asyncio.run(engine.check_api_reachable(service.client, "Cannot create flow run"))
        address = f"unix:{tmp_path}/nobody"
        monkeypatch.setenv("PLAYHEAD_API_URL", address)
        monkeypatch.setattr(states, "ANSWER_S_MAX", 0.1)
        unreachable = connect(address)
        with pytest.raises(RuntimeError, match=r"Cannot create flow run\. Failed to reach API at unix:"):
            asyncio.run(engine.check_api_reachable(unreachable, "Cannot create flow run"))
        unreachable.close()

    def test_prints_and_names(self, embedded: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        @flow(log_prints=True)
        def outer() -> list[bool]:
            return [engine.should_log_prints(add), engine.should_log_prints(add.with_options(log_prints=False))]

        assert outer() == [True, False]
        assert not engine.should_log_prints(add)
        named = flow(flow_run_name="{x:02d}")(adding.fn)
        assert engine.resolve_custom_flow_run_name(named, {"x": 5}) == "05"
        named_task = task(task_run_name=lambda parameters: f"t{parameters['x']}")(add.fn)
        assert engine.resolve_custom_task_run_name(named_task, {"x": 5}) == "t5"
        with pytest.raises(TypeError, match="got NoneType instead"):
            engine.resolve_custom_flow_run_name(adding, {})

    def test_sigterm_is_caught(self) -> None:
        with engine.capture_sigterm() as termination:
            assert termination.signal is None

    def test_the_module_has_them_all(self) -> None:
        documented = {
            "begin_flow_run", "begin_task_map", "begin_task_run", "capture_sigterm", "check_api_reachable",
            "collect_task_run_inputs", "create_and_begin_subflow_run", "create_task_run", "create_task_run_future",
            "create_task_run_then_submit", "create_then_begin_flow_run", "enter_flow_run_engine_from_flow_call",
            "enter_flow_run_engine_from_subprocess", "enter_task_run_engine", "get_state_for_result",
            "get_task_call_return_value", "link_state_to_result", "orchestrate_flow_run", "orchestrate_task_run",
            "propose_state", "report_flow_run_crashes", "report_task_run_crashes", "resolve_inputs",
            "retrieve_flow_then_begin_flow_run", "should_log_prints", "submit_task_run",
            "wait_for_task_runs_and_report_crashes",
        }  # fmt: skip
        assert documented <= set(dir(engine))
        assert all(callable(getattr(engine, name)) for name in documented)
        with pytest.raises(AttributeError, match="no attribute 'unknown'"):
            engine.unknown  # noqa: B018  # looking it up is the test
