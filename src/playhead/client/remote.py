"""The client of a server, over gRPC.

Importing this module loads gRPC; `playhead.client.connect` does so only when an address is given.

Repeating. Every call waits for a connection, and is sent again as `playhead.client.repeating` says; one deadline covers
all attempts. gRPC would repeat calls too, but five times at most, however soon a server answers that its database is
away, and a stream that it repeats may hang for good, past its deadline (as in grpc/grpc#41036). Until a server has
answered for the first time, the log tells of its silence.

Forking. A channel does not survive a fork, so a forked child opens its own on its first call. gRPC asks that no call is
running in another thread at the moment of the fork; start worker processes with "spawn" where that can not be promised.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Generator
from functools import partial
from typing import Any, cast
from urllib.parse import quote

import grpc

from playhead.addresses import target_of
from playhead.client.errors import error_of_call
from playhead.client.identity import this_process, this_software, this_trace
from playhead.client.interface import Request, Response, Streaming, Unary
from playhead.client.repeating import TIMEOUT_S, Repeating
from playhead.exceptions import BadRequest, PlayheadError, ShuttingDown
from playhead.light_futures import LightFuture

SILENCE_S = 1.0
"""How long the first answer may take before the log says that there is none."""

RECEIVED_BYTES_MAX = 128 * 1024 * 1024  # a page of 1,000 states with the largest inline results, and room

_OPTIONS = [
    ("grpc.max_receive_message_length", RECEIVED_BYTES_MAX),
    # A server that restarts is found again within a second, not after the default's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A peer that vanished without a word is noticed while a call waits for it.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),  # proxies of the environment are for the web, not for this service
    ("grpc.primary_user_agent", this_software()),
]

logger = logging.getLogger("playhead.client")


class RemoteClient:
    """Talks to the server at `api_url`: "grpc://host:port", or "unix:/path" for a socket on this machine.

    `timeout_s` bounds each call with all its attempts. `actor` is who the journal shall note as asking, beside what the
    server itself sees of the peer; default: this user, host and process. Connects when first used. Safe to use from
    many threads. Raises BadRequest for an address of another form.
    """

    def __init__(self, api_url: str, *, timeout_s: float = TIMEOUT_S, actor: str | None = None) -> None:
        self.api_url = api_url
        self._target = _target(api_url)
        self._repeating = Repeating(timeout_s)
        self._actor = actor
        self._open()

    def unary(self, method: Unary[Request, Response], request: Request, *, timeout_s: float | None = None) -> Response:
        """Call and wait for the answer, `timeout_s` seconds at most (default: the client's)."""
        self._mind_silence(self._repeating.timeout_s if timeout_s is None else timeout_s)
        try:
            return self._repeating.call(lambda left_s: self._unary_once(method, request, left_s), timeout_s)
        finally:
            self._end_silence()

    def submit(
        self, method: Unary[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> LightFuture[Response]:
        """Call without waiting."""
        self._mind_silence(self._repeating.timeout_s if timeout_s is None else timeout_s)
        answer = self._repeating.submit(partial(self._submit_once, method, request), timeout_s)
        answer.add_done_callback(lambda _: self._end_silence())
        return answer

    def stream(
        self, method: Streaming[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> Generator[Response, None, None]:
        """Call, at the first step of the iterator, and iterate over the answers; `.close()` ends the call.

        There is no deadline unless `timeout_s` is given. An attempt that fails before the first answer is repeated, for
        the client's `timeout_s` at most; later errors are raised, and the caller resumes from the last revision it saw.
        """
        return self._repeating.stream(lambda left_s: self._stream_once(method, request, left_s), timeout_s)

    def close(self) -> None:
        """Close the connection; calls that are running fail, and later ones raise ShuttingDown. Safe to call twice."""
        self._repeating.closed = True
        self._channel.close()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._alarm: threading.Timer | None = None
        self._metadata = (("playhead-actor", quote(self._actor or this_process(), safe="@ ")),)
        self._channel = grpc.insecure_channel(self._target, options=_OPTIONS)
        self._callables: dict[tuple[str, str], Any] = {}

    def _mind_silence(self, timeout_s: float) -> None:
        """With the first call: say in the log, before long, that it was not answered yet."""
        if self._alarm is not None:
            return
        with self._lock:
            if self._alarm is None:
                told = "No answer from a server at %s yet, trying again for %g s."
                self._alarm = threading.Timer(SILENCE_S, logger.warning, (told, self.api_url, timeout_s))
                self._alarm.daemon = True
                self._alarm.start()

    def _end_silence(self) -> None:
        """A call has its answer, or its error."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _said(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call: who asks, and the trace it is part of."""
        traceparent = this_trace()
        return (*self._metadata, ("traceparent", traceparent)) if traceparent else self._metadata

    def _unary(self, method: Unary[Request, Response]) -> grpc.UnaryUnaryMultiCallable[Request, Response]:
        return cast("grpc.UnaryUnaryMultiCallable[Request, Response]", self._callable(method))

    def _streaming(self, method: Streaming[Request, Response]) -> grpc.UnaryStreamMultiCallable[Request, Response]:
        return cast("grpc.UnaryStreamMultiCallable[Request, Response]", self._callable(method))

    def _callable(self, method: Unary[Any, Any] | Streaming[Any, Any]) -> Any:
        if self._repeating.closed:
            raise ShuttingDown("The client is closed: ask another one.")
        if self._pid != os.getpid():
            self._open()
        key = (method.service, method.name)
        callable_ = self._callables.get(key)
        if callable_ is None:
            make = self._channel.unary_unary if isinstance(method, Unary) else self._channel.unary_stream
            callable_ = self._callables[key] = make(
                f"/playhead.v1.{method.service}/{method.name}",
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
        return callable_

    def _unary_once(self, method: Unary[Request, Response], request: Request, left_s: float) -> Response:
        try:
            return self._unary(method)(request, timeout=left_s, metadata=self._said(), wait_for_ready=True)
        except grpc.RpcError as failed:
            raise self._error(failed, method) from None

    def _submit_once(
        self, method: Unary[Request, Response], request: Request, left_s: float, answer: LightFuture[Response]
    ) -> None:
        def settle(done: Any) -> None:
            if done.code() is grpc.StatusCode.OK:
                answer.set_result(done.result())
            else:
                answer.set_exception(self._error(done, method))

        call = self._unary(method).future(request, timeout=left_s, metadata=self._said(), wait_for_ready=True)
        call.add_done_callback(settle)

    def _stream_once(
        self, method: Streaming[Request, Response], request: Request, left_s: float | None
    ) -> Generator[Response, None, None]:
        call = self._streaming(method)(request, timeout=left_s, metadata=self._said())
        try:
            yield from call
        except grpc.RpcError as failed:
            raise self._error(failed, method) from None
        finally:
            call.cancel()

    def _error(self, failed: grpc.RpcError, method: Unary[Any, Any] | Streaming[Any, Any]) -> PlayheadError:
        return error_of_call(failed, method.name, self.api_url)


def _target(api_url: str) -> str:
    """What gRPC calls the address."""
    try:
        return target_of(api_url)
    except ValueError as error:
        raise BadRequest(str(error), field="api_url") from None
