"""Drivers: what performs the effects of an orchestration loop, one after the other.

`drive_sync` works in the caller's thread, `drive_async` in the caller's event loop. Neither starts a thread or a loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import AsyncGenerator, Coroutine
from types import GeneratorType
from typing import Any, TypeVar

from playhead import futures
from playhead.client.interface import Client
from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution.effects import (
    Ask,
    AwaitInputs,
    AwaitLock,
    AwaitState,
    AwaitTurn,
    CallUser,
    Effect,
    Loop,
    Sleep,
    WaitFor,
)
from playhead.engine.execution.timeouts import time_limit, time_limit_async
from playhead.engine.execution.turns import turn_of
from playhead.engine.execution.watching import inputs_wanted, state_wanted
from playhead.exceptions import PlayheadError

Result = TypeVar("Result")


def drive_sync(loop: Loop[Result], client: Client) -> Result:
    """Run a loop to its end in this thread. Raises what the loop raises."""
    try:
        effect = loop.send(None)
        while True:
            try:
                outcome = call_user(effect) if type(effect) is CallUser else perform(effect, client)
            except BaseException as error:
                effect = loop.throw(error)
            else:
                effect = loop.send(outcome)
    except StopIteration as end:
        result: Result = end.value
        return result
    except PlayheadError as error:
        # The service's: the way it took through the loop tells a caller nothing.
        raise error.with_traceback(None) from error.__cause__


async def drive_async(loop: Loop[Result], client: Client) -> Result:
    """Run a loop to its end in this event loop. Raises what the loop raises."""
    try:
        effect = loop.send(None)
        while True:
            try:
                outcome = await perform_async(effect, client)
            except BaseException as error:
                effect = loop.throw(error)
            else:
                effect = loop.send(outcome)
    except StopIteration as end:
        result: Result = end.value
        return result
    except PlayheadError as error:
        # The service's: the way it took through the loop tells a caller nothing.
        raise error.with_traceback(None) from error.__cause__


def perform(effect: Effect, client: Client) -> Any:
    """Perform one effect, blocking this thread."""
    if type(effect) is Ask:
        return client.unary(effect.method, effect.request, timeout_s=effect.timeout_s)
    if type(effect) is CallUser:
        return call_user(effect)
    if type(effect) is Sleep:
        return time.sleep(effect.seconds)
    if type(effect) is AwaitTurn:
        return turn_of(client, effect.run_id, effect.after, effect.seconds, effect.flow_run_id).result()
    if type(effect) is AwaitState:
        return state_wanted(client, effect.flow_run_id, effect.wanted, effect.seconds).result()
    if type(effect) is AwaitLock:
        return effect.locks.acquire_lock(effect.key, effect.holder)
    if type(effect) is AwaitInputs:
        with futures.away():
            return inputs_wanted(client, effect.request, effect.seconds, effect.ended_by).result()
    assert isinstance(effect, WaitFor)
    futures.wait(effect.futures)
    return None


async def perform_async(effect: Effect, client: Client) -> Any:
    """Perform one effect; other tasks of the event loop go on meanwhile.

    A shielded request is the exception: it blocks the event loop until it is answered, so that nothing can cancel it.
    """
    if type(effect) is Ask:
        if effect.shielded:
            return client.unary(effect.method, effect.request, timeout_s=effect.timeout_s)
        answer = client.submit(effect.method, effect.request, timeout_s=effect.timeout_s)
        return await answer
    if type(effect) is CallUser:
        return await call_user_async(effect)
    if type(effect) is Sleep:
        return await asyncio.sleep(effect.seconds)
    if type(effect) is AwaitTurn:
        return await asyncio.wrap_future(
            turn_of(client, effect.run_id, effect.after, effect.seconds, effect.flow_run_id)
        )
    if type(effect) is AwaitState:
        return await asyncio.wrap_future(state_wanted(client, effect.flow_run_id, effect.wanted, effect.seconds))
    if type(effect) is AwaitLock:
        return await effect.locks.aacquire_lock(effect.key, effect.holder)
    if type(effect) is AwaitInputs:
        return await asyncio.wrap_future(inputs_wanted(client, effect.request, effect.seconds, effect.ended_by))
    assert isinstance(effect, WaitFor)
    await asyncio.wait([asyncio.wrap_future(future._final.standard()) for future in effect.futures])
    return None


def drive(loop: Loop[Result], client: Client) -> Result | Coroutine[Any, Any, Result]:
    """Run a loop to its end the way the calling code is written: in async code, awaited.

    Code is async when an event loop runs it and, in a run, the run's function is async: a sync function that an event
    loop has called can not await.
    """
    return drive_async(loop, client) if in_async_code() else drive_sync(loop, client)


def in_async_code() -> bool:
    """Whether the code that asks can await, as `drive` understands it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    if (task_run := TaskRunContext.get()) is not None:
        return bool(task_run.task.isasync)
    flow_run = FlowRunContext.get()
    return flow_run is None or bool(flow_run.flow.isasync)


def call_user(effect: CallUser) -> Any:
    """Call the user's function in this thread. A coroutine function gets an event loop of its own.

    What a generator yields is collected in a list.
    """
    if effect.timeout_s is None:
        return _finished(effect.function(*effect.args, **effect.kwargs))
    if inspect.iscoroutinefunction(effect.function) or inspect.isasyncgenfunction(effect.function):
        return run_coroutine(call_user_async(effect))
    with time_limit(effect.timeout_s, effect):
        outcome = effect.function(*effect.args, **effect.kwargs)
        if isinstance(outcome, GeneratorType):
            return list(outcome)
    return _finished(outcome)


def _finished(outcome: Any) -> Any:
    if inspect.iscoroutine(outcome):
        return run_coroutine(outcome)
    if isinstance(outcome, GeneratorType):
        return list(outcome)
    return run_coroutine(_collected(outcome)) if inspect.isasyncgen(outcome) else outcome


async def _collected(values: AsyncGenerator[Any, Any]) -> list[Any]:
    return [value async for value in values]


def run_coroutine(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end from code that can not await.

    In a thread of its own where an event loop is running.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    box: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            box.append(asyncio.run(coroutine))
        except BaseException as error:  # handed to the thread that asked
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="playhead-coroutine")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return box[0]


async def call_user_async(effect: CallUser) -> Any:
    """Call the user's function in this event loop. What a generator yields is collected in a list."""
    async with time_limit_async(effect.timeout_s, effect):
        outcome = effect.function(*effect.args, **effect.kwargs)
        if inspect.isasyncgen(outcome):
            return await _collected(outcome)
        if isinstance(outcome, GeneratorType):
            return list(outcome)
        return await outcome if inspect.isawaitable(outcome) else outcome
