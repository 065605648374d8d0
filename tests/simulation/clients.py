"""The simulated clients: each is a script, a generator that yields requests to send and microseconds to sleep.

    answer = yield "propose_state", request      the answer, or the PlayheadError that came instead
    yield 5 * SECOND_US                          five seconds of the client's life

A client does not see what happens between: the request may have been lost, doubled, or sent again.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.exceptions import PlayheadError
from playhead.journal.encoding import SECOND_US, micros_of, text_of, timestamp
from playhead.journal.record import Caller
from tests.simulation.model import TERMINAL, Model

Doing: TypeAlias = Generator[Any, Any, Any]

FLOW_NAMES = ("etl", "ml", "report")
TASK_KEYS = ("load", "clean", "train")
TAGS = ("a", "a b")
CACHE_KEYS = ("k1", "k1", "k1", "k2")
PAUSE_KEYS = ("", "ask", "approve")
ASKED = {
    b'{"type": "integer", "minimum": 3}': (b"3", b"40"),
    b'{"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}': (b'{"ok": true}',),
}
"""What a pause may ask for, and of what is brought here, all that fits."""
BROUGHT = (b"2", b"3", b"40", b'"3"', b"{}", b'{"ok": 1}', b'{"ok": true}', b"null")
DEPLOYMENTS = (str(uuid.UUID(int=71)), str(uuid.UUID(int=72)))
LIMITS = ("tag:a", "tag:a b", "name:db", f"deployment:{DEPLOYMENTS[0]}")
STATE_TYPES = [value for value in v1.StateType.values() if value]
STATE_NAMES = {
    v1.SCHEDULED: ("", "", "Scheduled", "Late", "AwaitingRetry"),
    v1.PENDING: ("", "Submitting"),
    v1.RUNNING: ("", "Retrying"),
}
TAKE_TURNS_MAX = 4
"""How often a client waits as it is told to before it gives up."""


class Client:
    """Who a script is: its name, its chance, what it knows of, and words for what it sends."""

    def __init__(self, number: int, kind: str, chance: random.Random, model: Model, now: Callable[[], int]) -> None:
        self.name = f"{kind}-{number}"
        self.caller = Caller(f"{self.name}@simulation", "simulation/1.0")
        self.chance = chance
        self.model = model
        self.now = now
        self.minded: str | None = None
        """The run that was proposed for last."""

    def an_id(self) -> str:
        """A new id."""
        return text_of(self.chance.getrandbits(128).to_bytes(16, "big"))

    def some(self, often: float) -> bool:
        """True so often."""
        return self.chance.random() < often

    def a_while(self, least_s: float = 0.1, most_s: float = 60.0) -> int:
        """Microseconds, short times as likely as long ones."""
        return int(least_s * (most_s / least_s) ** self.chance.random() * SECOND_US)

    def flow_run(self) -> str | None:
        """A flow run that exists, most often one of the newest."""
        return self._one_of([run.id for run in self.model.flow_runs()])

    def paused_run(self) -> str | None:
        """A flow run that is paused, if one is."""
        paused = [run.id for run in self.model.flow_runs() if run.status.state.type == v1.PAUSED]
        return self._one_of(paused) or self.flow_run()

    def task_run(self) -> str | None:
        """A task run that exists."""
        return self._one_of([run.id for run in self.model.task_runs()])

    def _one_of(self, ids: list[str]) -> str | None:
        newest = ids[-3:] if self.some(0.6) else ids
        return self.chance.choice(newest) if newest else None

    def propose(self, state: v1.State, **fields: Any) -> tuple[str, Any]:
        """A proposal under a new request id."""
        return "propose_state", v1.ProposeStateRequest(request_id=self.an_id(), state=state, **fields)

    def retry(self) -> v1.RetryPolicy | None:
        """How often and when what fails is tried again."""
        if self.some(0.4):
            return None
        delays: list[float] = self.chance.choice([[], [0], [1.5], [5, 60], [0.2, 600, 3600]])
        return v1.RetryPolicy(
            retries=self.chance.choice([0, 1, 1, 2, 5]), delays_s=delays, jitter_factor=self.chance.choice([0, 0, 0.5])
        )

    def lease(self) -> Duration:
        """The length of a lease."""
        return Duration(seconds=self.chance.choice([1, 5, 30, 60]))

    def flow_run_spec(self, flow_id: str, **fields: Any) -> v1.FlowRunSpec:
        """A new flow run."""
        spec = v1.FlowRunSpec(id=self.an_id(), flow_id=flow_id, retry=self.retry(), tags=self.tags(), **fields)
        if self.some(0.5) and not spec.deployment_id:
            spec.deployment_id = self.chance.choice(DEPLOYMENTS)
        if self.some(0.4):
            spec.slots["db"] = self.chance.choice([1, 1, 2])
        if self.some(0.2):
            spec.idempotency_key = self.chance.choice(["monday", "tuesday"])
        if self.some(0.2):
            spec.state.CopyFrom(self.scheduled() if self.some(0.5) else v1.State(type=v1.PENDING))
        return spec

    def task_run_spec(self, flow_run_id: str, task_key: str, call: int) -> v1.TaskRunSpec:
        """A task run of a call in a flow run."""
        spec = v1.TaskRunSpec(
            flow_run_id=flow_run_id, task_key=task_key, dynamic_key=str(call), retry=self.retry(), tags=self.tags()
        )
        if self.some(0.4):
            spec.slots["db"] = self.chance.choice([1, 1, 2])
        if self.some(0.2):
            spec.state.CopyFrom(v1.State(type=v1.PENDING))
        return spec

    def tags(self) -> list[str]:
        """Some tags, in any order."""
        return self.chance.sample(TAGS, self.chance.choice([0, 1, 1, 2]))

    def scheduled(self) -> v1.State:
        """SCHEDULED, some time from now or a while ago."""
        state = v1.State(type=v1.SCHEDULED)
        if self.some(0.8):
            due = self.now() + self.chance.choice([-1, 1, 1, 1]) * self.a_while(0.1, 3_600)
            state.details.scheduled_time.CopyFrom(timestamp(due))
        return state

    def question(self) -> bytes:
        """The schema of what a pause asks for; most ask for nothing."""
        return self.chance.choice(list(ASKED)) if self.some(0.4) else b""

    def resume(self, flow_run_id: str) -> tuple[str, Any]:
        """A resume, often with what the pause asks for."""
        request = v1.ResumeFlowRunRequest(request_id=self.an_id(), flow_run_id=flow_run_id)
        asked = self.model.runs[flow_run_id].status.state.details.run_input_schema
        if self.some(0.4):
            request.run_input = self.chance.choice(ASKED[asked]) if asked else b""
        elif self.some(0.6):
            request.run_input = self.chance.choice(BROUGHT)
        return "resume_flow_run", request

    def result(self) -> v1.Result:
        """A stored result, different each time."""
        return v1.Result(inline=self.chance.randbytes(4), media_type="application/json", size_bytes=4)


# Workers run flows, as the SDK does.


def worker(me: Client) -> Doing:
    """Runs flows: new ones, or those that somebody left."""
    while True:
        flow_run_id = me.flow_run() if me.some(0.4) else None
        if flow_run_id is not None:
            run: dict[str, Any] = {"flow_run_id": flow_run_id}
        else:
            flow_id = yield from registered(me)
            spec = me.flow_run_spec(flow_id) if flow_id else None
            if spec is None:
                continue
            if me.some(0.3):
                yield "create_flow_run", v1.CreateFlowRunRequest(request_id=me.an_id(), spec=spec)
            run = {"create_flow_run": spec}
        if me.some(0.3):
            yield me.propose(v1.State(type=v1.PENDING), **run)
        yield from run_a_flow(me, run)
        yield me.a_while()


def run_a_flow(me: Client, run: dict[str, Any], depth: int = 0) -> Doing:
    """Take a flow run's lease, run its body, report; again while it is tried again."""
    terms: dict[str, Any] = {"lease_ttl": me.lease()} if me.some(0.8) else {}
    answer = yield from settled(me, v1.State(type=v1.RUNNING), **run, **terms)
    while granted(answer):
        flow_run_id, token = answer.run_id, answer.lease_token
        if not (yield from body(me, flow_run_id, token, depth)):
            return
        outcome = v1.State(type=me.chance.choice([v1.COMPLETED, v1.COMPLETED, v1.FAILED]), message="reported")
        if outcome.type == v1.COMPLETED and me.some(0.5):
            outcome.result.CopyFrom(me.result())
        answer = yield me.propose(outcome, flow_run_id=flow_run_id, lease_token=token)
        if isinstance(answer, PlayheadError) or answer.state.type != v1.SCHEDULED:
            return
        yield until_due(me, answer.state)
        answer = yield from settled(me, v1.State(type=v1.RUNNING), flow_run_id=flow_run_id, lease_token=token, **terms)


def body(me: Client, flow_run_id: str, token: int, depth: int) -> Doing:
    """What a flow does: tasks, subflows, pauses, and word of its life between. False when it should stop."""
    for call in range(me.chance.choice([0, 1, 2, 3])):
        does = me.chance.choice(["task", "task", "task", "subflow", "pause"])
        if does == "task":
            yield from run_a_task(me, me.task_run_spec(flow_run_id, me.chance.choice(TASK_KEYS), call), token)
        elif does == "subflow" and depth == 0:
            yield from run_a_subflow(me, flow_run_id, call)
        elif does == "pause":
            yield from pause_and_wait(me, flow_run_id, token)
        if token and me.some(0.7):
            word = yield "renew_lease", v1.RenewLeaseRequest(flow_run_id=flow_run_id, lease_token=token)
            # One that was given up should stop; some do not notice, and report late.
            if isinstance(word, PlayheadError) and me.some(0.5):
                return False
    return True


def run_a_task(me: Client, spec: v1.TaskRunSpec, token: int) -> Doing:
    """Run one task: looked up in the cache, tried again when it fails."""
    running = v1.State(type=v1.RUNNING)
    key = me.chance.choice(CACHE_KEYS) if me.some(0.6) else ""
    running.details.cache_key, running.details.refresh_cache = key, bool(key) and me.some(0.2)
    answer = yield from settled(me, running, create_task_run=spec, lease_token=token)
    while granted(answer):
        if me.some(0.7):
            yield me.a_while(0.01, 30)
        outcome = v1.State(type=me.chance.choice([v1.COMPLETED, v1.COMPLETED, v1.FAILED, v1.CRASHED]))
        if outcome.type == v1.COMPLETED:
            outcome.result.CopyFrom(me.result())
            outcome.details.cache_key = key
            if key and me.some(0.3):
                outcome.details.cache_expiration.CopyFrom(timestamp(me.now() + me.a_while(1, 3_600)))
        elif me.some(0.2):
            outcome.details.retriable = me.some(0.5)
        answer = yield me.propose(outcome, task_run_id=answer.run_id, lease_token=token)
        if isinstance(answer, PlayheadError) or answer.state.type != v1.SCHEDULED:
            return
        yield until_due(me, answer.state)
        answer = yield from settled(me, running, task_run_id=answer.run_id, lease_token=token)


def run_a_subflow(me: Client, flow_run_id: str, call: int) -> Doing:
    """Run a flow inside another, tracked by a task run of it."""
    tracking = me.task_run_spec(flow_run_id, "subflow", call)
    created = yield "create_task_run", v1.CreateTaskRunRequest(request_id=me.an_id(), spec=tracking)
    flow_id = yield from registered(me)
    if not isinstance(created, PlayheadError) and flow_id:
        spec = me.flow_run_spec(flow_id, parent_task_run_id=created.task_run.spec.id)
        yield from run_a_flow(me, {"create_flow_run": spec}, depth=1)


def head_of_a_family(me: Client) -> Doing:
    """Runs flows whose tasks and subflows are still at work when they end: they are cancelled, crash, or just die."""
    while True:
        flow_id = yield from registered(me)
        if not flow_id:
            continue
        answer = yield me.propose(
            v1.State(type=v1.RUNNING), create_flow_run=me.flow_run_spec(flow_id), lease_ttl=me.lease()
        )
        if granted(answer):
            yield from beget(me, answer.run_id, flow_id, depth=me.chance.choice([1, 1, 2]))
            yield from leave(me, answer.run_id, answer.lease_token)
        yield me.a_while(1, 600)


def beget(me: Client, flow_run_id: str, flow_id: str, depth: int) -> Doing:
    """Task runs and subflow runs of a flow run, begun and left as they are; nested so deep."""
    for call in range(me.chance.choice([1, 2, 3])):
        state = v1.State(type=me.chance.choice([v1.RUNNING, v1.RUNNING, v1.PENDING]))
        spec = me.task_run_spec(flow_run_id, me.chance.choice(TASK_KEYS), call)
        made = yield me.propose(state, create_task_run=spec)
        if isinstance(made, PlayheadError) or not depth or me.some(0.4):
            continue
        child = v1.FlowRunSpec(id=me.an_id(), flow_id=flow_id, parent_task_run_id=made.run_id)
        terms: dict[str, Any] = {"lease_ttl": me.lease()} if me.some(0.5) else {}
        answer = yield me.propose(v1.State(type=v1.RUNNING), create_flow_run=child, **terms)
        if granted(answer):
            yield from beget(me, child.id, flow_id, depth - 1)
            if me.some(0.2):
                pause = v1.PauseFlowRunRequest(
                    request_id=me.an_id(), flow_run_id=child.id, run_input_schema=me.question()
                )
                yield "pause_flow_run", pause


def leave(me: Client, flow_run_id: str, token: int) -> Doing:
    """End a flow run, whatever goes on in it; or say nothing more."""
    does = me.chance.choice(["nothing", "cancel", "cancel", "crash", "force", "complete"])
    if does == "cancel":
        yield "cancel_flow_run", v1.CancelFlowRunRequest(request_id=me.an_id(), flow_run_id=flow_run_id)
        if me.some(0.6):
            yield me.propose(v1.State(type=v1.CANCELLED), flow_run_id=flow_run_id, lease_token=token)
    elif does != "nothing":
        type_ = {"crash": v1.CRASHED, "force": v1.CANCELLED, "complete": v1.COMPLETED}[does]
        yield me.propose(v1.State(type=type_), flow_run_id=flow_run_id, lease_token=token, force=does == "force")


def pause_and_wait(me: Client, flow_run_id: str, token: int) -> Doing:
    """Pause in the process and look now and then whether it goes on."""
    request = v1.PauseFlowRunRequest(
        request_id=me.an_id(),
        flow_run_id=flow_run_id,
        pause_key=me.chance.choice(PAUSE_KEYS),
        run_input_schema=me.question(),
    )
    if me.some(0.6):
        request.timeout.CopyFrom(Duration(seconds=me.chance.choice([1, 30, 600])))
    yield "pause_flow_run", request
    for _ in range(me.chance.choice([0, 1, 3])):
        yield me.a_while(1, 300)
        run = me.model.runs[flow_run_id]
        if run.status.state.type != v1.PAUSED:
            break
        if me.some(0.4):
            yield me.resume(flow_run_id)


def asker(me: Client) -> Doing:
    """Runs flows that ask for input, and are answered by people who err."""
    while True:
        flow_id = yield from registered(me)
        if not flow_id:
            continue
        spec = me.flow_run_spec(flow_id)
        answer = yield from settled(me, v1.State(type=v1.RUNNING), create_flow_run=spec)
        if granted(answer):
            request = v1.PauseFlowRunRequest(
                request_id=me.an_id(),
                flow_run_id=answer.run_id,
                reschedule=me.some(0.3),
                run_input_schema=me.chance.choice(list(ASKED)),
            )
            yield "pause_flow_run", request
            for _ in range(4):
                yield me.a_while(0.1, 30)
                yield me.resume(answer.run_id)
        yield me.a_while()


def registered(me: Client) -> Doing:
    """The id of a flow that exists from now on; None when it could not be registered."""
    request = v1.RegisterFlowRequest(request_id=me.an_id(), flow_id=me.an_id(), name=me.chance.choice(FLOW_NAMES))
    answer = yield "register_flow", request
    return None if isinstance(answer, PlayheadError) else answer.flow.id


def settled(me: Client, state: v1.State, **fields: Any) -> Doing:
    """Propose, and do as one is told while that is to wait."""
    for _ in range(TAKE_TURNS_MAX):
        answer = yield me.propose(state, **fields)
        if isinstance(answer, PlayheadError):
            return answer
        if answer.decision == v1.WAIT:
            yield answer.delay.seconds * SECOND_US
        elif answer.state.name == "AwaitingConcurrencySlot":
            yield until_due(me, answer.state)
        else:
            return answer
    return answer


def granted(answer: Any) -> bool:
    """Whether a run may be worked on."""
    return not isinstance(answer, PlayheadError) and answer.decision == v1.ACCEPT and answer.state.type == v1.RUNNING


def until_due(me: Client, state: v1.State) -> int:
    """Microseconds until a state is due; by some clients' clocks, less."""
    left_us = max(micros_of(state.details.scheduled_time) - me.now(), 0)
    return left_us // 2 if me.some(0.2) else left_us


# Others look after runs.


def operator(me: Client) -> Doing:
    """Pauses, suspends, resumes, cancels, renames: what people do."""
    while True:
        yield me.a_while(0.5, 120)
        flow_run_id = me.flow_run()
        if flow_run_id is None:
            continue
        request_id = me.an_id()
        does = me.chance.choice(["pause", "suspend", "resume", "resume", "cancel", "update", "update task", "start"])
        if does in ("pause", "suspend"):
            yield (
                "pause_flow_run",
                v1.PauseFlowRunRequest(
                    request_id=request_id,
                    flow_run_id=flow_run_id,
                    reschedule=does == "suspend",
                    timeout=Duration(seconds=30) if me.some(0.5) else None,
                    pause_key=me.chance.choice(PAUSE_KEYS),
                    run_input_schema=me.question(),
                ),
            )
        elif does == "resume":
            yield me.resume(me.paused_run() or flow_run_id)
        elif does == "cancel":
            yield "cancel_flow_run", v1.CancelFlowRunRequest(request_id=request_id, flow_run_id=flow_run_id)
        elif does == "start":
            yield me.propose(me.scheduled(), flow_run_id=flow_run_id)
        else:
            yield from rename(me, me.task_run() if does == "update task" else flow_run_id)


def keeper(me: Client) -> Doing:
    """Sets concurrency limits at first, and changes them now and then."""
    for _ in range(3):
        yield "set_concurrency_limit", limit(me)
    while True:
        yield me.a_while(1, 300)
        yield "set_concurrency_limit", limit(me)


def contender(me: Client) -> Doing:
    """Runs tasks outside flows that all want the same few slots."""
    while True:
        spec = v1.TaskRunSpec(id=me.an_id(), task_key="contender", tags=["a"] if me.some(0.8) else ["a b"])
        if me.some(0.3):
            spec.slots["db"] = 1
        if me.some(0.15):
            # It stands in line, and is gone when its turn comes.
            yield me.propose(v1.State(type=v1.RUNNING), create_task_run=spec)
            yield me.a_while(1, 300)
            continue
        answer = yield from settled(me, v1.State(type=v1.RUNNING), create_task_run=spec)
        if granted(answer):
            yield me.a_while(0.1, 10)
            yield me.propose(v1.State(type=v1.COMPLETED), task_run_id=spec.id)


def limit(me: Client) -> v1.SetConcurrencyLimitRequest:
    """A limit that is set, changed or removed."""
    request = v1.SetConcurrencyLimitRequest(request_id=me.an_id(), limit=me.chance.choice(LIMITS))
    if me.some(0.85):
        request.slots = me.chance.choice([0, 1, 1, 1, 1, 2, 2, 3])
        request.on_full = me.chance.choice([v1.ON_FULL_UNSPECIFIED, v1.ENQUEUE, v1.ENQUEUE, v1.CANCEL_NEW])
    return request


def rename(me: Client, run_id: str | None) -> Doing:
    """Give a run other tags, or another name, often only if it is as it was seen."""
    if run_id is None:
        return
    run = me.model.runs[run_id]
    request = v1.UpdateRunRequest(request_id=me.an_id())
    setattr(request, "task_run_id" if run.is_task else "flow_run_id", run_id)
    if me.some(0.6):
        request.tags.tags.extend(me.tags())
        request.tags.SetInParent()
    if me.some(0.5) or not request.HasField("tags"):
        request.name = me.chance.choice(["nightly", "Über Nacht", "50%_off/"])
    if me.some(0.5):
        request.expected_version = max(run.status.version + me.chance.choice([0, 0, 0, -1, 1]), 0)
    yield "update_run", request


def scheduler(me: Client) -> Doing:
    """Plans runs ahead, marks those late that nobody started, and hands them to a worker."""
    while True:
        flow_id = yield from registered(me)
        if flow_id:
            spec = me.flow_run_spec(flow_id, deployment_id=me.chance.choice(DEPLOYMENTS))
            spec.state.CopyFrom(me.scheduled())
            answer = yield "create_flow_run", v1.CreateFlowRunRequest(request_id=me.an_id(), spec=spec)
            if not isinstance(answer, PlayheadError):
                yield me.a_while(1, 600)
                run_id = answer.flow_run.spec.id
                if me.some(0.5):
                    yield me.propose(v1.State(type=v1.SCHEDULED, name="Late"), flow_run_id=run_id)
                yield from settled(me, v1.State(type=v1.PENDING), flow_run_id=run_id)
                yield from run_a_flow(me, {"flow_run_id": run_id})
        yield me.a_while(1, 600)


def meddler(me: Client) -> Doing:
    """Proposes anything for any run: any state, by force, for a version, under any lease, alone or many at once."""
    asked: list[tuple[str, Any]] = []
    while True:
        yield me.a_while(0.01, 30)
        if me.some(0.2):
            ask = one_of_a_crowd if me.some(0.3) else anything
            items = [
                v1.ProposeStatesItem(correlation_id=number, request=ask(me)[1])
                for number in range(me.chance.choice([1, 4, 8, 16]))
            ]
            yield "propose_states", v1.ProposeStatesRequest(items=items)
        elif asked and me.some(0.1):
            yield other_command(me, *me.chance.choice(asked))
        else:
            asked.append(anything(me))
            yield asked[-1]


def anything(me: Client) -> tuple[str, Any]:
    """A proposal that may make no sense."""
    run_id = me.minded
    if run_id is None or me.some(0.4):
        run_id = me.chance.choice([me.flow_run(), me.task_run(), me.flow_run(), None])
    me.minded = run_id
    run = me.model.runs.get(run_id) if run_id else None
    state = any_state(me)
    if run is None:
        known = list(me.model.flows.values())
        flow_id = me.chance.choice(known) if known and me.some(0.95) else me.an_id()
        parent = me.flow_run()
        if parent and me.some(0.5):
            spec = me.task_run_spec(parent, me.chance.choice(TASK_KEYS), me.chance.choice([0, 1, 2]))
            _, request = me.propose(state, create_task_run=spec)
        elif me.some(0.3):
            alone = v1.TaskRunSpec(id=me.an_id(), task_key="alone", retry=me.retry(), tags=me.tags())
            _, request = me.propose(state, create_task_run=alone)
        else:
            _, request = me.propose(state, create_flow_run=me.flow_run_spec(flow_id))
    else:
        # Now and then for a run of the other kind, which does not exist.
        kind = "task_run_id" if run.is_task is me.some(0.98) else "flow_run_id"
        _, request = me.propose(state, **{kind: run.id})
    terms(me, request, run.status if run else v1.RunStatus())
    if request.WhichOneof("run") in ("flow_run_id", "create_flow_run"):
        ask_or_bring(me, request.state)
    return "propose_state", request


def one_of_a_crowd(me: Client) -> tuple[str, Any]:
    """A proposal that meets its like in one transaction: under the same idempotency key or the same cache key."""
    flow_id = next(iter(me.model.flows.values()), None) or me.an_id()
    if me.some(0.5):
        spec = v1.FlowRunSpec(id=me.an_id(), flow_id=flow_id, idempotency_key=f"crowd {me.now() // (60 * SECOND_US)}")
        return me.propose(v1.State(type=v1.PENDING), create_flow_run=spec)
    state = v1.State(type=me.chance.choice([v1.RUNNING, v1.COMPLETED]))
    state.details.cache_key = "k1"
    return me.propose(state, create_task_run=v1.TaskRunSpec(id=me.an_id(), task_key="alone"))


def any_state(me: Client) -> v1.State:
    """A state of any type, with details that it may have."""
    type_ = me.chance.choice([*STATE_TYPES, v1.RUNNING, v1.RUNNING, v1.COMPLETED, v1.FAILED])
    state = me.scheduled() if type_ == v1.SCHEDULED else v1.State(type=type_)
    state.name = me.chance.choice(STATE_NAMES.get(type_, ("",)))
    details = state.details
    if type_ in (v1.RUNNING, v1.COMPLETED) and me.some(0.5):
        details.cache_key = me.chance.choice([*CACHE_KEYS, *CACHE_KEYS, "ü" * 1_001])
        details.refresh_cache = type_ == v1.RUNNING and me.some(0.2)
    if type_ in TERMINAL and me.some(0.5):
        state.result.CopyFrom(me.result())
    if type_ == v1.PAUSED:
        details.pause_reschedule, details.pause_key = me.some(0.5), me.chance.choice(PAUSE_KEYS)
        if me.some(0.5):
            details.pause_timeout.CopyFrom(timestamp(me.now() + me.chance.choice([-1, 1]) * me.a_while()))
    return state


def terms(me: Client, request: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
    """By force, for a version, with a lease or under one, in any combination."""
    request.force = me.some(0.2)
    request.validate_only = me.some(0.05)
    request.if_lease_expired = me.some(0.05)
    if me.some(0.15):
        request.expected_version = max(status.version + me.chance.choice([0, 0, -1, 1]), 0)
    if me.some(0.2):
        request.lease_token = me.chance.choice([status.lease.token, max(status.lease.token - 1, 0), 7])
    if request.state.type == v1.RUNNING and me.some(0.5):
        request.lease_ttl.CopyFrom(me.lease())


def ask_or_bring(me: Client, state: v1.State) -> None:
    """Ask for input by a pause, or bring some, whether it was asked for or not."""
    if state.type == v1.PAUSED:
        state.details.run_input_schema = me.question()
    elif state.type in (v1.RUNNING, v1.SCHEDULED) and me.some(0.2):
        state.details.run_input = me.chance.choice(BROUGHT)


def other_command(me: Client, method: str, request: Any) -> tuple[str, Any]:
    """Another proposal under a request id that was used."""
    other = v1.ProposeStateRequest()
    other.CopyFrom(request)
    other.state.message = f"not what was asked for first {me.chance.random()}"
    return method, other


CLIENTS: dict[str, Callable[[Client], Doing]] = {
    "worker": worker,
    "operator": operator,
    "scheduler": scheduler,
    "keeper": keeper,
    "contender": contender,
    "family": head_of_a_family,
    "asker": asker,
    "meddler": meddler,
}
