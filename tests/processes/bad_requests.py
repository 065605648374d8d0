"""Requests with one thing wrong each: what is sent, the error that names it, and the field."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from playhead import exceptions, v1
from playhead.client import interface as methods
from playhead.client.interface import Client, Unary
from tests.processes.load import Load

UNKNOWN_ID = "01890000-0000-7000-8000-00000000dead"
TOO_LATE = Timestamp(seconds=253_402_300_800)
NO_TIME = Timestamp(seconds=1, nanos=-1)
HUGE = Duration(seconds=2**63 - 1)
NUL = "a\x00b"


@dataclass(frozen=True)
class World:
    """What the requests are about: a flow, a run of it that is PENDING, a task run in that."""

    ids: Load
    flow_id: str
    flow_run_id: str
    task_run_id: str


@dataclass(frozen=True)
class Case:
    """A bad request and its error. `field` is "" where no field is at fault."""

    name: str
    method: Unary[Any, Any]
    request: Callable[[World], Any]
    error: type[exceptions.PlayheadError]
    field: str = ""


def world_of(client: Client, seed: int) -> World:
    """Make what the requests are about."""
    load = Load(seed, runs=1)
    for method, request in load.opening():
        client.unary(method, request)
    spec = v1.TaskRunSpec(flow_run_id=load.flow_runs[0], task_key="task", dynamic_key="0")
    task_run = client.unary(
        methods.CREATE_TASK_RUN, v1.CreateTaskRunRequest(request_id=load.new_id(), spec=spec)
    ).task_run
    return World(load, load.flow_id, load.flow_runs[0], task_run.spec.id)


def _state(**fields: Any) -> Callable[[World], v1.ProposeStateRequest]:
    """A state proposed for the flow run."""
    return _proposal(state=v1.State(**{"type": v1.RUNNING, **fields}))


def _details(state_type: v1.StateType.ValueType, **details: Any) -> Callable[[World], v1.ProposeStateRequest]:
    return _state(type=state_type, details=v1.StateDetails(**details))


def _proposal(**fields: Any) -> Callable[[World], v1.ProposeStateRequest]:
    def request(world: World) -> v1.ProposeStateRequest:
        sent = {
            "request_id": world.ids.new_id(),
            "flow_run_id": world.flow_run_id,
            "state": v1.State(type=v1.RUNNING),
        }
        return v1.ProposeStateRequest(**{**sent, **fields})

    return request


def _task_proposal(**fields: Any) -> Callable[[World], v1.ProposeStateRequest]:
    def request(world: World) -> v1.ProposeStateRequest:
        spec = {"flow_run_id": world.flow_run_id, "task_key": "task", "dynamic_key": "1", **fields}
        return v1.ProposeStateRequest(
            request_id=world.ids.new_id(), create_task_run=v1.TaskRunSpec(**spec), state=v1.State(type=v1.RUNNING)
        )

    return request


def _spec(**fields: Any) -> Callable[[World], v1.CreateFlowRunRequest]:
    """A flow run to be created."""

    def request(world: World) -> v1.CreateFlowRunRequest:
        spec = {"id": world.ids.new_id(), "flow_id": world.flow_id, **fields}
        return v1.CreateFlowRunRequest(request_id=world.ids.new_id(), spec=v1.FlowRunSpec(**spec))

    return request


def _plain(request: Any) -> Callable[[World], Any]:
    return lambda world: request


def _filtered(**conditions: Any) -> Callable[[World], v1.ListFlowRunsRequest]:
    return _plain(v1.ListFlowRunsRequest(filter=v1.FlowRunFilter(**conditions)))


def _audited(**conditions: Any) -> Callable[[World], v1.FindDecisionsRequest]:
    return _plain(v1.FindDecisionsRequest(filter=v1.DecisionFilter(**conditions)))


def _token(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


BAD, MALFORMED, MISSING = exceptions.BadRequest, exceptions.MalformedId, exceptions.MissingField
UNKNOWN, LARGE, TOKEN = exceptions.UnknownEnumValue, exceptions.TooLarge, exceptions.BadPageToken
GONE, TAKEN, MOVED = exceptions.NotFound, exceptions.AlreadyExists, exceptions.VersionMismatch

PROPOSALS = [
    Case("no request id", methods.PROPOSE_STATE, _proposal(request_id=""), MISSING, "request_id"),
    Case("request id no UUID", methods.PROPOSE_STATE, _proposal(request_id="17"), MALFORMED, "request_id"),
    Case("upper-case id", methods.PROPOSE_STATE, _proposal(flow_run_id=UNKNOWN_ID.upper()), MALFORMED, "flow_run_id"),
    Case("id in braces", methods.PROPOSE_STATE, _proposal(flow_run_id=f"{{{UNKNOWN_ID}}}"), MALFORMED, "flow_run_id"),
    Case("Arabic digits", methods.PROPOSE_STATE, _proposal(flow_run_id="٠" + UNKNOWN_ID[1:]), MALFORMED, "flow_run_id"),
    Case("line feed", methods.PROPOSE_STATE, _proposal(flow_run_id=UNKNOWN_ID + "\n"), MALFORMED, "flow_run_id"),
    Case("unknown run", methods.PROPOSE_STATE, _proposal(flow_run_id=UNKNOWN_ID), GONE),
    Case(
        "a task run is no flow run",
        methods.PROPOSE_STATE,
        lambda world: _proposal(flow_run_id=world.task_run_id)(world),
        GONE,
    ),
    Case(
        "no run",
        methods.PROPOSE_STATE,
        lambda world: v1.ProposeStateRequest(request_id=world.ids.new_id(), state=v1.State(type=v1.RUNNING)),
        MISSING,
        "run",
    ),
    Case("no state", methods.PROPOSE_STATE, _proposal(state=None), UNKNOWN, "state.type"),
    Case("unknown state", methods.PROPOSE_STATE, _state(type=77), UNKNOWN, "state.type"),
    Case("negative state", methods.PROPOSE_STATE, _state(type=-1), UNKNOWN, "state.type"),
    Case("name with line feed", methods.PROPOSE_STATE, _state(name="a\nb"), BAD, "state.name"),
    Case("long name", methods.PROPOSE_STATE, _state(name="é" * 101), LARGE, "state.name"),
    Case("long message", methods.PROPOSE_STATE, _state(message="x" * 100_001), LARGE, "state.message"),
    Case("other version", methods.PROPOSE_STATE, _proposal(expected_version=99), MOVED),
    Case("largest version", methods.PROPOSE_STATE, _proposal(expected_version=2**64 - 1), MOVED),
    Case("lease for PENDING", methods.PROPOSE_STATE, _proposal(
        state=v1.State(type=v1.PENDING), lease_ttl=Duration(seconds=5)), BAD, "lease_ttl"),
    Case("RUNNING that leaves the run", methods.PROPOSE_STATE, _proposal(release_lease=True), BAD, "release_lease"),
    Case("negative lease", methods.PROPOSE_STATE, _proposal(lease_ttl=Duration(seconds=-5)), BAD, "lease_ttl"),
    Case("endless lease", methods.PROPOSE_STATE, _proposal(lease_ttl=HUGE), BAD, "lease_ttl"),
    Case(
        "no duration", methods.PROPOSE_STATE, _proposal(lease_ttl=Duration(seconds=5, nanos=-1)), BAD, "lease_ttl"
    ),
]  # fmt: skip

DETAILS = [
    Case("RUNNING later", methods.PROPOSE_STATE, _details(v1.RUNNING, scheduled_time=Timestamp(seconds=1)), BAD,
         "state.details.scheduled_time"),
    Case("FAILED with cache key", methods.PROPOSE_STATE, _details(v1.FAILED, cache_key="k"), BAD,
         "state.details.cache_key"),
    Case("COMPLETED retriable", methods.PROPOSE_STATE, _details(v1.COMPLETED, retriable=True), BAD,
         "state.details.retriable"),
    Case("RUNNING with pause", methods.PROPOSE_STATE, _details(v1.RUNNING, pause_timeout=Timestamp(seconds=1)), BAD,
         "state.details.pause_timeout"),
    Case("RUNNING with a schema", methods.PROPOSE_STATE, _details(v1.RUNNING, run_input_schema=b"{}"), BAD,
         "state.details.run_input_schema"),
    Case("PENDING with input", methods.PROPOSE_STATE, _details(v1.PENDING, run_input=b"{}"), BAD,
         "state.details.run_input"),
    Case("input no JSON", methods.PROPOSE_STATE, _details(v1.RUNNING, run_input=b"{"), BAD, "state.details.run_input"),
    Case("input of deep nests", methods.PROPOSE_STATE, _details(v1.RUNNING, run_input=b"[" * 60_000), BAD,
         "state.details.run_input"),
    Case("large input", methods.PROPOSE_STATE, _details(v1.RUNNING, run_input=b"1" * 65_537), LARGE,
         "state.details.run_input"),
    Case("schema no JSON", methods.PROPOSE_STATE, _details(v1.PAUSED, run_input_schema=b"\xff"), BAD,
         "state.details.run_input_schema"),
    Case("schema no schema", methods.PROPOSE_STATE, _details(v1.PAUSED, run_input_schema=b'{"type": 5}'), BAD,
         "state.details.run_input_schema"),
    Case("schema from elsewhere", methods.PROPOSE_STATE,
         _details(v1.PAUSED, run_input_schema=b'{"$ref": "https://example.com/schema"}'), BAD,
         "state.details.run_input_schema"),
    Case("schema with lookaround", methods.PROPOSE_STATE,
         _details(v1.PAUSED, run_input_schema=b'{"pattern": "(?=a)"}'), BAD, "state.details.run_input_schema"),
    Case("task run asks for input", methods.PROPOSE_STATE, lambda world: v1.ProposeStateRequest(
        request_id=world.ids.new_id(), task_run_id=world.task_run_id, state=v1.State(
            type=v1.PAUSED, details=v1.StateDetails(run_input_schema=b"{}"))), BAD, "state.details.run_input_schema"),
    Case("task run brings input", methods.PROPOSE_STATE, lambda world: v1.ProposeStateRequest(
        request_id=world.ids.new_id(), task_run_id=world.task_run_id, state=v1.State(
            type=v1.RUNNING, details=v1.StateDetails(run_input=b"{}"))), BAD, "state.details.run_input"),
    Case("pause key of two lines", methods.PROPOSE_STATE, _details(v1.PAUSED, pause_key="a\nb"), BAD,
         "state.details.pause_key"),
    Case("input key of two lines", methods.PROPOSE_STATE, _details(v1.PAUSED, run_input_key="a\nb"), BAD,
         "state.details.run_input_key"),
    Case("pause that is over", methods.PROPOSE_STATE, _details(v1.PAUSED, pause_timeout=Timestamp(seconds=1)), BAD,
         "state.details.pause_timeout"),
    Case("expiration without key", methods.PROPOSE_STATE,
         _details(v1.COMPLETED, cache_expiration=Timestamp(seconds=1)), BAD, "state.details.cache_expiration"),
    Case("after the year 9999", methods.PROPOSE_STATE, _details(v1.SCHEDULED, scheduled_time=TOO_LATE), BAD,
         "state.details.scheduled_time"),
    Case("negative nanoseconds", methods.PROPOSE_STATE, _details(v1.SCHEDULED, scheduled_time=NO_TIME), BAD,
         "state.details.scheduled_time"),
    Case("damaged result of no digest", methods.PROPOSE_STATE, _details(v1.RUNNING, damaged_result=b"1"), BAD,
         "state.details.damaged_result"),
    Case("COMPLETED with a damaged result", methods.PROPOSE_STATE, _details(
        v1.COMPLETED, damaged_result=bytes(32)), BAD, "state.details.damaged_result"),
    Case("digest of arguments that is none", methods.PROPOSE_STATE, _details(v1.RUNNING, arguments_digest=b"1"), BAD,
         "state.details.arguments_digest"),
    Case("PENDING with a digest of arguments", methods.PROPOSE_STATE, _details(
        v1.PENDING, arguments_digest=bytes(32)), BAD, "state.details.arguments_digest"),
    Case("far too long a key", methods.PROPOSE_STATE, _details(v1.COMPLETED, cache_key="k" * 20_001), LARGE,
         "state.details.cache_key"),
    Case("key with a zero", methods.PROPOSE_STATE, _details(v1.COMPLETED, cache_key=NUL), BAD,
         "state.details.cache_key"),
    Case("child no UUID", methods.PROPOSE_STATE, _details(v1.RUNNING, child_flow_run_id="x"), MALFORMED,
         "state.details.child_flow_run_id"),
    Case("transaction no UUID", methods.PROPOSE_STATE, _details(v1.COMPLETED, transaction_run_id="x"), MALFORMED,
         "state.details.transaction_run_id"),
    Case("rolled back and RUNNING", methods.PROPOSE_STATE, _details(v1.RUNNING, rolled_back=True), BAD,
         "state.details.rolled_back"),
    Case("large result", methods.PROPOSE_STATE,
         _state(type=v1.COMPLETED, result=v1.Result(inline=b"x" * 65_537)), LARGE, "state.result.inline"),
    Case("inline result of another size", methods.PROPOSE_STATE,
         _state(type=v1.COMPLETED, result=v1.Result(inline=b"xy", size_bytes=3)), BAD, "state.result.size_bytes"),
    Case("reference to nothing", methods.PROPOSE_STATE,
         _state(type=v1.COMPLETED, result=v1.Result(reference=v1.ResultReference(sha256=bytes(32)))), MISSING,
         "state.result.reference.url"),
    Case("reference without digest", methods.PROPOSE_STATE,
         _state(type=v1.COMPLETED, result=v1.Result(reference=v1.ResultReference(url="file:///x", sha256=b"1"))), BAD,
         "state.result.reference.sha256"),
]  # fmt: skip

RUNS = [
    Case("no flow name", methods.REGISTER_FLOW, lambda world: v1.RegisterFlowRequest(
        request_id=world.ids.new_id(), flow_id=world.ids.new_id()), MISSING, "name"),
    Case("flow name of two lines", methods.REGISTER_FLOW, lambda world: v1.RegisterFlowRequest(
        request_id=world.ids.new_id(), flow_id=world.ids.new_id(), name="a\nb"), BAD, "name"),
    Case("flow id taken by a run", methods.REGISTER_FLOW, lambda world: v1.RegisterFlowRequest(
        request_id=world.ids.new_id(), flow_id=world.flow_run_id, name="another"), TAKEN),
    Case("no spec", methods.CREATE_FLOW_RUN, lambda world: v1.CreateFlowRunRequest(
        request_id=world.ids.new_id()), MISSING, "spec"),
    Case("no spec of a task run", methods.CREATE_TASK_RUN, lambda world: v1.CreateTaskRunRequest(
        request_id=world.ids.new_id()), MISSING, "spec"),
    Case("unknown flow", methods.CREATE_FLOW_RUN, _spec(flow_id=UNKNOWN_ID), GONE),
    Case("no id", methods.CREATE_FLOW_RUN, _spec(id=""), MISSING, "spec.id"),
    Case("id of another run", methods.CREATE_FLOW_RUN, lambda world: _spec(id=world.flow_run_id)(world), TAKEN),
    Case("id of a flow", methods.CREATE_FLOW_RUN, lambda world: _spec(id=world.flow_id)(world), TAKEN),
    Case("unknown parent", methods.CREATE_FLOW_RUN, _spec(parent_task_run_id=UNKNOWN_ID), GONE),
    Case("begins RUNNING", methods.CREATE_FLOW_RUN, _spec(state=v1.State(type=v1.RUNNING)), BAD, "spec.state.type"),
    Case("begins with a result", methods.CREATE_FLOW_RUN, _spec(
        state=v1.State(type=v1.PENDING, result=v1.Result(inline=b"1"))), BAD, "spec.state.result"),
    Case("input of no run", methods.PROPOSE_STATE, _task_proposal(inputs={"x": v1.TaskInputs(inputs=[v1.TaskInput()])}),
         MISSING, "create_task_run.inputs['x'].inputs[0].source"),
    Case("many inputs that are none", methods.PROPOSE_STATE, _task_proposal(
        inputs={str(n): v1.TaskInputs() for n in range(1_001)}), LARGE, "create_task_run.inputs"),
    Case("begins with input", methods.CREATE_FLOW_RUN, _spec(
        state=v1.State(type=v1.SCHEDULED, details=v1.StateDetails(run_input=b"{}"))), BAD,
        "spec.state.details.run_input"),
    Case("large parameters", methods.CREATE_FLOW_RUN, _spec(parameters=b"1" * 524_289), LARGE, "spec.parameters"),
    Case("many tags", methods.CREATE_FLOW_RUN, _spec(tags=["t"] * 101), LARGE, "spec.tags"),
    Case("empty tag", methods.CREATE_FLOW_RUN, _spec(tags=["a", ""]), BAD, "spec.tags[1]"),
    Case("tag with line feed", methods.CREATE_FLOW_RUN, _spec(tags=["a\nb"]), BAD, "spec.tags[0]"),
    Case("long tag", methods.CREATE_FLOW_RUN, _spec(tags=["t" * 201]), LARGE, "spec.tags[0]"),
    Case("key with a zero", methods.CREATE_FLOW_RUN, _spec(idempotency_key=NUL), BAD, "spec.idempotency_key"),
    Case("long key", methods.CREATE_FLOW_RUN, _spec(idempotency_key="k" * 2_001), LARGE, "spec.idempotency_key"),
    Case("many retries", methods.CREATE_FLOW_RUN, _spec(retry=v1.RetryPolicy(retries=1_000_001)), BAD,
         "spec.retry.retries"),
    Case("many delays", methods.CREATE_FLOW_RUN, _spec(retry=v1.RetryPolicy(delays_s=[1] * 51)), LARGE,
         "spec.retry.delays_s"),
    Case("NaN delay", methods.CREATE_FLOW_RUN, _spec(retry=v1.RetryPolicy(delays_s=[1, math.nan])), BAD,
         "spec.retry.delays_s[1]"),
    Case("infinite delay", methods.CREATE_FLOW_RUN, _spec(retry=v1.RetryPolicy(delays_s=[math.inf])), BAD,
         "spec.retry.delays_s[0]"),
    Case("negative delay", methods.CREATE_FLOW_RUN, _spec(retry=v1.RetryPolicy(delays_s=[-1])), BAD,
         "spec.retry.delays_s[0]"),
    Case("NaN jitter", methods.CREATE_FLOW_RUN, _spec(retry=v1.RetryPolicy(jitter_factor=math.nan)), BAD,
         "spec.retry.jitter_factor"),
    Case("no task key", methods.PROPOSE_STATE, _task_proposal(task_key=""), MISSING, "create_task_run.task_key"),
    Case("no dynamic key", methods.PROPOSE_STATE, _task_proposal(dynamic_key=""), MISSING,
         "create_task_run.dynamic_key"),
    Case("long version", methods.PROPOSE_STATE, _task_proposal(task_version="v" * 501), LARGE,
         "create_task_run.task_version"),
    Case("many tags of a task run", methods.PROPOSE_STATE, _task_proposal(tags=["t"] * 101), LARGE,
         "create_task_run.tags"),
    Case("task key of two lines", methods.PROPOSE_STATE, _task_proposal(task_key="a\nb"), BAD,
         "create_task_run.task_key"),
    Case("task key of spaces", methods.PROPOSE_STATE, _task_proposal(task_key="  "), BAD, "create_task_run.task_key"),
    Case("dynamic key with an escape", methods.PROPOSE_STATE, _task_proposal(dynamic_key="\x1b[1m"), BAD,
         "create_task_run.dynamic_key"),
    Case("zero in a key", methods.PROPOSE_STATE, _task_proposal(task_key=NUL), BAD, "create_task_run.task_key"),
    Case("id that its keys do not give", methods.PROPOSE_STATE, _task_proposal(id=UNKNOWN_ID), BAD,
         "create_task_run.id"),
    Case("unknown flow run", methods.PROPOSE_STATE, _task_proposal(flow_run_id=UNKNOWN_ID), GONE),
    Case("input no UUID", methods.PROPOSE_STATE, _task_proposal(
        inputs={"x": v1.TaskInputs(inputs=[v1.TaskInput(task_run_id="1")])}), MALFORMED,
        "create_task_run.inputs['x'].inputs[0].task_run_id"),
    Case("nothing to change", methods.UPDATE_RUN, lambda world: v1.UpdateRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id), MISSING, "name"),
    Case("empty name", methods.UPDATE_RUN, lambda world: v1.UpdateRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, name=""), BAD, "name"),
    Case("renamed after another version", methods.UPDATE_RUN, lambda world: v1.UpdateRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, name="n", expected_version=0), MOVED),
    Case("negative pause", methods.PAUSE_FLOW_RUN, lambda world: v1.PauseFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, timeout=Duration(seconds=-1)), BAD, "timeout"),
    Case("endless pause", methods.PAUSE_FLOW_RUN, lambda world: v1.PauseFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, timeout=HUGE), BAD, "timeout"),
    Case("pause beyond all times", methods.PAUSE_FLOW_RUN, lambda world: v1.PauseFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, timeout=Duration(seconds=315_000_000_000)), BAD,
        "timeout"),
    Case("no pause", methods.PAUSE_FLOW_RUN, lambda world: v1.PauseFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, timeout=Duration()), BAD, "timeout"),
    Case("long pause key", methods.PAUSE_FLOW_RUN, lambda world: v1.PauseFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, pause_key="k" * 501), LARGE, "pause_key"),
    Case("pause key with a tab", methods.PAUSE_FLOW_RUN, lambda world: v1.PauseFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, pause_key="a\tb"), BAD, "pause_key"),
    Case("paused for no schema", methods.PAUSE_FLOW_RUN, lambda world: v1.PauseFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, run_input_schema=b"[]"), BAD,
        "run_input_schema"),
    Case("paused for a large schema", methods.PAUSE_FLOW_RUN, lambda world: v1.PauseFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, run_input_schema=b" " * 65_537), LARGE,
        "run_input_schema"),
    Case("resumed with no JSON", methods.RESUME_FLOW_RUN, lambda world: v1.ResumeFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, run_input=b"{"), BAD, "run_input"),
    Case("resumed nothing", methods.RESUME_FLOW_RUN, lambda world: v1.ResumeFlowRunRequest(
        request_id=world.ids.new_id(), flow_run_id=UNKNOWN_ID), GONE),
    Case("no lease token", methods.RENEW_LEASE, lambda world: v1.RenewLeaseRequest(
        flow_run_id=world.flow_run_id), MISSING, "lease_token"),
    Case("lease that never was", methods.RENEW_LEASE, lambda world: v1.RenewLeaseRequest(
        flow_run_id=world.flow_run_id, lease_token=2**64 - 1), GONE),
    Case("limit of no kind", methods.SET_CONCURRENCY_LIMIT, lambda world: v1.SetConcurrencyLimitRequest(
        request_id=world.ids.new_id(), limit="t", slots=1), BAD, "limit"),
    Case("limit of a deployment that is no UUID", methods.SET_CONCURRENCY_LIMIT, lambda world:
        v1.SetConcurrencyLimitRequest(request_id=world.ids.new_id(), limit="deployment:1", slots=1), MALFORMED,
        "limit"),
    Case("no limit", methods.SET_CONCURRENCY_LIMIT, lambda world: v1.SetConcurrencyLimitRequest(
        request_id=world.ids.new_id(), slots=1), MISSING, "limit"),
    Case("slots without end", methods.SET_CONCURRENCY_LIMIT, lambda world: v1.SetConcurrencyLimitRequest(
        request_id=world.ids.new_id(), limit="tag:t", slots=2**32 - 1), BAD, "slots"),
    Case("unknown way of being full", methods.SET_CONCURRENCY_LIMIT, lambda world: v1.SetConcurrencyLimitRequest(
        request_id=world.ids.new_id(), limit="tag:t", slots=1, on_full=7), UNKNOWN, "on_full"),  # type: ignore[arg-type] # the point of it
    Case("full, of a limit removed", methods.SET_CONCURRENCY_LIMIT, lambda world: v1.SetConcurrencyLimitRequest(
        request_id=world.ids.new_id(), limit="tag:t", on_full=v1.ENQUEUE), BAD, "on_full"),
    Case("limit that is not there", methods.SET_CONCURRENCY_LIMIT, lambda world: v1.SetConcurrencyLimitRequest(
        request_id=world.ids.new_id(), limit="tag:nobody"), GONE),
    Case("no slots of a named limit", methods.PROPOSE_STATE, _task_proposal(slots={"db": 0}), BAD,
         "create_task_run.slots['db']"),
    Case("slots beyond the bound", methods.PROPOSE_STATE, _task_proposal(slots={"db": 1_000_001}), BAD,
         "create_task_run.slots['db']"),
    Case("slots of a flow run beyond the bound", methods.CREATE_FLOW_RUN, _spec(slots={"db": 1_000_001}), BAD,
         "spec.slots['db']"),
    Case("slots of a limit of two lines", methods.PROPOSE_STATE, _task_proposal(slots={"a\nb": 1}), BAD,
         r"create_task_run.slots['a\nb']"),
    Case("slots of a limit without a name", methods.PROPOSE_STATE, _task_proposal(slots={"": 1}), MISSING,
         "create_task_run.slots['']"),
    Case("slots of a limit with its kind", methods.PROPOSE_STATE, _task_proposal(slots={"name:db": 1}), BAD,
         "create_task_run.slots['name:db']"),
    Case("slots of a tag's limit", methods.CREATE_FLOW_RUN, _spec(slots={"tag:db": 1}), BAD, "spec.slots['tag:db']"),
    Case("slots of a deployment's limit", methods.PROPOSE_STATE, _task_proposal(slots={"deployment:x": 1}), BAD,
         "create_task_run.slots['deployment:x']"),
    Case("many named limits", methods.PROPOSE_STATE, _task_proposal(slots={str(n): 1 for n in range(21)}), LARGE,
         "create_task_run.slots"),
]  # fmt: skip

LIST, COUNT = methods.LIST_FLOW_RUNS, methods.COUNT_FLOW_RUNS
BEYOND = exceptions.RevisionNotReached

READS = [
    Case("nothing asked for", methods.GET_FLOW, _plain(v1.GetFlowRequest()), MISSING, "flow"),
    Case("no such name", methods.GET_FLOW, _plain(v1.GetFlowRequest(name="nobody")), GONE),
    Case("name with a zero", methods.GET_FLOW, _plain(v1.GetFlowRequest(name=NUL)), BAD, "name"),
    Case("part of a name with a zero", LIST, _filtered(name_like=NUL), BAD, "filter.name_like"),
    Case("flow name with a zero", LIST, _filtered(flow_names=["a", NUL]), BAD, "filter.flow_names[1]"),
    Case("state name with a zero", LIST, _filtered(state=v1.StateFilter(names=[NUL])), BAD, "filter.state.names[0]"),
    Case("empty tag", LIST, _filtered(tags=v1.TagFilter(any=["a", ""])), BAD, "filter.tags.any[1]"),
    Case("tag with a zero", LIST, _filtered(tags=v1.TagFilter(none=[NUL])), BAD, "filter.tags.none[0]"),
    Case("id no UUID", methods.GET_TASK_RUN, _plain(v1.GetTaskRunRequest(task_run_id="x")), MALFORMED, "task_run_id"),
    Case("beyond the head", LIST, _plain(v1.ListFlowRunsRequest(read_at=v1.ReadAt(revision=2**64 - 1))), BEYOND),
    Case("before its creation", methods.GET_FLOW_RUN, lambda world: v1.GetFlowRunRequest(
        flow_run_id=world.flow_run_id, read_at=v1.ReadAt(revision=1)), GONE),
    Case("at no time", LIST, _plain(v1.ListFlowRunsRequest(read_at=v1.ReadAt(time=NO_TIME))), BAD, "read_at.time"),
    Case("large page", LIST, _plain(v1.ListFlowRunsRequest(page_size=1_001)), LARGE, "page_size"),
    Case("largest page", LIST, _plain(v1.ListFlowRunsRequest(page_size=2**32 - 1)), LARGE, "page_size"),
    Case("token of letters", LIST, _plain(v1.ListFlowRunsRequest(page_token="abc")), TOKEN, "page_token"),
    Case("token of no ASCII", LIST, _plain(v1.ListFlowRunsRequest(page_token="é")), TOKEN, "page_token"),
    Case("token of nests", LIST, _plain(v1.ListFlowRunsRequest(
        page_token=base64.urlsafe_b64encode(b"[" * 100_000).decode())), TOKEN, "page_token"),
    Case("token of a map", LIST, _plain(v1.ListFlowRunsRequest(page_token=_token({"a": 1}))), TOKEN, "page_token"),
    Case("token of another request", LIST, _plain(v1.ListFlowRunsRequest(page_token=_token(["x", 1, 1]))), TOKEN,
         "page_token"),
    Case("unknown order", LIST, _plain(v1.ListFlowRunsRequest(order=9)), UNKNOWN, "order"),  # type: ignore[arg-type] # the point of it
    Case("unknown type", LIST, _filtered(
        state=v1.StateFilter(types=[v1.RUNNING, 99])), UNKNOWN, "filter.state.types[1]"),  # type: ignore[list-item] # the point of it
    Case("many ids", LIST, _filtered(ids=[UNKNOWN_ID] * 1_001), LARGE,
         "filter.ids"),
    Case("one id no UUID", LIST, _filtered(ids=[UNKNOWN_ID, "x"]),
         MALFORMED, "filter.ids[1]"),
    Case("times the wrong way round", LIST, _filtered(
        created=v1.TimeRange(**{"from": Timestamp(seconds=2), "until": Timestamp(seconds=1)})), BAD,
        "filter.created"),
    Case("narrow buckets", COUNT, _plain(v1.CountFlowRunsRequest(bucket_width=Duration(nanos=1))), BAD,
         "bucket_width"),
    Case("negative buckets", COUNT, _plain(v1.CountFlowRunsRequest(bucket_width=Duration(seconds=-1))), BAD,
         "bucket_width"),
    Case("endless buckets", COUNT, _plain(v1.CountFlowRunsRequest(bucket_width=HUGE)), BAD, "bucket_width"),
    Case("no run", methods.LIST_STATES, _plain(v1.ListStatesRequest()), MISSING, "run"),
    Case("unknown decision", methods.LIST_DECISIONS, lambda world: v1.ListDecisionsRequest(
        flow_run_id=world.flow_run_id, decisions=[88]), UNKNOWN, "decisions[0]"),  # type: ignore[list-item] # the point of it
    Case("no time", methods.GET_REVISION_AT, _plain(v1.GetRevisionAtRequest()), MISSING, "time"),
    Case("users of no limit", methods.LIST_SLOT_USERS, _plain(v1.ListSlotUsersRequest()), MISSING, "limit"),
    Case("users of a limit that is not there", methods.LIST_SLOT_USERS, _plain(
        v1.ListSlotUsersRequest(limit="tag:nobody")), GONE),
    Case("many limits", methods.LIST_CONCURRENCY_LIMITS, _plain(v1.ListConcurrencyLimitsRequest(page_size=1_001)),
         LARGE, "page_size"),
    Case("time out of range", methods.GET_REVISION_AT, _plain(v1.GetRevisionAtRequest(time=TOO_LATE)), BAD, "time"),
]  # fmt: skip

FIND, EXPLAIN = methods.FIND_DECISIONS, methods.EXPLAIN_RUN
BACKWARDS = v1.TimeRange(**{"from": Timestamp(seconds=2), "until": Timestamp(seconds=1)})

AUDIT = [
    Case("run no UUID", FIND, _audited(run_ids=[UNKNOWN_ID, "x"]), MALFORMED, "filter.run_ids[1]"),
    Case("many runs", FIND, _audited(run_ids=[UNKNOWN_ID] * 1_001), LARGE, "filter.run_ids"),
    Case("flow run no UUID", FIND, _audited(within_flow_run_ids=["x"]), MALFORMED, "filter.within_flow_run_ids[0]"),
    Case("many flow runs", FIND, _audited(within_flow_run_ids=[UNKNOWN_ID] * 1_001), LARGE,
         "filter.within_flow_run_ids"),
    Case("empty id of a flow", FIND, _audited(flow_ids=[""]), MISSING, "filter.flow_ids[0]"),
    Case("flow name with a zero", FIND, _audited(flow_names=[NUL]), BAD, "filter.flow_names[0]"),
    Case("tag with a zero", FIND, _audited(tags=v1.TagFilter(all=["a", NUL])), BAD, "filter.tags.all[1]"),
    Case("tag with a line feed", FIND, _audited(tags=v1.TagFilter(any=["a\nb"])), BAD, "filter.tags.any[0]"),
    Case("many tags", FIND, _audited(tags=v1.TagFilter(none=["a"] * 101)), LARGE, "filter.tags.none"),
    Case("actor with a zero", FIND, _audited(actors=[NUL]), BAD, "filter.actors[0]"),
    Case("rule with a zero", FIND, _audited(rules=["a", NUL]), BAD, "filter.rules[1]"),
    Case("unknown rule", FIND, _audited(rules=["RetryFailedTasks", "RetryFaildTasks"]), BAD, "filter.rules[1]"),
    Case("many rules", FIND, _audited(rules=["a"] * 1_001), LARGE, "filter.rules"),
    Case("unknown decision", FIND, _audited(decisions=[1, 88]), UNKNOWN, "filter.decisions[1]"),
    Case("no decision", FIND, _audited(decisions=[0]), UNKNOWN, "filter.decisions[0]"),
    Case("from an unknown state", FIND, _audited(from_types=[0, 99]), UNKNOWN, "filter.from_types[1]"),
    Case("to no state", FIND, _audited(to_types=[1, 0]), UNKNOWN, "filter.to_types[1]"),
    Case("recorded at no time", FIND, _audited(recorded=v1.TimeRange(until=NO_TIME)), BAD, "filter.recorded.until"),
    Case("recorded too late", FIND, _audited(recorded=v1.TimeRange(**{"from": TOO_LATE})), BAD, "filter.recorded.from"),
    Case("recorded backwards", FIND, _audited(recorded=BACKWARDS), BAD, "filter.recorded"),
    Case("revisions backwards", FIND, _audited(first_revision=3, last_revision=2), BAD, "filter.first_revision"),
    Case("beyond the head", FIND, _plain(v1.FindDecisionsRequest(read_at=v1.ReadAt(revision=2**63))), BEYOND),
    Case("unknown order", FIND, _plain(v1.FindDecisionsRequest(order=9)), UNKNOWN, "order"),  # type: ignore[arg-type] # the point of it
    Case("large page", FIND, _plain(v1.FindDecisionsRequest(page_size=1_001)), LARGE, "page_size"),
    Case("token of letters", FIND, _plain(v1.FindDecisionsRequest(page_token="abc")), TOKEN, "page_token"),
    Case("no run", EXPLAIN, _plain(v1.ExplainRunRequest()), MISSING, "run"),
    Case("flow run no UUID", EXPLAIN, _plain(v1.ExplainRunRequest(flow_run_id="x")), MALFORMED, "flow_run_id"),
    Case("empty id of a task run", EXPLAIN, _plain(v1.ExplainRunRequest(task_run_id="")), MISSING, "task_run_id"),
    Case("unknown run", EXPLAIN, _plain(v1.ExplainRunRequest(task_run_id=UNKNOWN_ID)), GONE),
    Case("a task run is no flow run", EXPLAIN, lambda world: v1.ExplainRunRequest(flow_run_id=world.task_run_id), GONE),
    Case("before its creation", EXPLAIN, lambda world: v1.ExplainRunRequest(
        flow_run_id=world.flow_run_id, read_at=v1.ReadAt(revision=1)), GONE),
    Case("many steps", EXPLAIN, lambda world: v1.ExplainRunRequest(
        flow_run_id=world.flow_run_id, steps_max=1_001), LARGE, "steps_max"),
]  # fmt: skip

SEND, DELETE, READ_INPUT, LIST_INPUTS = (
    methods.SEND_INPUT, methods.DELETE_INPUT, methods.READ_INPUT, methods.LIST_INPUTS
)  # fmt: skip


def _input(**fields: Any) -> Callable[[World], v1.SendInputRequest]:
    """An input for the flow run."""

    def request(world: World) -> v1.SendInputRequest:
        sent = {"request_id": world.ids.new_id(), "flow_run_id": world.flow_run_id, "key": "k", "value": b"{}"}
        return v1.SendInputRequest(**{**sent, **fields})

    return request


def _inputs(**fields: Any) -> Callable[[World], v1.ListInputsRequest]:
    return lambda world: v1.ListInputsRequest(**{"flow_run_id": world.flow_run_id, **fields})


INPUTS = [
    Case("no request id", SEND, _input(request_id=""), MISSING, "request_id"),
    Case("no run", SEND, _input(flow_run_id=""), MISSING, "flow_run_id"),
    Case("unknown run", SEND, _input(flow_run_id=UNKNOWN_ID), GONE),
    Case("a task run is no flow run", SEND, lambda world: _input(flow_run_id=world.task_run_id)(world), GONE),
    Case("no key", SEND, _input(key=""), MISSING, "key"),
    Case("key of two lines", SEND, _input(key="a\nb"), BAD, "key"),
    Case("key with a zero", SEND, _input(key=NUL), BAD, "key"),
    Case("long key", SEND, _input(key="k" * 501), LARGE, "key"),
    Case("no value", SEND, _input(value=b""), MISSING, "value"),
    Case("no JSON", SEND, _input(value=b"{"), BAD, "value"),
    Case("NaN", SEND, _input(value=b"NaN"), BAD, "value"),
    Case("deep nests", SEND, _input(value=b"[" * 33 + b"]" * 33), BAD, "value"),
    Case("large value", SEND, _input(value=b"1" * 65_537), LARGE, "value"),
    Case("sender of two lines", SEND, _input(sender="a\nb"), BAD, "sender"),
    Case("long sender", SEND, _input(sender="s" * 501), LARGE, "sender"),
    Case("no such input", DELETE, lambda world: v1.DeleteInputRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, key="none"), GONE),
    Case("no key", DELETE, lambda world: v1.DeleteInputRequest(
        request_id=world.ids.new_id(), flow_run_id=world.flow_run_id), MISSING, "key"),
    Case("no such input", READ_INPUT, lambda world: v1.ReadInputRequest(flow_run_id=world.flow_run_id, key="none"),
         GONE),
    Case("no key", READ_INPUT, lambda world: v1.ReadInputRequest(flow_run_id=world.flow_run_id), MISSING, "key"),
    Case("unknown run", READ_INPUT, _plain(v1.ReadInputRequest(flow_run_id=UNKNOWN_ID, key="k")), GONE),
    Case("unknown run", LIST_INPUTS, _inputs(flow_run_id=UNKNOWN_ID), GONE),
    Case("run no UUID", LIST_INPUTS, _inputs(flow_run_id="x"), MALFORMED, "flow_run_id"),
    Case("prefix of two lines", LIST_INPUTS, _inputs(key_prefix="a\nb"), BAD, "key_prefix"),
    Case("long prefix", LIST_INPUTS, _inputs(key_prefix="k" * 501), LARGE, "key_prefix"),
    Case("many keys excluded", LIST_INPUTS, _inputs(exclude_keys=["k"] * 1_001), LARGE, "exclude_keys"),
    Case("excluded key with a zero", LIST_INPUTS, _inputs(exclude_keys=["k", NUL]), BAD, "exclude_keys[1]"),
    Case("large page", LIST_INPUTS, _inputs(page_size=1_001), LARGE, "page_size"),
    Case("token of letters", LIST_INPUTS, _inputs(page_token="abc"), TOKEN, "page_token"),
    Case("beyond the head", LIST_INPUTS, _inputs(read_at=v1.ReadAt(revision=2**63)), BEYOND),
]  # fmt: skip

CASES = [*PROPOSALS, *DETAILS, *RUNS, *READS, *AUDIT, *INPUTS]
