"""Light futures: what the standard library's do, for those who ask for it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import FIRST_COMPLETED, InvalidStateError, ThreadPoolExecutor, as_completed, wait
from typing import Any

import pytest

from playhead.light_futures import LightFuture


def test_a_result_or_an_error_comes_once() -> None:
    came, failed = LightFuture[int](), LightFuture[int]()
    assert not came.done()
    with pytest.raises(TimeoutError):
        came.result(0)
    with pytest.raises(TimeoutError):
        came.exception(0)
    came.set_result(5)
    failed.set_exception(ValueError("bad"))
    assert (came.done(), came.result(), came.exception()) == (True, 5, None)
    with pytest.raises(ValueError, match="bad"):
        failed.result()
    assert str(failed.exception()) == "bad"
    with pytest.raises(InvalidStateError):
        came.set_result(6)
    with pytest.raises(InvalidStateError):
        failed.set_result(6)
    assert came.result() == 5


def test_callbacks_are_called_in_order_and_one_that_fails_keeps_no_other_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    future, called = LightFuture[int](), list[Any]()

    def fails(_: object) -> None:
        called.append("fails")
        raise ValueError("of the callback")

    future.add_done_callback(called.append)
    future.add_done_callback(fails)
    future.add_done_callback(lambda done: called.append(done.result()))
    with caplog.at_level(logging.ERROR, "playhead"):
        future.set_result(5)
    assert called == [future, "fails", 5]
    assert "of the callback" in caplog.text
    future.add_done_callback(called.append)
    assert called[-1] is future


def test_many_threads_wait_for_what_another_brings() -> None:
    futures = [LightFuture[int]() for _ in range(100)]
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(future.result, 60) for future in futures[:7]]
        for number, future in enumerate(futures):
            future.set_result(number)
        assert [each.result(60) for each in waiting] == list(range(7))


def test_the_standard_library_waits_for_them() -> None:
    before, after = LightFuture[int](), LightFuture[int]()
    before.set_result(1)
    done, others = wait([before.standard(), after.standard()], 60, FIRST_COMPLETED)
    assert (done, others) == ({before.standard()}, {after.standard()})
    after.set_exception(ValueError("bad"))
    assert {type(each.exception()) for each in as_completed([before.standard(), after.standard()], 60)} == {
        type(None),
        ValueError,
    }


def test_of_two_who_await_it_one_can_be_cancelled() -> None:
    async def waiting() -> int:
        future = LightFuture[int]()
        first, second = (asyncio.ensure_future(future) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        future.set_result(5)
        return await second

    assert asyncio.run(waiting()) == 5
