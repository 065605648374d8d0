"""What is read, and logs: the services of `playhead.v1`, translated.

Messages go in and out as they are, errors leave as statuses. Commands go past this module: see commanding.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from playhead import v1
from playhead.exceptions import DeadlinePassed
from playhead.grpc_server.status import refuse
from playhead.grpc_server.streams import until
from playhead.replay.service import ReplayService
from playhead.v1.audit_pb2_grpc import AuditServicer
from playhead.v1.inputs_pb2_grpc import InputsServicer
from playhead.v1.journal_pb2_grpc import JournalServicer
from playhead.v1.logs_pb2_grpc import LogsServicer
from playhead.v1.replay_pb2_grpc import ReplayServicer
from playhead.v1.runs_pb2_grpc import RunsServicer

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    from playhead.engine.orchestration.reader import Reader

    Context = ServicerContext[Any, Any]

READ_S_MAX = 60.0
"""A read, with its wait for min_revision, ends by then even when its client set no deadline."""

Response = TypeVar("Response")


class Runs(RunsServicer):
    """Reads of runs, and watching one."""

    def __init__(self, reader: Reader, stopping: asyncio.Event) -> None:
        self._reader = reader
        self._runs = reader.runs
        self._stopping = stopping

    async def GetFlow(self, request: v1.GetFlowRequest, context: Context) -> v1.GetFlowResponse:
        return await _read(self._reader, self._runs.get_flow, request, context)

    async def ListFlows(self, request: v1.ListFlowsRequest, context: Context) -> v1.ListFlowsResponse:
        return await _read(self._reader, self._runs.list_flows, request, context)

    async def GetFlowRun(self, request: v1.GetFlowRunRequest, context: Context) -> v1.GetFlowRunResponse:
        return await _read(self._reader, self._runs.get_flow_run, request, context)

    async def ListFlowRuns(self, request: v1.ListFlowRunsRequest, context: Context) -> v1.ListFlowRunsResponse:
        return await _read(self._reader, self._runs.list_flow_runs, request, context)

    async def CountFlowRuns(self, request: v1.CountFlowRunsRequest, context: Context) -> v1.CountRunsResponse:
        return await _read(self._reader, self._runs.count_flow_runs, request, context)

    async def GetTaskRun(self, request: v1.GetTaskRunRequest, context: Context) -> v1.GetTaskRunResponse:
        return await _read(self._reader, self._runs.get_task_run, request, context)

    async def ListTaskRuns(self, request: v1.ListTaskRunsRequest, context: Context) -> v1.ListTaskRunsResponse:
        return await _read(self._reader, self._runs.list_task_runs, request, context)

    async def CountTaskRuns(self, request: v1.CountTaskRunsRequest, context: Context) -> v1.CountRunsResponse:
        return await _read(self._reader, self._runs.count_task_runs, request, context)

    async def ListStates(self, request: v1.ListStatesRequest, context: Context) -> v1.ListStatesResponse:
        return await _read(self._reader, self._runs.list_states, request, context)

    async def ListDecisions(self, request: v1.ListDecisionsRequest, context: Context) -> v1.ListDecisionsResponse:
        return await _read(self._reader, self._runs.list_decisions, request, context)

    async def WatchRun(self, request: v1.WatchRunRequest, context: Context) -> AsyncIterator[v1.WatchRunResponse]:
        async for response in _stream(self._reader.watch_run(request), self._stopping, context):
            yield response

    async def ListConcurrencyLimits(
        self, request: v1.ListConcurrencyLimitsRequest, context: Context
    ) -> v1.ListConcurrencyLimitsResponse:
        return await _read(self._reader, self._runs.list_concurrency_limits, request, context)

    async def ListSlotUsers(self, request: v1.ListSlotUsersRequest, context: Context) -> v1.ListSlotUsersResponse:
        return await _read(self._reader, self._runs.list_slot_users, request, context)


class Journal(JournalServicer):
    """Reads of the journal, and following it."""

    def __init__(self, reader: Reader, stopping: asyncio.Event) -> None:
        self._reader = reader
        self._events = reader.events
        self._stopping = stopping

    async def GetHead(self, request: v1.GetHeadRequest, context: Context) -> v1.GetHeadResponse:
        return await _read(self._reader, self._events.get_head, request, context)

    async def GetRevisionAt(self, request: v1.GetRevisionAtRequest, context: Context) -> v1.GetRevisionAtResponse:
        return await _read(self._reader, self._events.get_revision_at, request, context)

    async def ReadEvents(self, request: v1.ReadEventsRequest, context: Context) -> AsyncIterator[v1.ReadEventsResponse]:
        async for response in _stream(self._reader.read_events(request), self._stopping, context):
            yield response

    async def WatchEvents(
        self, request: v1.WatchEventsRequest, context: Context
    ) -> AsyncIterator[v1.WatchEventsResponse]:
        async for response in _stream(self._reader.watch_events(request), self._stopping, context):
            yield response


class Inputs(InputsServicer):
    """Inputs of flow runs: reading, receiving."""

    def __init__(self, reader: Reader, stopping: asyncio.Event) -> None:
        self._reader = reader
        self._inputs = reader.inputs
        self._stopping = stopping

    async def ReadInput(self, request: v1.ReadInputRequest, context: Context) -> v1.ReadInputResponse:
        return await _read(self._reader, self._inputs.read_input, request, context)

    async def ListInputs(self, request: v1.ListInputsRequest, context: Context) -> v1.ListInputsResponse:
        return await _read(self._reader, self._inputs.list_inputs, request, context)

    async def ReceiveInputs(
        self, request: v1.ReceiveInputsRequest, context: Context
    ) -> AsyncIterator[v1.ReceiveInputsResponse]:
        async for response in _stream(self._reader.receive_inputs(request), self._stopping, context):
            yield response


class Audit(AuditServicer):
    """Reads of decisions, across all runs."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def FindDecisions(self, request: v1.FindDecisionsRequest, context: Context) -> v1.FindDecisionsResponse:
        return await _read(self._reader, self._reader.audit.find_decisions, request, context)


class Replay(ReplayServicer):
    """Going back."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._replay = ReplayService(reader.journal, reader.runs)

    async def ExplainRun(self, request: v1.ExplainRunRequest, context: Context) -> v1.ExplainRunResponse:
        return await _read(self._reader, self._replay.explain_run, request, context)


class Logs(LogsServicer):
    """What runs say: storing, reading, following."""

    def __init__(self, reader: Reader, stopping: asyncio.Event) -> None:
        self._reader = reader
        self._stopping = stopping

    async def WriteLogs(self, request: v1.WriteLogsRequest, context: Context) -> v1.WriteLogsResponse:
        try:
            return await self._reader.write_logs(request)
        except Exception as error:
            await refuse(context, error)

    async def ReadLogs(self, request: v1.ReadLogsRequest, context: Context) -> v1.ReadLogsResponse:
        return await _read(self._reader, self._reader.logs.read_logs, request, context)

    async def FollowLogs(self, request: v1.FollowLogsRequest, context: Context) -> AsyncIterator[v1.FollowLogsResponse]:
        async for response in _stream(self._reader.follow_logs(request), self._stopping, context):
            yield response


async def _read(reader: Reader, read: Callable[[Any], Response], request: object, context: Context) -> Response:
    try:
        async with asyncio.timeout(READ_S_MAX):
            return await reader.read(read, request)
    except TimeoutError:
        await refuse(context, DeadlinePassed(f"the read took more than {READ_S_MAX:.0f} s", limit_s=READ_S_MAX))
    except Exception as error:
        await refuse(context, error)


async def _stream(
    responses: AsyncIterator[Response], stopping: asyncio.Event, context: Context
) -> AsyncIterator[Response]:
    try:
        async for response in until(stopping, responses):
            yield response
    except Exception as error:
        await refuse(context, error)
