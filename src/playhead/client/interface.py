"""The client interface: every method of the contract, blocking, as a future, or as a stream."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from playhead import v1
from playhead.light_futures import LightFuture

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True)
class Unary(Generic[Request, Response]):
    """A method that answers one request with one response. `name` is the RPC's, `call` the service object's."""

    service: str
    name: str
    call: str
    request: type[Request]
    response: type[Response]


@dataclass(frozen=True)
class Command(Unary[Request, Response]):
    """A method that changes something: recorded before it is answered, and repeatable with its request id."""


@dataclass(frozen=True)
class Streaming(Generic[Request, Response]):
    """A method that answers one request with a stream of responses."""

    service: str
    name: str
    call: str
    request: type[Request]
    response: type[Response]


class Client(Protocol):
    """What the SDK, the CLI and every other Python user of the service hold.

    Commands are safe to repeat: the same `request_id` gets the recorded answer. Both implementations repeat a command
    whose answer was lost by themselves, within `timeout_s`.
    """

    def unary(self, method: Unary[Request, Response], request: Request, *, timeout_s: float | None = None) -> Response:
        """Call and wait for the answer. Raises the errors of `playhead.exceptions`."""

    def submit(
        self, method: Unary[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> LightFuture[Response]:
        """Call without waiting; the future has the answer or the error, and can be awaited."""

    def stream(
        self, method: Streaming[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> Generator[Response, None, None]:
        """Call and iterate over the answers. Close the iterator (`.close()`) to end the call early.

        A stream that follows what happens raises DeadlinePassed after `timeout_s`; None: it goes on for ever.
        """

    def close(self) -> None:
        """Release what the client holds. Safe to call twice."""


REGISTER_FLOW = Command(
    "Orchestration", "RegisterFlow", "register_flow", v1.RegisterFlowRequest, v1.RegisterFlowResponse
)
CREATE_FLOW_RUN = Command(
    "Orchestration", "CreateFlowRun", "create_flow_run", v1.CreateFlowRunRequest, v1.CreateFlowRunResponse
)
CREATE_TASK_RUN = Command(
    "Orchestration", "CreateTaskRun", "create_task_run", v1.CreateTaskRunRequest, v1.CreateTaskRunResponse
)
PROPOSE_STATE = Command(
    "Orchestration", "ProposeState", "propose_state", v1.ProposeStateRequest, v1.ProposeStateResponse
)
UPDATE_RUN = Command("Orchestration", "UpdateRun", "update_run", v1.UpdateRunRequest, v1.UpdateRunResponse)
PAUSE_FLOW_RUN = Command(
    "Orchestration", "PauseFlowRun", "pause_flow_run", v1.PauseFlowRunRequest, v1.ProposeStateResponse
)
RESUME_FLOW_RUN = Command(
    "Orchestration", "ResumeFlowRun", "resume_flow_run", v1.ResumeFlowRunRequest, v1.ProposeStateResponse
)
CANCEL_FLOW_RUN = Command(
    "Orchestration", "CancelFlowRun", "cancel_flow_run", v1.CancelFlowRunRequest, v1.ProposeStateResponse
)
SET_CONCURRENCY_LIMIT = Command(
    "Orchestration",
    "SetConcurrencyLimit",
    "set_concurrency_limit",
    v1.SetConcurrencyLimitRequest,
    v1.SetConcurrencyLimitResponse,
)
RENEW_LEASE = Command("Orchestration", "RenewLease", "renew_lease", v1.RenewLeaseRequest, v1.RenewLeaseResponse)

GET_FLOW = Unary("Runs", "GetFlow", "get_flow", v1.GetFlowRequest, v1.GetFlowResponse)
LIST_FLOWS = Unary("Runs", "ListFlows", "list_flows", v1.ListFlowsRequest, v1.ListFlowsResponse)
GET_FLOW_RUN = Unary("Runs", "GetFlowRun", "get_flow_run", v1.GetFlowRunRequest, v1.GetFlowRunResponse)
LIST_FLOW_RUNS = Unary("Runs", "ListFlowRuns", "list_flow_runs", v1.ListFlowRunsRequest, v1.ListFlowRunsResponse)
COUNT_FLOW_RUNS = Unary("Runs", "CountFlowRuns", "count_flow_runs", v1.CountFlowRunsRequest, v1.CountRunsResponse)
GET_TASK_RUN = Unary("Runs", "GetTaskRun", "get_task_run", v1.GetTaskRunRequest, v1.GetTaskRunResponse)
LIST_TASK_RUNS = Unary("Runs", "ListTaskRuns", "list_task_runs", v1.ListTaskRunsRequest, v1.ListTaskRunsResponse)
COUNT_TASK_RUNS = Unary("Runs", "CountTaskRuns", "count_task_runs", v1.CountTaskRunsRequest, v1.CountRunsResponse)
LIST_STATES = Unary("Runs", "ListStates", "list_states", v1.ListStatesRequest, v1.ListStatesResponse)
LIST_DECISIONS = Unary("Runs", "ListDecisions", "list_decisions", v1.ListDecisionsRequest, v1.ListDecisionsResponse)
LIST_CONCURRENCY_LIMITS = Unary(
    "Runs",
    "ListConcurrencyLimits",
    "list_concurrency_limits",
    v1.ListConcurrencyLimitsRequest,
    v1.ListConcurrencyLimitsResponse,
)
LIST_SLOT_USERS = Unary("Runs", "ListSlotUsers", "list_slot_users", v1.ListSlotUsersRequest, v1.ListSlotUsersResponse)
WATCH_RUN = Streaming("Runs", "WatchRun", "watch_run", v1.WatchRunRequest, v1.WatchRunResponse)

GET_HEAD = Unary("Journal", "GetHead", "get_head", v1.GetHeadRequest, v1.GetHeadResponse)
GET_REVISION_AT = Unary(
    "Journal", "GetRevisionAt", "get_revision_at", v1.GetRevisionAtRequest, v1.GetRevisionAtResponse
)
READ_EVENTS = Streaming("Journal", "ReadEvents", "read_events", v1.ReadEventsRequest, v1.ReadEventsResponse)
WATCH_EVENTS = Streaming("Journal", "WatchEvents", "watch_events", v1.WatchEventsRequest, v1.WatchEventsResponse)

SEND_INPUT = Command("Inputs", "SendInput", "send_input", v1.SendInputRequest, v1.SendInputResponse)
DELETE_INPUT = Command("Inputs", "DeleteInput", "delete_input", v1.DeleteInputRequest, v1.DeleteInputResponse)
READ_INPUT = Unary("Inputs", "ReadInput", "read_input", v1.ReadInputRequest, v1.ReadInputResponse)
LIST_INPUTS = Unary("Inputs", "ListInputs", "list_inputs", v1.ListInputsRequest, v1.ListInputsResponse)
RECEIVE_INPUTS = Streaming(
    "Inputs", "ReceiveInputs", "receive_inputs", v1.ReceiveInputsRequest, v1.ReceiveInputsResponse
)

FIND_DECISIONS = Unary("Audit", "FindDecisions", "find_decisions", v1.FindDecisionsRequest, v1.FindDecisionsResponse)

WRITE_LOGS = Unary("Logs", "WriteLogs", "write_logs", v1.WriteLogsRequest, v1.WriteLogsResponse)
READ_LOGS = Unary("Logs", "ReadLogs", "read_logs", v1.ReadLogsRequest, v1.ReadLogsResponse)
FOLLOW_LOGS = Streaming("Logs", "FollowLogs", "follow_logs", v1.FollowLogsRequest, v1.FollowLogsResponse)

EXPLAIN_RUN = Unary("Replay", "ExplainRun", "explain_run", v1.ExplainRunRequest, v1.ExplainRunResponse)
