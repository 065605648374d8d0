"""Receiving inputs: an iterator over them, which also reads into the one it received last."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Protocol, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from playhead import v1
from playhead.context import FlowRunContext
from playhead.engine.execution.connection import client_here
from playhead.engine.execution.drivers import drive, drive_async, drive_sync, in_async_code
from playhead.engine.execution.effects import AwaitInputs, Loop
from playhead.engine.execution.run_inputs import this_flow_run
from playhead.input.records import FlowRunInput

T = TypeVar("T")

_NOTHING: Any = object()


class Loads(Protocol):
    """What makes instances of inputs: a subclass of `RunInput`."""

    def load_from_flow_run_input(self, flow_run_input: FlowRunInput) -> Any:
        """The instance of an input. Raises pydantic's ValidationError when it does not fit."""


class GetInputHandler(Generic[T]):
    """The inputs of one kind that a flow run receives, in the order in which they were sent, each once.

    Iterate over it, `for` or `async for`: it waits for each input `timeout` seconds (None: for ever), then ends, or
    with `raise_timeout_error` raises TimeoutError. `next()` and `anext()` give one input and always raise it.
    `exclude_keys` are those not to be received; those that were are among them. An input that does not fit the type
    raises pydantic's ValidationError, and counts as received.

    `get(key, default)`, `[key]` and `keys()` read into the input that was received last, a dictionary or a model; when
    there is none yet, they wait for the first.
    """

    def __init__(
        self,
        run_input_cls: Loads,
        key_prefix: str,
        timeout: float | None = 3600,
        poll_interval: float = 10,
        raise_timeout_error: bool = False,
        exclude_keys: Iterable[str] | None = None,
        flow_run_id: UUID | str | None = None,
        with_metadata: bool = False,
    ) -> None:
        self.run_input_cls = run_input_cls
        self.key_prefix = key_prefix
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.raise_timeout_error = raise_timeout_error
        self.exclude_keys = set(exclude_keys or ())
        self.flow_run_id = UUID(this_flow_run(flow_run_id))
        self.with_metadata = with_metadata
        self._excluded = sorted(self.exclude_keys)
        self._come: deque[v1.RunInput] = deque()
        self._revision = 0
        self._last: Any = _NOTHING

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return drive_sync(self._next(), client_here())
        except TimeoutError:
            if self.raise_timeout_error:
                raise
            raise StopIteration from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.anext()
        except TimeoutError:
            if self.raise_timeout_error:
                raise
            raise StopAsyncIteration from None

    def next(self) -> Any:
        """The next input. Raises TimeoutError."""
        return drive(self._next(), client_here())

    async def anext(self) -> T:
        """As `next`."""
        return await drive_async(self._next(), client_here())

    def get(self, key: str, default: Any = None) -> Any:
        """What stands under a key in the input that was received last, else `default`, also when time is over.

        With `raise_timeout_error` that raises TimeoutError.
        """
        return drive(self._get(key, default), client_here())

    def keys(self) -> Any:
        """The keys of the input that was received last; none when time is over. Raises as `get` does."""
        return drive(self._keys(), client_here())

    def __getitem__(self, key: str) -> Any:
        """What stands under a key in the input that was received last.

        Raises KeyError, and TimeoutError when none came in time; in async code, RuntimeError when none was received.
        """
        if self._last is _NOTHING and in_async_code():
            raise RuntimeError("No input was received yet: receive one first, with `await handler.anext()`.")
        return _items(drive_sync(self._current(), client_here()))[key]

    def to_instance(self, flow_run_input: FlowRunInput) -> T:
        """What an input is for the receiver."""
        try:
            loaded: Any = self.run_input_cls.load_from_flow_run_input(flow_run_input)
        except ValidationError as error:
            error.add_note(f"This is the input {flow_run_input.key!r} of flow run {self.flow_run_id}.")
            raise
        self._last = loaded._plain()
        instance: T = loaded if self.with_metadata else self._last
        return instance

    def _next(self) -> Loop[T]:
        end = None if self.timeout is None else time.monotonic() + self.timeout
        while True:
            while self._come:
                received = self._come.popleft()
                if received.key not in self.exclude_keys:
                    self.exclude_keys.add(received.key)
                    return self.to_instance(FlowRunInput.of(received))
            left_s = None if end is None else max(end - time.monotonic(), 0.0)
            yield from self._receive(left_s)

    def _receive(self, seconds: float | None) -> Loop[None]:
        request = v1.ReceiveInputsRequest(
            flow_run_id=str(self.flow_run_id),
            key_prefix=self.key_prefix,
            exclude_keys=self._excluded,
            after_revision=self._revision,
        )
        here = FlowRunContext.get()
        ended_by = here.progress.ends if here is not None and here.progress is not None else None
        response: v1.ReceiveInputsResponse | None = yield AwaitInputs(request, seconds, ended_by)
        if response is None:
            raise TimeoutError(f"No input was received within {self.timeout:g} seconds.")
        self._revision = response.meta.revision
        self._come.extend(response.inputs)

    def _current(self) -> Loop[Any]:
        if self._last is _NOTHING:
            yield from self._next()
        return self._last

    def _get(self, key: str, default: Any) -> Loop[Any]:
        try:
            current = yield from self._current()
        except TimeoutError:
            if self.raise_timeout_error:
                raise
            return default
        return _items(current).get(key, default)

    def _keys(self) -> Loop[set[str]]:
        try:
            current = yield from self._current()
        except TimeoutError:
            if self.raise_timeout_error:
                raise
            return set()
        return set(_items(current))


def _items(received: Any) -> Mapping[str, Any]:
    """What can be read from an input by key."""
    if isinstance(received, BaseModel):
        return {name: getattr(received, name) for name in type(received).model_fields}
    if not isinstance(received, Mapping):
        raise TypeError(f"Keys are of dictionaries and models; the input is of type {type(received).__name__!r}.")
    return received
