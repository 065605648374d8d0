"""Commands at the edge: handed to the writer as they came, answered as it answers.

The path of a proposal through here is the hot one: the edge does not even read its request. A call that its client
gives up is cancelled here, but its command goes on and is recorded; the same request id finds what came of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, cast

import grpc

from playhead import v1
from playhead.exceptions import PlayheadError, QueueFull, ShuttingDown
from playhead.grpc_server.batches import answered_in_order, refused
from playhead.grpc_server.caller import caller_of
from playhead.grpc_server.frames import HEAD, RESPONSE, Frames, packed, packed_caller
from playhead.grpc_server.status import refuse, refuse_with
from playhead.grpc_server.streams import until
from playhead.grpc_server.writing import COMMANDS, OPEN, RECEIVED_BYTES_MAX
from playhead.journal.errors import JournalUnavailable
from playhead.journal.hub import Hub
from playhead.journal.record import Caller

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    Context = ServicerContext[Any, Any]

WAITING_MAX = 4_096
"""Commands, or batches of a stream, that may wait for their answer; one more is refused with QueueFull."""


class Refused(Exception):
    """The writer's answer is a google.rpc.Status: these bytes."""

    def __init__(self, status: bytes) -> None:
        self.status = status


class Commands(asyncio.BufferedProtocol):
    """The edge's end of its connection to the writer.

    One batch is with the writer at a time; what comes meanwhile makes the next one. `hub` is told how far the journal
    has got. `stopping` ends the streams, and is set when the writer has ended by itself: see `lost`. While a command
    that is alone is with the writer, the loop stays awake, `awake_s` at most.
    """

    def __init__(self, hub: Hub, stopping: asyncio.Event, awake_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._hub = hub
        self._stopping = stopping
        self._awake_s = awake_s
        self._awake_until = 0.0
        self._is_awake = False
        self._frames = Frames()
        self._received = bytearray(RECEIVED_BYTES_MAX)
        self._transport: asyncio.Transport
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0
        self._gathered: list[bytes] = []
        self._with_writer = 0
        self._refusal: Callable[[], PlayheadError] | None = None
        self._refused = 0
        self._answered: asyncio.Future[None] | None = None  # all of them, once there will be no more
        self._ready: asyncio.Future[None] = self._loop.create_future()

    async def open(self, connection: socket.socket) -> None:
        """Let the writer at the other end open its database. Raises JournalUnavailable when it could not."""
        await self._loop.create_connection(lambda: self, sock=connection)
        self._transport.write(OPEN)
        await self._ready

    def close(self) -> None:
        """Let the writer end."""
        self._transport.close()

    def ask(self, command: int, request: bytes, caller: Caller) -> asyncio.Future[bytes]:
        """Hand a command over; the future has the bytes of its response, or Refused. `command` counts in COMMANDS."""
        if self._refusal is not None:
            self._refused += 1
            raise self._refusal()
        if len(self._asked) >= WAITING_MAX:
            raise QueueFull(
                f"{WAITING_MAX} requests wait for the writer: back off, send the same request again.", limit=WAITING_MAX
            )
        self._number = number = self._number % 0xFFFF_FFFF + 1
        answer = self._asked[number] = self._loop.create_future()
        self._gathered.append(packed(number, command, request, packed_caller(caller)))
        if not self._with_writer:
            self._hand_over()
            if self._awake_s:
                self._awake_until = self._loop.time() + self._awake_s
                if not self._is_awake:
                    self._stay_awake()
        return answer

    async def drain(self) -> None:
        """Refuse further commands, wait for the answers to those that were handed over, let the writer end."""
        self._refusal = self._refusal or _stopping
        if self._asked:
            self._answered = self._loop.create_future()
            await self._answered
        self.close()

    async def all_arrived(self, between_s: float, within_s: float) -> None:
        """Return once no command has come, to be refused, for `between_s`, or after `within_s`."""
        end, seen = self._loop.time() + within_s, -1
        while seen != self._refused and self._loop.time() < end:
            seen = self._refused
            await asyncio.sleep(between_s)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """What answers the methods that are commands."""
        by_service: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        for place, command in enumerate(COMMANDS):
            handler = self._stream(place) if command.is_stream else self._unary(place)
            by_service.setdefault(command.service, {})[command.method] = handler
        return tuple(grpc.method_handlers_generic_handler(*service) for service in by_service.items())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where to put what comes: always in the same place, which the system need not find each time."""
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        """Answers, and word of the journal's head."""
        for number, what, _, body in self._frames.of(self._received[:nbytes]):
            if what == HEAD:
                self._hub.publish(int.from_bytes(body, "little"))
                if not self._ready.done():
                    self._ready.set_result(None)
                continue
            self._with_writer -= 1
            answer = self._asked.pop(number)
            if not answer.done():  # its call was given up
                if what == RESPONSE:
                    answer.set_result(body)
                else:
                    answer.set_exception(Refused(body))
        if not self._with_writer and self._gathered:
            self._hand_over()
        self._check_answered()

    def connection_lost(self, error: Exception | None) -> None:
        """The writer has ended: by itself, unless it was let go."""
        if self._refusal is _stopping and not self._asked:
            return
        self._refusal = _lost
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._asked.values()]
        self._asked.clear()
        for answer in waiting:
            if not answer.done():
                answer.set_exception(_lost())
        self._check_answered()
        self._stopping.set()

    @property
    def lost(self) -> PlayheadError | None:
        """Why no command can be performed any more; None while they can, or when the server was told to stop."""
        return _lost() if self._refusal is _lost else None

    def _check_answered(self) -> None:
        if self._answered is not None and not self._asked and not self._answered.done():
            self._answered.set_result(None)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._with_writer += len(gathered)
        self._transport.write(b"".join(gathered))

    def _stay_awake(self) -> None:
        self._is_awake = bool(self._with_writer) and self._loop.time() < self._awake_until
        if self._is_awake:
            os.sched_yield()  # whoever has something to do goes first
            self._loop.call_soon(self._stay_awake)

    def _unary(self, place: int) -> grpc.RpcMethodHandler[Any, Any]:
        async def command(request: bytes, context: Context) -> bytes:
            try:
                return await self.ask(place, request, caller_of(context))
            except Refused as answer:
                await refuse_with(context, answer.status)
            except Exception as error:
                await refuse(context, error)

        return grpc.unary_unary_rpc_method_handler(command)

    def _stream(self, place: int) -> grpc.RpcMethodHandler[Any, Any]:
        async def commands(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            caller = caller_of(context)

            def submit(batch: bytes) -> asyncio.Future[bytes]:
                try:
                    return self.ask(place, batch, caller)
                except QueueFull as error:
                    # Its items are refused, the stream goes on.
                    answer: asyncio.Future[bytes] = self._loop.create_future()
                    answer.set_result(refused(v1.ProposeStatesRequest.FromString(batch), error).SerializeToString())
                    return answer

            try:
                async for answers in answered_in_order(until(self._stopping, requests), submit):
                    yield answers
            except Refused as answer:
                await refuse_with(context, answer.status)
            except Exception as error:
                await refuse(context, error)

        return grpc.stream_stream_rpc_method_handler(commands)


def _stopping() -> PlayheadError:
    return ShuttingDown("The server is shutting down: send the same request elsewhere or later.")


def _lost() -> PlayheadError:
    return JournalUnavailable(
        "The writer's process has ended. What was answered is on disk; what was not, send again with the same request "
        "id once the server runs again."
    )
