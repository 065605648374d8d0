"""Flows and tasks under concurrency limits, on every kind of client."""

from __future__ import annotations

import asyncio
import threading

import pytest

from playhead import flow, task, v1
from playhead.client.interface import LIST_SLOT_USERS, SET_CONCURRENCY_LIMIT
from playhead.engine.execution.ids import new_id
from playhead.engine.signals import Abort
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


def a_tag(service: Service, slots: int) -> str:
    """A new tag, with a limit."""
    tag = f"db {new_id()}"
    request = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit=f"tag:{tag}", slots=slots)
    service.client.unary(SET_CONCURRENCY_LIMIT, request)
    return tag


def users(service: Service, tag: str, waiting: bool) -> int:
    """How many hold slots of a tag, or wait for them."""
    return len(
        service.client.unary(LIST_SLOT_USERS, v1.ListSlotUsersRequest(limit=f"tag:{tag}", waiting=waiting)).users
    )


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
    assert users(service, tag, waiting=False) == users(service, tag, waiting=True) == 0


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


def test_a_task_under_a_limit_of_zero_is_stopped(service: Service) -> None:
    tag = a_tag(service, 0)

    @task(tags={tag})
    def load() -> None:
        raise AssertionError("it ran")

    @flow
    def etl() -> None:
        load()

    with pytest.raises(Abort, match="has 0 slots"):
        etl()
