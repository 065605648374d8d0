"""The server as a whole: what it is made of, where it listens, how it ends.

How it ends, on SIGTERM or SIGINT (a second one ends the process at once):

1. Health says NOT_SERVING, and the streams end with UNAVAILABLE, SHUTTING_DOWN.
2. The orchestrator commits the commands it has. From now on new ones are answered UNAVAILABLE, SHUTTING_DOWN, for as
   long as it takes those that were on the wire to arrive: gRPC would cancel them, and not say why.
3. gRPC takes no more calls. Those in flight have `grace_s` to finish; the ones that have not are cancelled.
4. The database is closed.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from typing import Any, cast

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Policy
from playhead.grpc_server.health import Health
from playhead.grpc_server.listen import listen
from playhead.grpc_server.servicers import Audit, Inputs, Journal, Logs, Orchestration, Replay, Runs
from playhead.grpc_server.status import status_of
from playhead.grpc_server.unreadable import tolerant
from playhead.v1 import audit_pb2, inputs_pb2, journal_pb2, logs_pb2, orchestration_pb2, replay_pb2, runs_pb2
from playhead.v1.audit_pb2_grpc import add_AuditServicer_to_server
from playhead.v1.inputs_pb2_grpc import add_InputsServicer_to_server
from playhead.v1.journal_pb2_grpc import add_JournalServicer_to_server
from playhead.v1.logs_pb2_grpc import add_LogsServicer_to_server
from playhead.v1.orchestration_pb2_grpc import add_OrchestrationServicer_to_server
from playhead.v1.replay_pb2_grpc import add_ReplayServicer_to_server
from playhead.v1.runs_pb2_grpc import add_RunsServicer_to_server

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 4200
GRACE_S = 10.0
ARRIVING_S = 0.2  # how long calls may be on the wire

MESSAGE_BYTES_MAX = 4 * 1024 * 1024  # of a request; a larger one is answered RESOURCE_EXHAUSTED
CALLS_PER_CONNECTION_MAX = 1_000  # further ones wait at the client

SERVICES = tuple(
    service.full_name
    for file in (orchestration_pb2, runs_pb2, journal_pb2, audit_pb2, replay_pb2, logs_pb2, inputs_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)

_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", CALLS_PER_CONNECTION_MAX),
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
    """Serve until SIGTERM or SIGINT, then end in order. Call it from the main thread. Parameters: see `serve`."""
    # What is loaded by now stays, and what calls leave behind is freed by itself: there is little to look through.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    asyncio.run(_serve_until_signal(host, port, uds, database, on_ready, grace_s, policy))


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
    """Serve until `stop` is set, then end in order.

    Listens on `uds`, the path of a Unix socket that only this user can open, when it is given; else on `host` and
    `port`, 0 for a free one. There is no authentication yet: a host other than loopback is warned of. `database` is a
    path or URL as for the orchestrator; `policy` is what it decides by, by default that of PLAYHEAD_POLICY. `on_ready`
    is called once calls are taken, with the address as clients write it. Raises OSError when the address can not be
    had, and the errors of the journal.
    """
    orchestrator = Orchestrator.open(database, policy=policy, status_of=status_of)
    try:
        server = _server_of(orchestrator, stop)
        address = listen(server, host, port, uds)
        await server.start()
        logger.info("Serving at %s", address)
        if on_ready is not None:
            on_ready(address)
        await stop.wait()
        logger.info("Shutting down: calls in flight have %g s", grace_s)
        await asyncio.to_thread(orchestrator.drain)
        await asyncio.sleep(ARRIVING_S)
        await server.stop(grace_s)
    finally:
        await asyncio.to_thread(orchestrator.close)


async def _serve_until_signal(
    host: str,
    port: int,
    uds: str | None,
    database: str,
    on_ready: Callable[[str], None] | None,
    grace_s: float,
    policy: Policy | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_on(signal_number: int) -> None:
        stop.set()
        loop.remove_signal_handler(signal_number)  # the next one has its usual effect

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_on, number)
    await serve(host, port, uds, database, on_ready, grace_s, stop, policy)


def _server_of(orchestrator: Orchestrator, stopping: asyncio.Event) -> grpc.aio.Server:
    server = grpc.aio.server(options=_OPTIONS)
    services = cast("grpc.aio.Server", _Unregistered(server))
    add_OrchestrationServicer_to_server(Orchestration(orchestrator, stopping), services)
    add_RunsServicer_to_server(Runs(orchestrator, stopping), services)
    add_JournalServicer_to_server(Journal(orchestrator, stopping), services)
    add_AuditServicer_to_server(Audit(orchestrator), services)
    add_ReplayServicer_to_server(Replay(orchestrator), services)
    add_LogsServicer_to_server(Logs(orchestrator, stopping), services)
    add_InputsServicer_to_server(Inputs(orchestrator, stopping), services)
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
