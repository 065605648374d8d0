"""Run input: typed and plain, sent and received, asked for by pauses; the same when a run is executed again."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import wraps
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, ValidationError

from playhead import (
    apause_flow_run,
    asuspend_flow_run,
    flow,
    pause_flow_run,
    resume_flow_run,
    suspend_flow_run,
    task,
    v1,
)
from playhead import (
    input as run_input_module,
)
from playhead.client.interface import CANCEL_FLOW_RUN, CREATE_FLOW_RUN, REGISTER_FLOW
from playhead.context import FlowRunContext
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.drivers import drive_async, drive_sync
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.subflows import call_loop
from playhead.engine.execution.watching import state_wanted
from playhead.exceptions import AlreadyExists, BadRequest, NotFound, RunEnded
from playhead.input import (
    AutomaticRunInput,
    FlowRunInput,
    RunInput,
    acreate_flow_run_input,
    afilter_flow_run_input,
    aread_flow_run_input,
    asend_input,
    create_flow_run_input,
    create_flow_run_input_from_model,
    delete_flow_run_input,
    filter_flow_run_input,
    keyset_from_base_key,
    keyset_from_paused_state,
    read_flow_run_input,
    receive_input,
    run_input_subclass_from_type,
    send_input,
)
from playhead.runs import FlowRun
from playhead.states import Paused, Running, State
from playhead.task_runners import ThreadPoolTaskRunner
from tests.sdk.conftest import Service

PATIENCE_S = 30.0
OUTSIDE = r"^Must either provide a flow run ID or be within a flow run\.$"


class Approval(RunInput):
    """Whether it may go on."""

    approved: bool
    on: date = date(2026, 1, 1)
    count: Annotated[int, Field(ge=1, description="How many.")] = 1


class Person(BaseModel):
    name: str


@dataclass
class Point:
    x: int
    y: float


def this_run() -> UUID:
    """The id of the flow run that the code is in."""
    context = FlowRunContext.get()
    assert context is not None
    return context.flow_run.id


@pytest.fixture
def run_id(service: Service) -> UUID:
    """A flow run that nobody executes, on each client."""
    return a_run(service)


def a_run(service: Service, **fields: Any) -> UUID:
    """A flow run."""
    flow_id = new_id()
    service.client.unary(REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=flow_id, name=flow_id))
    spec = v1.FlowRunSpec(id=new_id(), flow_id=flow_id, **fields)
    service.client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
    return UUID(spec.id)


def in_an_event_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine function."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def keys(run_id: UUID) -> list[str]:
    """The keys of a run's inputs."""
    return [each.key for each in filter_flow_run_input("", limit=100, flow_run_id=run_id)]


class TestNames:
    """What the module has."""

    def test_it_has_the_names_of_prefects_and_those_beside_them(self) -> None:
        twins = {"create_flow_run_input", "create_flow_run_input_from_model", "delete_flow_run_input",
                 "filter_flow_run_input", "read_flow_run_input", "send_input"}  # fmt: skip
        single = {"AutomaticRunInput", "GetInputHandler", "Keyset", "RunInput", "RunInputMetadata",
                  "keyset_from_base_key", "keyset_from_paused_state", "receive_input",
                  "run_input_subclass_from_type"}  # fmt: skip
        assert set(run_input_module.__all__) == {*twins, *(f"a{name}" for name in twins), *single, "FlowRunInput"}
        assert all(inspect.iscoroutinefunction(getattr(run_input_module, f"a{name}")) for name in twins)

    def test_who_is_in_no_run_has_to_name_one(self, embedded: Service) -> None:
        for ask in (
            lambda: create_flow_run_input("k", 1),
            lambda: read_flow_run_input("k"),
            lambda: filter_flow_run_input("k"),
            lambda: delete_flow_run_input("k"),
            lambda: receive_input(int),
            lambda: Approval.load(keyset_from_base_key("k")),
        ):
            with pytest.raises(RuntimeError, match=OUTSIDE):
                ask()


class TestSingleInputs:
    """create_, filter_, read_ and delete_flow_run_input."""

    def test_an_input_is_created_read_and_deleted(self, run_id: UUID) -> None:
        assert read_flow_run_input("k", run_id) is None
        created = create_flow_run_input("k", {"a": datetime(2026, 1, 1, tzinfo=UTC), "b": {3}}, run_id, sender="ann")
        assert created == FlowRunInput(
            flow_run_id=run_id, key="k", value={"a": "2026-01-01T00:00:00Z", "b": [3]}, sender="ann",
            created=created.created,
        )  # fmt: skip
        assert read_flow_run_input("k", run_id) == created.value
        delete_flow_run_input("k", run_id)
        assert read_flow_run_input("k", run_id) is None
        with pytest.raises(NotFound, match="key"):
            delete_flow_run_input("k", run_id)
        with pytest.raises(NotFound, match="flow_run_id"):
            read_flow_run_input("k", UUID(new_id()))

    def test_a_key_is_taken_once(self, run_id: UUID) -> None:
        create_flow_run_input("k", 1, run_id)
        with pytest.raises(AlreadyExists):
            create_flow_run_input("k", 2, run_id)
        assert read_flow_run_input("k", run_id) == 1

    def test_an_input_is_made_of_a_model(self, run_id: UUID) -> None:
        create_flow_run_input_from_model("k", Approval(approved=True), run_id)
        assert read_flow_run_input("k", run_id) == {"approved": True, "on": "2026-01-01", "count": 1}

    def test_inputs_are_filtered_by_prefix_in_their_order(self, run_id: UUID) -> None:
        for key in ("a-2", "b-1", "a-1", "a-3"):
            create_flow_run_input(key, key, run_id)
        assert [each.key for each in filter_flow_run_input("a", flow_run_id=run_id)] == ["a-2"]
        assert [each.value for each in filter_flow_run_input("a", 2, {"a-2"}, run_id)] == ["a-1", "a-3"]
        assert filter_flow_run_input("c", flow_run_id=run_id) == []

    def test_in_a_flow_they_are_the_flow_runs_own(self, service: Service) -> None:
        @task
        def in_a_task() -> Any:
            return read_flow_run_input("k")

        @flow
        def storing() -> Any:
            create_flow_run_input("k", 7)
            return this_run(), in_a_task(), filter_flow_run_input("k")[0].value

        run_id, *values = storing()
        assert values == [7, 7]
        assert keys(run_id) == ["k"]

    @in_an_event_loop
    async def test_async_code_awaits_either_form(self, service: Service) -> None:
        run_id = a_run(service)
        await create_flow_run_input("k", 1, run_id)
        await acreate_flow_run_input(run_id, "l", 2)
        assert await read_flow_run_input("k", run_id) == await aread_flow_run_input("k", run_id) == 1
        assert [each.key for each in await afilter_flow_run_input("", 5, flow_run_id=run_id)] == ["k", "l"]

    def test_what_is_no_json_is_refused(self, run_id: UUID) -> None:
        with pytest.raises(ValueError, match="Unable to serialize"):
            create_flow_run_input("k", object(), run_id)
        with pytest.raises(BadRequest, match="value: not JSON: NaN"):
            create_flow_run_input("k", float("nan"), run_id)
        assert keys(run_id) == []


class TestKeysets:
    """Keyset, keyset_from_base_key, keyset_from_paused_state."""

    def test_a_keyset_has_a_key_for_each_part(self) -> None:
        keyset = keyset_from_base_key("base")
        assert keyset == {"description": "base-description", "response": "base-response", "schema": "base-schema"}
        assert Approval.keyset_from_type() == keyset_from_base_key("approval")

    def test_a_pause_has_a_keyset(self) -> None:
        state = Paused(pause_key="2", timeout_seconds=60)
        assert keyset_from_paused_state(state)["response"] == "paused-2-response"
        with pytest.raises(RuntimeError, match="paused state"):
            keyset_from_paused_state(Running())


class TestModels:
    """RunInput and its subclasses."""

    def test_fields_that_it_has_not_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="Extra inputs"):
            Approval(approved=True, by="ann")  # type: ignore[call-arg] # the point of it

    def test_what_was_not_received_has_no_metadata(self) -> None:
        with pytest.raises(RuntimeError, match="not received"):
            _ = Approval(approved=True).metadata

    def test_its_schema_and_description_are_saved_and_an_answer_loaded(self, run_id: UUID) -> None:
        keyset = keyset_from_base_key("ask")
        Approval.with_initial_data("May it go **on**?", count=3).save(keyset, run_id)
        assert read_flow_run_input("ask-description", run_id) == "May it go **on**?"
        schema = read_flow_run_input("ask-schema", run_id)
        assert schema["properties"]["count"] == {
            "default": 3, "description": "How many.", "minimum": 1, "title": "Count", "type": "integer",
        }  # fmt: skip
        create_flow_run_input(keyset["response"], {"approved": True}, run_id)
        loaded = Approval.load(keyset, run_id)
        assert loaded == Approval(approved=True)
        assert (loaded.metadata.key, loaded.metadata.sender, loaded.metadata.receiver) == (
            "ask-response", None, run_id,
        )  # fmt: skip

    def test_without_an_answer_there_are_the_defaults(self, run_id: UUID) -> None:
        asked = Approval.with_initial_data(approved=False)
        assert asked.load(keyset_from_base_key("ask"), run_id).approved is False
        with pytest.raises(ValidationError, match="approved"):
            Approval.load(keyset_from_base_key("ask"), run_id)

    def test_initial_data_become_defaults_of_a_subclass_and_keep_its_conditions(self) -> None:
        asked = Approval.with_initial_data(approved=True, count=2, note="new")
        assert issubclass(asked, Approval)
        assert asked().model_dump() == {"approved": True, "on": date(2026, 1, 1), "count": 2, "note": "new"}
        with pytest.raises(ValidationError, match="greater than or equal to 1"):
            asked(count=0)
        assert Approval.model_fields["count"].default == 1

    def test_a_stored_input_is_loaded(self) -> None:
        record = FlowRunInput(
            flow_run_id=UUID(new_id()), key="k", value={"approved": "yes"}, sender="ann", created=datetime.now(UTC)
        )
        loaded = Approval.load_from_flow_run_input(record)
        assert loaded.approved is True
        assert loaded.metadata == record.metadata

    def test_other_models_and_types_have_models_made_for_them(self) -> None:
        assert run_input_subclass_from_type(Approval) is Approval
        person = run_input_subclass_from_type(Person)
        assert issubclass(person, RunInput)
        assert issubclass(person, Person)
        with pytest.raises(TypeError, match="3 is no type that an input can have"):
            run_input_subclass_from_type(3)
        plain = run_input_subclass_from_type(int)
        assert issubclass(plain, AutomaticRunInput)
        assert plain.model_validate({"value": "7"}).model_dump() == {"value": 7}


def test_what_is_no_type_and_no_run_can_not_be_waited_for() -> None:
    with pytest.raises(TypeError, match="'str' is neither a type of input nor the id of a flow run"):
        pause_flow_run(wait_for_input="str")


class TestSendingAndReceiving:
    """send_input, receive_input, RunInput.receive, respond, send_to."""

    @pytest.mark.parametrize(
        ("value", "input_type"),
        [
            (7, int), ("text", str), (1.5, float), (True, bool), ({"a": [1]}, dict), ([1, 2], list[int]),
            (Person(name="ann"), Person), (Approval(approved=True), Approval), (date(2026, 1, 2), date),
            (UUID(int=7), UUID), (Decimal("1.10"), Decimal), (Point(1, 2.5), Point), ({"value": 1}, dict),
        ],
    )  # fmt: skip
    def test_what_is_received_is_what_was_sent(self, run_id: UUID, value: Any, input_type: Any) -> None:
        send_input(value, run_id)
        received = receive_input(input_type, timeout=0, flow_run_id=run_id).next()
        if isinstance(value, BaseModel):
            assert received.model_dump() == value.model_dump()
            assert isinstance(received, input_type)
        else:
            assert received == value
            assert type(received) is type(value)

    def test_a_key_is_a_prefix_and_an_id(self, run_id: UUID) -> None:
        send_input(1, run_id)
        send_input(Approval(approved=True), run_id)
        send_input(1, run_id, key_prefix="mine")
        prefixes = [(key[:-37], UUID(key[-36:]).variant) for key in keys(run_id)]
        assert [prefix for prefix, _ in prefixes] == ["int-auto", "approval-auto", "mine"]
        assert len(set(keys(run_id))) == 3

    def test_iterating_receives_each_once_in_order_and_ends_when_time_is_over(self, run_id: UUID) -> None:
        for number in range(5):
            send_input(number, run_id)
            send_input(f"text {number}", run_id)
        handler = receive_input(int, timeout=0, flow_run_id=run_id)
        assert next(handler) == 0
        assert list(handler) == [1, 2, 3, 4]
        send_input(5, run_id)
        assert list(handler) == [5]
        assert len(handler.exclude_keys) == 6
        assert list(receive_input(int, timeout=0, flow_run_id=run_id)) == [0, 1, 2, 3, 4, 5]

    def test_time_that_is_over_raises_where_it_is_asked_for(self, run_id: UUID) -> None:
        raising = receive_input(int, timeout=0, raise_timeout_error=True, flow_run_id=run_id)
        for ask in (lambda: next(raising), lambda: raising.get("k"), raising.keys, lambda: raising["k"]):
            with pytest.raises(TimeoutError, match=r"No input was received within 0 seconds\."):
                ask()
        silent = receive_input(int, timeout=0, flow_run_id=run_id)
        assert (list(silent), silent.get("k", "default"), silent.keys()) == ([], "default", set())
        for ask in (silent.next, lambda: silent["k"]):
            with pytest.raises(TimeoutError):
                ask()

    def test_looking_leaves_nothing_behind(self, run_id: UUID) -> None:
        handler = receive_input(int, timeout=0, flow_run_id=run_id)
        for _ in range(20):
            assert handler.get("k") is None
        looked = [thread for thread in threading.enumerate() if thread.name == "playhead-inputs"]
        for thread in looked:
            thread.join(5)
        assert not [thread for thread in looked if thread.is_alive()]

    def test_excluded_keys_are_not_received(self, run_id: UUID) -> None:
        for key in ("k-1", "k-2", "k-3"):
            create_flow_run_input(key, key, run_id)
        handler = receive_input(str, timeout=0, exclude_keys={"k-2"}, key_prefix="k", flow_run_id=run_id)
        assert list(handler) == ["k-1", "k-3"]
        assert handler.exclude_keys == {"k-1", "k-2", "k-3"}

    def test_metadata_come_with_the_value_when_they_are_asked_for(self, run_id: UUID) -> None:
        send_input(7, run_id, sender="ann")
        received = receive_input(int, timeout=0, flow_run_id=run_id, with_metadata=True).next()
        assert received.value == 7
        assert (received.metadata.sender, received.metadata.receiver) == ("ann", run_id)
        assert received.metadata.key == keys(run_id)[0]
        send_input({"k": 1}, run_id)
        handler = receive_input(dict, timeout=0, flow_run_id=run_id, with_metadata=True)
        assert handler["k"] == 1

    def test_keys_are_read_of_models_too_and_of_nothing_else(self, run_id: UUID) -> None:
        send_input(Approval(approved=True), run_id)
        handler = Approval.receive(timeout=0, flow_run_id=run_id)
        assert (handler.get("approved"), handler["count"], handler.get("x", 9)) == (True, 1, 9)
        assert handler.keys() == {"approved", "on", "count"}
        send_input(7, run_id)
        with pytest.raises(TypeError, match="'int'"):
            receive_input(int, timeout=0, flow_run_id=run_id).get("k")

    def test_what_does_not_fit_is_told_and_passed(self, run_id: UUID) -> None:
        send_input("no number", run_id, key_prefix="n")
        send_input(7, run_id, key_prefix="n")
        handler = receive_input(int, timeout=0, key_prefix="n", flow_run_id=run_id)
        with pytest.raises(ValidationError) as caught:
            handler.next()
        assert caught.value.__notes__ == [f"This is the input {keys(run_id)[0]!r} of flow run {run_id}."]
        assert handler.next() == 7

    def test_a_receiver_that_waits_is_woken(self, run_id: UUID) -> None:
        handler = receive_input(int, timeout=PATIENCE_S, flow_run_id=run_id)
        with ThreadPoolExecutor(1) as pool:
            for number in range(3):
                received = pool.submit(handler.next)
                send_input(number, run_id)
                assert received.result(PATIENCE_S) == number

    @in_an_event_loop
    async def test_async_code_iterates_awaits_and_reads(self, service: Service) -> None:
        run_id = a_run(service)
        handler = receive_input(dict, timeout=PATIENCE_S, flow_run_id=run_id)
        with pytest.raises(RuntimeError, match="await handler"):
            handler["n"]
        received: list[Any] = []

        async def receive() -> None:
            async for one in handler:
                received.append(one["n"])
                if len(received) == 3:
                    return

        receiving = asyncio.create_task(receive())
        await asend_input({"n": 0}, run_id)
        await send_input({"n": 1}, run_id)
        await asend_input({"n": 2}, run_id)
        await asyncio.wait_for(receiving, PATIENCE_S)
        assert received == [0, 1, 2]
        assert await handler.get("n") == handler["n"] == 2
        assert await handler.keys() == {"n"}
        silent = receive_input(int, timeout=0, flow_run_id=run_id)
        assert [one async for one in silent] == []
        with pytest.raises(TimeoutError):
            await silent.anext()
        with pytest.raises(TimeoutError):
            await silent.next()

    @in_an_event_loop
    async def test_a_wait_that_is_given_up_leaves_the_input_to_the_next(self, service: Service) -> None:
        run_id = a_run(service)
        handler = receive_input(int, timeout=PATIENCE_S, flow_run_id=run_id)
        waiting = asyncio.create_task(handler.anext())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asend_input(7, run_id)
        assert await handler.anext() == 7

    def test_flow_runs_answer_each_other(self, service: Service) -> None:
        started: Future[UUID] = Future()

        @flow
        def greeter() -> int:
            started.set_result(this_run())
            for greeted, person in enumerate(receive_input(Person, timeout=PATIENCE_S)):
                if person.name == "nobody":
                    return greeted
                person.respond(f"Hello, {person.name}!")
            raise AssertionError("nobody came")

        @flow
        def guest() -> Any:
            to = started.result(PATIENCE_S)
            greetings = receive_input(str, timeout=PATIENCE_S, with_metadata=True)
            send_input(Person(name="Ann"), to)
            greeting = greetings.next()
            send_input(Person(name="nobody"), to)
            return greeting.value, greeting.metadata.sender

        with ThreadPoolExecutor(1) as pool:
            greeting = pool.submit(greeter)
            assert guest() == ("Hello, Ann!", f"playhead.flow-run.{started.result()}")
            assert greeting.result(PATIENCE_S) == 1

    def test_only_a_flow_run_is_answered(self, run_id: UUID) -> None:
        for sender in (None, "ann"):
            Approval(approved=True).send_to(run_id, sender=sender, key_prefix=str(sender))
            received = Approval.receive(timeout=0, flow_run_id=run_id, key_prefix=str(sender)).next()
            with pytest.raises(RuntimeError, match="Cannot respond"):
                received.respond("hello")

    def test_a_run_that_has_ended_receives_nothing_more(self, service: Service) -> None:
        @flow
        def ended() -> UUID:
            return this_run()

        with pytest.raises(RunEnded):
            send_input(1, ended())

    @pytest.mark.parametrize("in_a_task", [False, True])
    def test_a_run_that_is_cancelled_waits_no_longer(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, in_a_task: bool
    ) -> None:
        monkeypatch.setenv("PLAYHEAD_LEASE_RENEWAL_S", "0.02")

        def receive() -> Any:
            request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=str(this_run()))
            service.client.unary(CANCEL_FLOW_RUN, request)
            return receive_input(int, timeout=None).next()

        @flow
        def waiting() -> Any:
            return task(receive).submit().result() if in_a_task else receive()

        @flow
        async def awaiting() -> Any:
            request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=str(this_run()))
            service.client.unary(CANCEL_FLOW_RUN, request)
            return await receive_input(int, timeout=None).anext()

        assert waiting(return_state=True).name == "Cancelled"
        assert asyncio.run(awaiting(return_state=True)).name == "Cancelled"

    def test_tasks_that_wait_for_input_keep_no_others_from_running(self, service: Service) -> None:
        """As many wait as there are workers; what they wait for is sent by tasks behind them."""

        @task
        def waiting(number: int) -> int:
            return int(receive_input(int, timeout=PATIENCE_S, key_prefix=f"n{number}-").next())

        @task
        def sending(number: int, to: UUID) -> None:
            send_input(number, to, key_prefix=f"n{number}-")

        @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
        def crowded() -> list[int]:
            waits = [waiting.submit(number) for number in range(2)]
            sends = [sending.submit(number, this_run()) for number in range(2)]
            return [each.result() for each in (*waits, *sends)][:2]

        assert crowded() == [0, 1]


class TestPauses:
    """pause_flow_run, suspend_flow_run and resume_flow_run with typed input."""

    @pytest.fixture
    def beside(self) -> Iterator[ThreadPoolExecutor]:
        """Threads beside the flow's."""
        with ThreadPoolExecutor(4) as pool:
            yield pool

    @pytest.mark.parametrize(
        ("wanted", "given", "got"),
        [
            (Approval, {"approved": True, "on": "2026-02-03"}, Approval(approved=True, on=date(2026, 2, 3))),
            (Approval, Approval(approved=False), Approval(approved=False)),
            (Approval.with_initial_data("Well?", approved=True), {}, Approval(approved=True)),
            (int, {"value": 7}, 7),
            (list[str], {"value": ["a"]}, ["a"]),
        ],
    )
    def test_a_pause_returns_what_the_resume_brings(
        self, service: Service, beside: ThreadPoolExecutor, wanted: Any, given: Any, got: Any
    ) -> None:
        paused: Future[UUID] = Future()

        @flow
        def asking() -> Any:
            paused.set_result(this_run())
            return pause_flow_run(wait_for_input=wanted, timeout=PATIENCE_S)

        resumed = beside.submit(resume_when_paused, service, paused, given)
        received = asking()
        resumed.result(PATIENCE_S)
        assert received == got or received.model_dump() == got.model_dump()
        if isinstance(received, RunInput):
            assert received.metadata.key == "paused-1-response"

    def test_another_model_is_asked_for_as_it_is(self, service: Service, beside: ThreadPoolExecutor) -> None:
        paused: Future[UUID] = Future()

        @flow
        async def asking() -> Any:
            paused.set_result(this_run())
            return await apause_flow_run(wait_for_input=Person, timeout=PATIENCE_S)

        beside.submit(resume_when_paused, service, paused, {"name": "ann"})
        person = asyncio.run(asking())
        assert isinstance(person, Person)
        assert person.name == "ann"

    def test_input_that_does_not_fit_leaves_it_paused(self, service: Service, beside: ThreadPoolExecutor) -> None:
        paused: Future[UUID] = Future()

        @flow
        def asking() -> Any:
            paused.set_result(this_run())
            return pause_flow_run(wait_for_input=Approval, timeout=PATIENCE_S).approved

        def try_some() -> list[str]:
            refused = []
            for given in ({"approved": True, "count": 0}, {"approved": "maybe"}, {"approved": True, "x": 1}, None):
                with pytest.raises(RuntimeError, match="Cannot resume this run") as caught:
                    resume_when_paused(service, paused, given)
                refused.append(str(caught.value))
            resume_flow_run(paused.result(), run_input={"approved": True})
            return refused

        tried = beside.submit(try_some)
        assert asking() is True
        assert "run_input.count" in tried.result(PATIENCE_S)[0]

    @pytest.mark.parametrize("wanted", [Approval, int])
    def test_a_run_that_is_executed_again_gets_what_it_got(
        self, service: Service, beside: ThreadPoolExecutor, wanted: Any
    ) -> None:
        paused: Future[UUID] = Future()
        seen: list[Any] = []

        @flow
        async def again() -> None:
            seen.append(await apause_flow_run(wait_for_input=wanted, timeout=PATIENCE_S, key="a"))
            await asuspend_flow_run(timeout=3600, key="s")

        run_id = a_run(service, deployment_id=new_id())
        paused.set_result(run_id)
        beside.submit(resume_when_paused, service, paused, {"value": 7} if wanted is int else {"approved": True})
        assert execute(service, again, run_id).name == "Suspended"
        resume_flow_run(run_id)
        assert execute(service, again, run_id).is_completed()
        assert seen == [7 if wanted is int else Approval(approved=True)] * 2

    def test_what_a_resume_brought_is_loaded_by_the_pauses_keyset(
        self, service: Service, beside: ThreadPoolExecutor
    ) -> None:
        paused: Future[UUID] = Future()

        @flow
        def asking() -> Any:
            paused.set_result(this_run())
            pause_flow_run(wait_for_input=Approval, timeout=PATIENCE_S, key="a")
            return Approval.load(keyset_from_paused_state(Paused(pause_key="a", timeout_seconds=1)))

        beside.submit(resume_when_paused, service, paused, {"approved": True, "count": 3})
        assert asking().count == 3

    def test_a_suspended_run_gets_its_input_when_it_goes_on(self, service: Service) -> None:
        @flow
        def suspending() -> Any:
            return suspend_flow_run(wait_for_input=Approval, timeout=3600, key="s").approved

        run_id = a_run(service, deployment_id=new_id())
        assert execute(service, suspending, run_id).is_paused()
        resume_flow_run(run_id, run_input=Approval(approved=True))
        assert execute(service, suspending, run_id).result() is True

    def test_others_ask_for_typed_input_by_the_runs_id(self, service: Service, beside: ThreadPoolExecutor) -> None:
        paused: Future[UUID] = Future()

        @task
        def step() -> int:
            return 1

        @flow
        def asked() -> int:
            pause_flow_run(wait_for_input=Approval, timeout=PATIENCE_S, flow_run_id=this_run())
            paused.set_result(this_run())
            return step()

        def resume() -> None:
            with pytest.raises(RuntimeError, match=r'run_input: "approved" is a required property'):
                resume_when_paused(service, paused, {})
            resume_flow_run(paused.result(), {"approved": True})

        resumed = beside.submit(resume)
        assert asked() == 1
        resumed.result(PATIENCE_S)


def execute(service: Service, called: Any, run_id: UUID) -> State[Any]:
    """Execute a run that exists, as a process that is started for it does; the state it came to."""
    run = FlowRun(str(run_id), called.name, [], called.name, {})
    call = FlowCall(called, {}, service.client, existing=run)
    loop = call_loop(call)
    return asyncio.run(drive_async(loop, service.client)) if called.isasync else drive_sync(loop, service.client)


def resume_when_paused(service: Service, paused: Future[UUID], given: Any) -> None:
    """Resume a run once it is paused."""
    run_id = paused.result(PATIENCE_S)
    found = state_wanted(service.client, str(run_id), lambda state: state.type == v1.PAUSED, PATIENCE_S)
    assert found.result() is not None
    resume_flow_run(run_id, run_input=given)


class TestExecutedAgain:
    """A run that is executed again receives the same in the same order, and sends nothing a second time."""

    def test_a_retried_flow_receives_its_inputs_again_in_their_order(self, service: Service) -> None:
        attempts: list[list[int]] = []

        @flow(retries=2)
        def retried() -> None:
            if not attempts:
                for number in range(3):
                    create_flow_run_input(f"n-{9 - number}", number)
            attempts.append([])
            for number in receive_input(int, timeout=0, key_prefix="n-"):
                attempts[-1].append(number)
                if len(attempts) + len(attempts[-1]) == 3:
                    raise ValueError("once more")

        retried()
        assert attempts == [[0, 1], [0], [0, 1, 2]]

    def test_a_retried_flow_sends_and_deletes_once(self, service: Service, run_id: UUID) -> None:
        attempts: list[UUID] = []

        @task(retries=1)
        def in_a_task() -> None:
            send_input("from a task", run_id)
            if len(attempts) == 1:
                attempts.append(this_run())
                raise ValueError("once more")

        @flow(retries=1)
        def retried() -> None:
            attempts.append(this_run())
            send_input("same", run_id)
            send_input("same", run_id)
            send_input(len(attempts), run_id, key_prefix="changed")
            create_flow_run_input("mine", 1)
            delete_flow_run_input("mine")
            in_a_task()
            if len(attempts) < 3:
                raise ValueError("once more")

        retried()
        received = [each.value for each in filter_flow_run_input("", 100, flow_run_id=run_id)]
        assert received == ["same", "same", 1, "from a task", 3]
        assert keys(attempts[0]) == []

    def test_threads_that_send_the_same_send_each_their_own(self, service: Service, run_id: UUID) -> None:
        @flow
        def sending() -> None:
            barrier = threading.Barrier(4)

            @task
            def one() -> None:
                barrier.wait(PATIENCE_S)
                send_input("same", run_id)

            for each in [one.submit() for _ in range(4)]:
                each.wait()

        sending()
        assert len(keys(run_id)) == 4
