"""Health, by the standard protocol grpc.health.v1: each service serves from the first call until the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

if TYPE_CHECKING:
    from grpc.aio import ServicerContext


class Health(HealthServicer):  # type: ignore[misc] # grpc_health has no types
    """Answers for `services` and for the server as a whole, "". Watches end with the server, after a NOT_SERVING."""

    def __init__(self, services: Collection[str], stopping: asyncio.Event) -> None:
        self._services = {"", *services}
        self._stopping = stopping

    async def Check(self, request: HealthCheckRequest, context: ServicerContext[Any, Any]) -> HealthCheckResponse:
        """NOT_FOUND for a service that is not one of ours."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r}")
        return self._status(request.service)

    async def Watch(
        self, request: HealthCheckRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[HealthCheckResponse]:
        """The status now and after each change."""
        yield self._status(request.service)
        await self._stopping.wait()
        yield self._status(request.service)

    def _status(self, service: str) -> HealthCheckResponse:
        if service not in self._services:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        if self._stopping.is_set():
            return HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING)
        return HealthCheckResponse(status=HealthCheckResponse.SERVING)
