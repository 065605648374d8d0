"""Drivers for runs of generator functions: who called gets what the function yields, when it yields it.

    next()    the loop goes on until the function yields, or until the run has ended
    close()   the function is closed, and its run completes

Between two values the caller's own code runs, which is no part of this run: the run's context variables hold inside the
function only, and a time limit counts the time spent there. What was yielded is not kept: a run that is executed again
yields it again.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any

from playhead.client.interface import Client
from playhead.engine.execution.drivers import perform, perform_async
from playhead.engine.execution.effects import CallUser, Effect, Loop
from playhead.engine.execution.timeouts import time_limit, time_limit_async
from playhead.states import State, Unstored

Seen = Callable[[Any], None]
End = Callable[[State[Any]], Any]


class _Run:
    """A run of a generator function: its loop, and the context variables that hold in it."""

    def __init__(self, loop: Loop[State[Any]]) -> None:
        self.loop = loop
        self.context = copy_context()
        self.closed = False

    def advance(self, outcome: Any = None, error: BaseException | None = None) -> Effect:
        """What the loop wants next. Raises StopIteration, whose value is the final state, when it wants no more."""
        if error is None:
            return self.context.run(self.loop.send, outcome)
        return self.context.run(self.loop.throw, error)

    @contextmanager
    def variables(self) -> Iterator[None]:
        """The run's context variables hold inside; as the function leaves them, they hold the next time."""
        tokens = [(variable, variable.set(value)) for variable, value in self.context.items()]
        try:
            yield
        finally:
            for variable, token in tokens:
                self.context.run(variable.set, variable.get())
                variable.reset(token)


def drive_generator(loop: Loop[State[Any]], client: Client, seen: Seen, end: End) -> Generator[Any, Any, Any]:
    """Run a loop whose function is a generator function, in the thread that iterates.

    `seen` is told each value, `end` the final state: what it gives is returned, what it raises is raised.
    """
    run = _Run(loop)
    try:
        effect = run.advance()
        while True:
            try:
                if isinstance(effect, CallUser) and inspect.isgeneratorfunction(effect.function):
                    function = effect.function(*effect.args, **effect.kwargs)
                    step, left_s = partial(function.send, None), effect.timeout_s
                    outcome: Any = Unstored(None)
                    while not run.closed:
                        begun = time.monotonic()
                        try:
                            with run.variables(), time_limit(left_s, effect):
                                value = step()
                        except StopIteration as returned:
                            outcome = Unstored(returned.value)
                            break
                        left_s = _left(left_s, begun)
                        seen(value)
                        try:
                            step = partial(function.send, (yield value))
                        except GeneratorExit:
                            run.closed = True
                            with run.variables():
                                function.close()
                        except BaseException as error:  # what the caller throws in
                            step = partial(function.throw, error)
                else:
                    with run.variables():
                        outcome = perform(effect, client)
            except BaseException as error:
                effect = run.advance(error=error)
            else:
                effect = run.advance(outcome)
    except StopIteration as ended:
        return end(ended.value)


async def drive_async_generator(
    loop: Loop[State[Any]], client: Client, seen: Seen, end: End
) -> AsyncGenerator[Any, Any]:
    """Run a loop whose function is an async generator function, in the event loop that iterates.

    `seen` is told each value, `end` the final state: what it raises is raised.
    """
    run = _Run(loop)
    try:
        effect = run.advance()
        while True:
            try:
                if isinstance(effect, CallUser) and inspect.isasyncgenfunction(effect.function):
                    function = effect.function(*effect.args, **effect.kwargs)
                    step, left_s = partial(function.asend, None), effect.timeout_s
                    while not run.closed:
                        begun = time.monotonic()
                        try:
                            with run.variables():
                                async with time_limit_async(left_s, effect):
                                    value = await step()
                        except StopAsyncIteration:
                            break
                        left_s = _left(left_s, begun)
                        seen(value)
                        try:
                            step = partial(function.asend, (yield value))
                        except GeneratorExit:
                            run.closed = True
                            with run.variables():
                                await function.aclose()
                        except BaseException as error:  # what the caller throws in
                            step = partial(function.athrow, error)
                    outcome: Any = Unstored(None)
                else:
                    with run.variables():
                        outcome = await perform_async(effect, client)
            except BaseException as error:
                effect = run.advance(error=error)
            else:
                effect = run.advance(outcome)
    except StopIteration as ended:
        end(ended.value)


def _left(limit_s: float | None, begun: float) -> float | None:
    """What is left of a time limit; next to nothing rather than nothing."""
    return None if limit_s is None else max(limit_s - (time.monotonic() - begun), 1e-6)
