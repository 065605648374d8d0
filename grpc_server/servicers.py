"""The services of `playhead.v1`, translated: messages go in and out as they are, errors leave as statuses.

The path of a proposal through here is the hot one: nothing is logged, wrapped or looked up for a call that succeeds. A
call that its client gives up is cancelled here, but its command stays queued and is recorded; the same request id finds
what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from playhead import v1
from playhead.exceptions import DeadlinePassed, ShuttingDown
from playhead.grpc_server.batches import answered_in_order
from playhead.grpc_server.caller import caller_of
from playhead.grpc_server.status import refuse, status_of
from playhead.grpc_server.streams import until
from playhead.journal.record import Caller
from playhead.replay.service import ReplayService
from playhead.v1.audit_pb2_grpc import AuditServicer
from playhead.v1.inputs_pb2_grpc import InputsServicer
from playhead.v1.journal_pb2_grpc import JournalServicer
from playhead.v1.logs_pb2_grpc import LogsServicer
from playhead.v1.orchestration_pb2_grpc import OrchestrationServicer
from playhead.v1.replay_pb2_grpc import ReplayServicer
from playhead.v1.runs_pb2_grpc import RunsServicer

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    from playhead.engine.orchestration.orchestrator import Orchestrator

    Context = ServicerContext[Any, Any]

READ_S_MAX = 60.0
"""A read, with its wait for min_revision, ends by then even when its client set no deadline."""

Request = TypeVar("Request")
Request_contra = TypeVar("Request_contra", contravariant=True)
Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)


class Command(Protocol[Request_contra, Response_co]):
    """A command of the orchestrator: queued when called, answered through the awaitable."""

    def __call__(
        self, request: Request_contra, caller: Caller, loop: asyncio.AbstractEventLoop, /
    ) -> Awaitable[Response_co]: ...


class Orchestration(OrchestrationServicer):
    """Commands. `stopping` ends the streams."""

    def __init__(self, orchestrator: Orchestrator, stopping: asyncio.Event) -> None:
        self._orchestration = orchestrator.orchestration
        self._stopping = stopping
        self._loop = asyncio.get_running_loop()

    async def ProposeState(self, request: v1.ProposeStateRequest, context: Context) -> v1.ProposeStateResponse:
        return await _command(self._orchestration.propose_state, request, context, self._loop)

    async def ProposeStates(
        self, requests: AsyncIterator[v1.ProposeStatesRequest], context: Context
    ) -> AsyncIterator[v1.ProposeStatesResponse]:
        caller = caller_of(context)
        try:
            batches = until(self._stopping, requests)
            async for answers in answered_in_order(batches, lambda batch: self._propose_states(batch, caller)):
                yield answers
        except Exception as error:
            await refuse(context, error)

    async def RegisterFlow(self, request: v1.RegisterFlowRequest, context: Context) -> v1.RegisterFlowResponse:
        return await _command(self._orchestration.register_flow, request, context, self._loop)

    async def CreateFlowRun(self, request: v1.CreateFlowRunRequest, context: Context) -> v1.CreateFlowRunResponse:
        return await _command(self._orchestration.create_flow_run, request, context, self._loop)

    async def CreateTaskRun(self, request: v1.CreateTaskRunRequest, context: Context) -> v1.CreateTaskRunResponse:
        return await _command(self._orchestration.create_task_run, request, context, self._loop)

    async def UpdateRun(self, request: v1.UpdateRunRequest, context: Context) -> v1.UpdateRunResponse:
        return await _command(self._orchestration.update_run, request, context, self._loop)

    async def PauseFlowRun(self, request: v1.PauseFlowRunRequest, context: Context) -> v1.ProposeStateResponse:
        return await _command(self._orchestration.pause_flow_run, request, context, self._loop)

    async def ResumeFlowRun(self, request: v1.ResumeFlowRunRequest, context: Context) -> v1.ProposeStateResponse:
        return await _command(self._orchestration.resume_flow_run, request, context, self._loop)

    async def CancelFlowRun(self, request: v1.CancelFlowRunRequest, context: Context) -> v1.ProposeStateResponse:
        return await _command(self._orchestration.cancel_flow_run, request, context, self._loop)

    async def SetConcurrencyLimit(
        self, request: v1.SetConcurrencyLimitRequest, context: Context
    ) -> v1.SetConcurrencyLimitResponse:
        return await _command(self._orchestration.set_concurrency_limit, request, context, self._loop)

    async def RenewLease(self, request: v1.RenewLeaseRequest, context: Context) -> v1.RenewLeaseResponse:
        return await _command(self._orchestration.renew_lease, request, context, self._loop)

    def _propose_states(self, batch: v1.ProposeStatesRequest, caller: Caller) -> asyncio.Task[v1.ProposeStatesResponse]:
        try:
            answers = self._orchestration.propose_states(batch, caller, self._loop)
        except Exception as error:
            answers = self._loop.create_future()
            answers.set_exception(error)
        return self._loop.create_task(_answered(batch, answers))


class Runs(RunsServicer):
    """Reads of runs, and watching one."""

    def __init__(self, orchestrator: Orchestrator, stopping: asyncio.Event) -> None:
        self._orchestrator = orchestrator
        self._runs = orchestrator.runs
        self._stopping = stopping

    async def GetFlow(self, request: v1.GetFlowRequest, context: Context) -> v1.GetFlowResponse:
        return await _read(self._orchestrator, self._runs.get_flow, request, context)

    async def ListFlows(self, request: v1.ListFlowsRequest, context: Context) -> v1.ListFlowsResponse:
        return await _read(self._orchestrator, self._runs.list_flows, request, context)

    async def GetFlowRun(self, request: v1.GetFlowRunRequest, context: Context) -> v1.GetFlowRunResponse:
        return await _read(self._orchestrator, self._runs.get_flow_run, request, context)

    async def ListFlowRuns(self, request: v1.ListFlowRunsRequest, context: Context) -> v1.ListFlowRunsResponse:
        return await _read(self._orchestrator, self._runs.list_flow_runs, request, context)

    async def CountFlowRuns(self, request: v1.CountFlowRunsRequest, context: Context) -> v1.CountRunsResponse:
        return await _read(self._orchestrator, self._runs.count_flow_runs, request, context)

    async def GetTaskRun(self, request: v1.GetTaskRunRequest, context: Context) -> v1.GetTaskRunResponse:
        return await _read(self._orchestrator, self._runs.get_task_run, request, context)

    async def ListTaskRuns(self, request: v1.ListTaskRunsRequest, context: Context) -> v1.ListTaskRunsResponse:
        return await _read(self._orchestrator, self._runs.list_task_runs, request, context)

    async def CountTaskRuns(self, request: v1.CountTaskRunsRequest, context: Context) -> v1.CountRunsResponse:
        return await _read(self._orchestrator, self._runs.count_task_runs, request, context)

    async def ListStates(self, request: v1.ListStatesRequest, context: Context) -> v1.ListStatesResponse:
        return await _read(self._orchestrator, self._runs.list_states, request, context)

    async def ListDecisions(self, request: v1.ListDecisionsRequest, context: Context) -> v1.ListDecisionsResponse:
        return await _read(self._orchestrator, self._runs.list_decisions, request, context)

    async def WatchRun(self, request: v1.WatchRunRequest, context: Context) -> AsyncIterator[v1.WatchRunResponse]:
        async for response in _stream(self._orchestrator.watch_run(request), self._stopping, context):
            yield response

    async def ListConcurrencyLimits(
        self, request: v1.ListConcurrencyLimitsRequest, context: Context
    ) -> v1.ListConcurrencyLimitsResponse:
        return await _read(self._orchestrator, self._runs.list_concurrency_limits, request, context)

    async def ListSlotUsers(self, request: v1.ListSlotUsersRequest, context: Context) -> v1.ListSlotUsersResponse:
        return await _read(self._orchestrator, self._runs.list_slot_users, request, context)


class Journal(JournalServicer):
    """Reads of the journal, and following it."""

    def __init__(self, orchestrator: Orchestrator, stopping: asyncio.Event) -> None:
        self._orchestrator = orchestrator
        self._events = orchestrator.events
        self._stopping = stopping

    async def GetHead(self, request: v1.GetHeadRequest, context: Context) -> v1.GetHeadResponse:
        return await _read(self._orchestrator, self._events.get_head, request, context)

    async def GetRevisionAt(self, request: v1.GetRevisionAtRequest, context: Context) -> v1.GetRevisionAtResponse:
        return await _read(self._orchestrator, self._events.get_revision_at, request, context)

    async def ReadEvents(self, request: v1.ReadEventsRequest, context: Context) -> AsyncIterator[v1.ReadEventsResponse]:
        async for response in _stream(self._orchestrator.read_events(request), self._stopping, context):
            yield response

    async def WatchEvents(
        self, request: v1.WatchEventsRequest, context: Context
    ) -> AsyncIterator[v1.WatchEventsResponse]:
        async for response in _stream(self._orchestrator.watch_events(request), self._stopping, context):
            yield response


class Inputs(InputsServicer):
    """Inputs of flow runs: sending and deleting, reading, receiving."""

    def __init__(self, orchestrator: Orchestrator, stopping: asyncio.Event) -> None:
        self._orchestrator = orchestrator
        self._orchestration = orchestrator.orchestration
        self._inputs = orchestrator.inputs
        self._stopping = stopping
        self._loop = asyncio.get_running_loop()

    async def SendInput(self, request: v1.SendInputRequest, context: Context) -> v1.SendInputResponse:
        return await _command(self._orchestration.send_input, request, context, self._loop)

    async def DeleteInput(self, request: v1.DeleteInputRequest, context: Context) -> v1.DeleteInputResponse:
        return await _command(self._orchestration.delete_input, request, context, self._loop)

    async def ReadInput(self, request: v1.ReadInputRequest, context: Context) -> v1.ReadInputResponse:
        return await _read(self._orchestrator, self._inputs.read_input, request, context)

    async def ListInputs(self, request: v1.ListInputsRequest, context: Context) -> v1.ListInputsResponse:
        return await _read(self._orchestrator, self._inputs.list_inputs, request, context)

    async def ReceiveInputs(
        self, request: v1.ReceiveInputsRequest, context: Context
    ) -> AsyncIterator[v1.ReceiveInputsResponse]:
        async for response in _stream(self._orchestrator.receive_inputs(request), self._stopping, context):
            yield response


class Audit(AuditServicer):
    """Reads of decisions, across all runs."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    async def FindDecisions(self, request: v1.FindDecisionsRequest, context: Context) -> v1.FindDecisionsResponse:
        return await _read(self._orchestrator, self._orchestrator.audit.find_decisions, request, context)


class Replay(ReplayServicer):
    """Going back."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._replay = ReplayService(orchestrator.journal, orchestrator.runs)

    async def ExplainRun(self, request: v1.ExplainRunRequest, context: Context) -> v1.ExplainRunResponse:
        return await _read(self._orchestrator, self._replay.explain_run, request, context)


class Logs(LogsServicer):
    """What runs say: storing, reading, following."""

    def __init__(self, orchestrator: Orchestrator, stopping: asyncio.Event) -> None:
        self._orchestrator = orchestrator
        self._stopping = stopping

    async def WriteLogs(self, request: v1.WriteLogsRequest, context: Context) -> v1.WriteLogsResponse:
        try:
            return await self._orchestrator.write_logs(request)
        except Exception as error:
            await refuse(context, error)

    async def ReadLogs(self, request: v1.ReadLogsRequest, context: Context) -> v1.ReadLogsResponse:
        return await _read(self._orchestrator, self._orchestrator.logs.read_logs, request, context)

    async def FollowLogs(self, request: v1.FollowLogsRequest, context: Context) -> AsyncIterator[v1.FollowLogsResponse]:
        async for response in _stream(self._orchestrator.follow_logs(request), self._stopping, context):
            yield response


async def _command(
    command: Command[Request, Response], request: Request, context: Context, loop: asyncio.AbstractEventLoop
) -> Response:
    try:
        return await command(request, caller_of(context), loop)
    except Exception as error:
        await refuse(context, error)


async def _read(
    orchestrator: Orchestrator, read: Callable[[Any], Response], request: object, context: Context
) -> Response:
    try:
        async with asyncio.timeout(READ_S_MAX):
            return await orchestrator.read(read, request)
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


async def _answered(
    batch: v1.ProposeStatesRequest, answers: Awaitable[v1.ProposeStatesResponse]
) -> v1.ProposeStatesResponse:
    """The answers to a batch. An error of the whole batch is that of each item, so that the stream goes on; but a drain
    ends it, so that the client goes elsewhere."""
    try:
        return await answers
    except ShuttingDown:
        raise
    except Exception as error:
        status = status_of(error)
        return v1.ProposeStatesResponse(
            answers=[v1.ProposeStatesAnswer(correlation_id=item.correlation_id, error=status) for item in batch.items]
        )
