"""The server as a whole: what it is made of, where it listens, how it ends.

It is two processes on one journal: the edge takes calls, reads and streams; the writer, which it starts, decides and
commits (writing.py). How it ends, on SIGTERM or SIGINT (a second one ends the process at once):

1. Health says NOT_SERVING, and the streams end with UNAVAILABLE, SHUTTING_DOWN.
2. The writer commits the commands it has, and ends. From now on new ones are answered UNAVAILABLE, SHUTTING_DOWN, until
   those that were on the wire have arrived and no more come, or `grace_s` have passed: gRPC would cancel them, and not
   say why.
3. gRPC takes no more calls. Those in flight have `grace_s` to finish; the ones that have not are cancelled.
4. The database is closed.

When the writer ends by itself, so does the server, in the same order, with JournalUnavailable.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
import uvloop
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from playhead.engine.orchestration.installed import chosen_policy
from playhead.engine.orchestration.policy import Policy
from playhead.engine.orchestration.reader import Reader
from playhead.grpc_server.commanding import Commands
from playhead.grpc_server.health import Health
from playhead.grpc_server.listen import listen
from playhead.grpc_server.servicers import Audit, Inputs, Journal, Logs, Replay, Runs
from playhead.grpc_server.unreadable import tolerant
from playhead.grpc_server.writing import Aside, forked, threaded
from playhead.v1 import audit_pb2, inputs_pb2, journal_pb2, logs_pb2, orchestration_pb2, replay_pb2, runs_pb2
from playhead.v1.audit_pb2_grpc import add_AuditServicer_to_server
from playhead.v1.inputs_pb2_grpc import add_InputsServicer_to_server
from playhead.v1.journal_pb2_grpc import add_JournalServicer_to_server
from playhead.v1.logs_pb2_grpc import add_LogsServicer_to_server
from playhead.v1.replay_pb2_grpc import add_ReplayServicer_to_server
from playhead.v1.runs_pb2_grpc import add_RunsServicer_to_server

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 4200
GRACE_S = 10.0
ARRIVING_S = 0.2  # how long calls may be on the wire before one of them arrives

MESSAGE_BYTES_MAX = 4 * 1024 * 1024  # of a request; a larger one is answered RESOURCE_EXHAUSTED
CALLS_PER_CONNECTION_MAX = 10_000  # over the bounds of what may wait, whose refusals say more than gRPC's

SERVICES = tuple(
    service.full_name
    for file in (orchestration_pb2, runs_pb2, journal_pb2, audit_pb2, replay_pb2, logs_pb2, inputs_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)

_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", CALLS_PER_CONNECTION_MAX),
    # Calls that Python has not taken yet: beyond 1,000, gRPC would reset some by chance and say no reason
    # (grpc/grpc#34782).
    ("grpc.server.max_pending_requests", CALLS_PER_CONNECTION_MAX),
    ("grpc.server.max_pending_requests_hard_limit", CALLS_PER_CONNECTION_MAX),
    ("grpc.so_reuseport", 0),  # a second server on a taken port must fail, not share it
    # A client that vanished without a word is noticed; clients may look for us as often as every 10 s.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)

logger = logging.getLogger(__name__)


def run(
    host: str,
    port: int,
    uds: str | None,
    database: str,
    on_ready: Callable[[str], None] | None = None,
    grace_s: float = GRACE_S,
    policy: Policy | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then end in order. Parameters: see `serve`.

    Call it from the main thread, while there is no other: the writer's process is a copy of this one.
    """
    # What is loaded by now stays, and what calls leave behind is freed by itself: there is little to look through.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    policy = policy or chosen_policy()
    writer = forked(database, policy)

    async def serving() -> None:
        await _serve(host, port, uds, database, on_ready, grace_s, _set_by_signals(), policy, writer)

    uvloop.run(serving())


async def serve(
    host: str,
    port: int,
    uds: str | None,
    database: str,
    on_ready: Callable[[str], None] | None,
    grace_s: float,
    stop: asyncio.Event,
    policy: Policy | None = None,
) -> None:
    """Serve until `stop` is set, then end in order: in an event loop of a process that does other things too. The
    writer is a thread of it.

    Listens on `uds`, the path of a Unix socket that only this user can open, when it is given; else on `host` and
    `port`, 0 for a free one. There is no authentication yet: a host other than loopback is warned of. `database` is a
    path or URL as for the orchestrator; `policy` is what it decides by, by default that of PLAYHEAD_POLICY. `on_ready`
    is called once calls are taken, with the address as clients write it. Raises OSError when the address can not be
    had, and the errors of the journal.
    """
    policy = policy or chosen_policy()
    await _serve(host, port, uds, database, on_ready, grace_s, stop, policy, threaded(database, policy))


async def _serve(
    host: str,
    port: int,
    uds: str | None,
    database: str,
    on_ready: Callable[[str], None] | None,
    grace_s: float,
    stop: asyncio.Event,
    policy: Policy,
    writer: Aside,
) -> None:
    async with _opened(database, policy, writer, stop) as (reader, commands):
        server = _server_of(reader, commands, stop)
        address = listen(server, host, port, uds)
        await server.start()
        logger.info("Serving at %s", address)
        if on_ready is not None:
            on_ready(address)
        await stop.wait()
        logger.info("Shutting down: calls in flight have %g s", grace_s)
        await commands.drain()
        await commands.all_arrived(ARRIVING_S, grace_s)
        await server.stop(grace_s)
        if commands.lost is not None:
            raise commands.lost


@asynccontextmanager
async def _opened(
    database: str, policy: Policy, writer: Aside, stop: asyncio.Event
) -> AsyncIterator[tuple[Reader, Commands]]:
    """The database, open here and at the writer. Here first: what is wrong with it is raised."""
    try:
        with Reader.open(database, policy=policy) as reader:
            commands = Commands(reader.journal.hub, stop, writer.awake_s)
            await commands.open(writer.connection)
            try:
                yield reader, commands
            finally:
                commands.close()
                await asyncio.to_thread(writer.join)
    except BaseException:
        writer.connection.close()
        raise


def _set_by_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_on(signal_number: int) -> None:
        stop.set()
        loop.remove_signal_handler(signal_number)  # the next one has its usual effect

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_on, number)
    return stop


def _server_of(reader: Reader, commands: Commands, stopping: asyncio.Event) -> grpc.aio.Server:
    server = grpc.aio.server(options=_OPTIONS)
    services = cast("grpc.aio.Server", _Unregistered(server))
    server.add_generic_rpc_handlers(commands.handlers())
    add_RunsServicer_to_server(Runs(reader, stopping), services)
    add_JournalServicer_to_server(Journal(reader, stopping), services)
    add_AuditServicer_to_server(Audit(reader), services)
    add_ReplayServicer_to_server(Replay(reader), services)
    add_LogsServicer_to_server(Logs(reader, stopping), services)
    inputs = Inputs(reader, stopping)  # type: ignore[abstract] # its commands are in `commands`
    add_InputsServicer_to_server(inputs, services)
    add_HealthServicer_to_server(Health(SERVICES, stopping), services)
    reflected = (*SERVICES, "grpc.health.v1.Health", reflection.SERVICE_NAME)
    add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(reflected), services)
    return server


class _Unregistered:
    """A server as generated code sees it, that finds methods by name alone and reads requests tolerantly.

    Generated code would also register each method. At every call, gRPC's asyncio server would then wait anew for a call
    of each of our 30 methods, which costs some 10 us (grpc/grpc#43461).
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Any]) -> None:
        """Add the methods of a service, by name."""
        handlers = {
            name: handler._replace(request_deserializer=tolerant(handler.request_deserializer))
            for name, handler in method_handlers.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service_name, handlers),))

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Leave them out: they are the same methods, as generated."""
