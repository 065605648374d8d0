"""Flows and tasks under concurrency limits, on every kind of client."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from playhead import flow, task, v1
from playhead.client.interface import (
    CANCEL_FLOW_RUN,
    CREATE_FLOW_RUN,
    LIST_SLOT_USERS,
    PROPOSE_STATE,
    REGISTER_FLOW,
    SET_CONCURRENCY_LIMIT,
)
from playhead.concurrency.asyncio import concurrency as concurrency_async
from playhead.concurrency.sync import concurrency
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.drivers import drive_sync
from playhead.engine.execution.flow_loop import flow_loop
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.translation import flow_run_of
from playhead.engine.signals import Abort
from playhead.exceptions import (
    AcquireConcurrencySlotTimeoutError,
    BadRequest,
    ConcurrencySlotAcquisitionError,
    RunRefused,
)
from tests.sdk.conftest import Service


class Together:
    """How many are inside at the same time, and how many ever were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1


class Heard(logging.Handler):
    """The records of runs, and whether one says that a run waits in line."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Event()
        self.records: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self.records.append((getattr(record, "task_run_name", None) or record.name, message))
        if message.endswith("Waiting in line."):
            self.waiting.set()

    def of_slots(self) -> list[tuple[str, str]]:
        """The records that speak of slots."""
        return [record for record in self.records if re.search(r"\bslots?\b", record[1])]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What is logged while a test runs."""
    handler, logger = Heard(), logging.getLogger("playhead")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def a_tag(service: Service, slots: int) -> str:
    """A new tag, with a limit."""
    tag = f"db {new_id()}"
    request = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit=f"tag:{tag}", slots=slots)
    service.client.unary(SET_CONCURRENCY_LIMIT, request)
    return tag


def a_name(service: Service, slots: int, on_full: v1.OnFull.ValueType = v1.ENQUEUE) -> str:
    """A new name, with a limit."""
    name = f"db {new_id()}"
    request = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit=f"name:{name}", slots=slots, on_full=on_full)
    service.client.unary(SET_CONCURRENCY_LIMIT, request)
    return name


def users(service: Service, limit: str, waiting: bool = False) -> int:
    """How many hold slots of a limit, or wait for them."""
    return len(service.client.unary(LIST_SLOT_USERS, v1.ListSlotUsersRequest(limit=limit, waiting=waiting)).users)


def test_mapped_tasks_never_run_more_at_once_than_their_tag_allows(service: Service) -> None:
    together, tag = Together(), a_tag(service, 2)

    @task(tags={tag})
    def load(number: int) -> int:
        with together:
            return number

    @flow
    def etl() -> list[int]:
        return [future.result() for future in load.map(range(30))]

    assert etl() == list(range(30))
    assert 1 <= together.most <= 2
    assert users(service, f"tag:{tag}") == users(service, f"tag:{tag}", waiting=True) == 0


def test_async_tasks_wait_for_their_slots_without_blocking_the_loop(service: Service) -> None:
    together, tag = Together(), a_tag(service, 1)

    @task(tags={tag})
    async def load(number: int) -> int:
        with together:
            await asyncio.sleep(0)
            return number

    @flow
    async def etl() -> list[int]:
        return list(await asyncio.gather(*(load(number) for number in range(20))))

    assert asyncio.run(etl()) == list(range(20))
    assert together.most == 1


def test_a_task_under_a_limit_of_zero_fails_and_so_does_its_flow(service: Service) -> None:
    tag = a_tag(service, 0)

    @task(tags={tag})
    def load() -> None:
        raise AssertionError("it ran")

    @flow
    def etl() -> None:
        load()

    with pytest.raises(RunRefused, match=r"SecureTaskConcurrencySlots: tag:.* has 0 slots"):
        etl()
    state = etl(return_state=True)
    assert state.is_failed()
    (task_run,) = service.task_runs(state.state_details.flow_run_id)
    assert task_run.status.state.type == v1.FAILED
    with pytest.raises(RunRefused, match="has 0 slots"):
        load()


@pytest.mark.parametrize("slots", [0, None])
def test_a_limit_that_changes_reaches_those_who_wait_without_their_asking(
    service: Service, heard: Heard, monkeypatch: pytest.MonkeyPatch, slots: int | None
) -> None:
    monkeypatch.setattr("playhead.engine.execution.proposals.ASK_AGAIN_S", 1e6)
    tag, holds, told = a_tag(service, 1), threading.Event(), threading.Event()

    @task(tags={tag})
    def first() -> None:
        holds.set()
        assert told.wait(60)

    @task(tags={tag})
    def second() -> str:
        return "went on"

    @flow
    def etl() -> str:
        running = first.submit()
        assert holds.wait(60)
        waiting = second.submit()
        assert heard.waiting.wait(60)
        request = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit=f"tag:{tag}", slots=slots)
        service.client.unary(SET_CONCURRENCY_LIMIT, request)
        waiting.wait(60)
        told.set()
        running.result()
        return waiting.result()

    if slots is None:
        assert etl() == "went on"
    else:
        with pytest.raises(RunRefused, match=r"SecureTaskConcurrencySlots: tag:.* has 0 slots"):
            etl()


@pytest.mark.parametrize("stretch", [False, True], ids=["task", "stretch of code"])
def test_a_cancelled_flow_run_does_not_wait_for_tasks_that_stand_in_line(
    service: Service, heard: Heard, monkeypatch: pytest.MonkeyPatch, stretch: bool
) -> None:
    monkeypatch.setattr("playhead.engine.execution.proposals.ASK_AGAIN_S", 1e6)
    monkeypatch.setattr("playhead.engine.execution.slots.ASK_AGAIN_S", 1e6)
    tag, name = a_tag(service, 1), a_name(service, 1)

    @task(tags=None if stretch else {tag})
    def load() -> None:
        with concurrency(name):
            raise AssertionError("it ran")

    @flow
    def etl() -> None:
        waiting = load.submit()
        assert heard.waiting.wait(60)
        run_id = service.flow_runs("etl")[-1].spec.id
        service.client.unary(CANCEL_FLOW_RUN, v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run_id))
        waiting.wait()

    holder = v1.TaskRunSpec(id=new_id(), task_key="holder", tags=[tag], slots={name: 1})
    request = v1.ProposeStateRequest(request_id=new_id(), create_task_run=holder, state=v1.State(type=v1.RUNNING))
    assert service.client.unary(PROPOSE_STATE, request).decision == v1.ACCEPT
    assert etl(return_state=True).name == "Cancelled"


def test_a_flow_run_that_is_cancelled_in_line_ends_and_never_runs(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playhead.engine.execution.proposals.ASK_AGAIN_S", 1e6)
    name, ran = a_name(service, 1), []

    @flow
    def etl() -> None:
        ran.append(1)

    with concurrency(name), ThreadPoolExecutor(1) as elsewhere:
        flow_id = service.client.unary(
            REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="etl")
        ).flow.id
        spec = v1.FlowRunSpec(id=new_id(), flow_id=flow_id, name="in-line", slots={name: 1})
        spec.state.type = v1.PENDING
        service.client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
        call = FlowCall(etl, {}, service.client, existing=flow_run_of(service.flow_run(spec.id)))
        ended = elsewhere.submit(drive_sync, flow_loop(call), service.client)
        while not users(service, f"name:{name}", waiting=True):
            assert not ended.done()
        cancel = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=spec.id)
        assert service.client.unary(CANCEL_FLOW_RUN, cancel).state.name == "Cancelled"
        with pytest.raises(Abort, match="Cancelled"):
            ended.result(60)
    assert (ran, service.flow_run(spec.id).status.state.name) == ([], "Cancelled")


def test_a_stretch_of_code_holds_slots_of_a_named_limit(service: Service) -> None:
    together, name = Together(), a_name(service, 3)

    @task
    def load(number: int) -> int:
        with concurrency(name), together:
            return number

    @flow
    def etl() -> list[int]:
        with concurrency([name], occupy=2):
            assert users(service, f"name:{name}") == 1
        return [future.result() for future in load.map(range(20))]

    assert etl() == list(range(20))
    assert 1 <= together.most <= 3
    assert users(service, f"name:{name}") == 0


def test_a_stretch_of_async_code_holds_slots_too(service: Service) -> None:
    together, name = Together(), a_name(service, 2)

    @task
    async def load(number: int) -> int:
        async with concurrency_async(name):
            with together:
                await asyncio.sleep(0)
                return number

    @flow
    async def etl() -> list[int]:
        return list(await asyncio.gather(*(load(number) for number in range(10))))

    assert asyncio.run(etl()) == list(range(10))
    assert together.most <= 2


def test_a_stretch_can_be_held_outside_of_runs_and_within_limits_that_are_not_set(service: Service) -> None:
    name = a_name(service, 1)
    with concurrency(name):
        assert users(service, f"name:{name}") == 1
    assert users(service, f"name:{name}") == 0
    with concurrency(f"nobody {new_id()}"), concurrency([]):
        pass


def test_a_name_that_has_no_limit_is_told_once_with_the_command_that_sets_one(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    name, limited = f"nobody {new_id()}", a_name(service, 1)

    @flow
    def unlimited() -> None:
        for _ in range(3):
            with concurrency([name, limited]):
                pass

    unlimited()
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage() == (
        f"There is no limit {name!r}, so that nothing is held back. To set one: "
        f"playhead concurrency-limit set 'name:{name}' SLOTS"
    )
    assert warning.__dict__["flow_run_id"]


def test_who_waits_too_long_gives_up_its_place(service: Service) -> None:
    name = a_name(service, 1)
    with concurrency(name):
        with pytest.raises(AcquireConcurrencySlotTimeoutError, match=r"within 0\.01 s"), concurrency(name, 1, 0.01):
            pass
        assert users(service, f"name:{name}", waiting=True) == 0
    with concurrency(name, timeout_seconds=0):
        pass


def test_slots_that_are_not_to_be_had_are_an_error_that_says_why(service: Service) -> None:
    closed, small = a_name(service, 0), a_name(service, 1, v1.CANCEL_NEW)
    with pytest.raises(ConcurrencySlotAcquisitionError, match="has 0 slots"), concurrency(closed):
        pass
    with pytest.raises(ConcurrencySlotAcquisitionError, match="it would never run"), concurrency(small, occupy=2):
        pass
    with concurrency(small), pytest.raises(ConcurrencySlotAcquisitionError, match="No free slot"), concurrency(small):
        pass
    with pytest.raises(ConcurrencySlotAcquisitionError, match="concurrency-limit set"), concurrency("no", strict=True):
        pass


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("name:licence", 'is to be the name by itself: leave "name:" out'),
        ("tag:db", "names no limit by name: a run takes slots of its tags and its deployment unasked"),
    ],
)
def test_a_name_that_no_limit_has_is_told_with_what_is_wrong(service: Service, name: str, why: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(f"slots[{name!r}]: {why}")), concurrency(name):
        pytest.fail("nothing holds it")


def test_a_task_run_says_once_for_what_it_waits_and_when_it_has_it(service: Service, heard: Heard) -> None:
    name, tag, holds = a_name(service, 1), a_tag(service, 1), threading.Event()

    @task(tags={tag}, task_run_name="first")
    def first() -> None:
        holds.set()
        assert heard.waiting.wait(60)

    @task(tags={tag}, task_run_name="second")
    def second() -> None:
        with concurrency(name):
            pass

    @flow
    def etl() -> None:
        running = first.submit()
        assert holds.wait(60)
        second.submit().result()
        running.result()

    etl()
    assert heard.of_slots() == [
        ("second", f"No free slot: tag:{tag} has 1, 1 held; in line before this run: 0. Waiting in line."),
        ("second", "Got its slots, and goes on."),
    ]


def test_a_stretch_of_code_says_in_its_runs_log_that_it_waits(service: Service, heard: Heard) -> None:
    name = a_name(service, 1)

    @task(task_run_name="second")
    def second() -> None:
        with concurrency(name):
            pass

    @flow
    def etl() -> None:
        with concurrency(name):
            future = second.submit()
            assert heard.waiting.wait(60)
        future.result()

    etl()
    assert [who for who, _ in heard.of_slots()] == ["second", "second"]


def test_outside_of_runs_the_wait_is_told_too(service: Service, heard: Heard) -> None:
    name = a_name(service, 1)
    with concurrency(name), pytest.raises(AcquireConcurrencySlotTimeoutError), concurrency(name, 1, 0.01):
        pass
    ((who, said),) = heard.of_slots()
    assert who == "playhead.concurrency"
    assert f"name:{name} has 1" in said
