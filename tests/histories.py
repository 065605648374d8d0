"""Random histories: commands of every kind, sent to a real orchestrator under a clock moved by hand.

The world is small, so that histories meet themselves: three flow runs, four task runs, few keys, names and tags. What a
history says may be refused, delayed or in error; that is part of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from google.protobuf.duration_pb2 import Duration
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead import v1
from playhead.call_ids import call_id
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.exceptions import PlayheadError
from playhead.journal.encoding import text_of, timestamp
from playhead.journal.record import Caller, Record
from tests.clocks import ManualClock
from tests.stores import NewStore, made

CALLERS = (Caller("ada", "tests/1.0"), Caller("grace", "tests/2.0", "00-trace-span-01"))

EXAMPLES = {"sqlite": 30, "postgres": 5}
STEPS_MAX = 30


def an_id(number: int) -> str:
    """The id of this number."""
    return str(uuid.UUID(int=number))


FLOWS = {"etl": an_id(1), "ml": an_id(2)}
NAMES = ("nightly", "Über Nacht", "50%_off/", "")
TAGS = ("a", "b", "A", "a b")
TASK_KEYS = ("load", "clean")
INPUT_KEYS = ("approval-1", "approval-2", "ünïcode")
LIMITS = ("tag:a", "name:db", f"deployment:{an_id(31)}")

FLOW_RUNS = (
    v1.FlowRunSpec(id=an_id(11), flow_id=FLOWS["etl"], name="nightly", tags=["a", "b"], parameters=b"{}"),
    v1.FlowRunSpec(
        id=an_id(12),
        flow_id=FLOWS["ml"],
        deployment_id=an_id(31),
        backfill_id=an_id(41),
        retry=v1.RetryPolicy(retries=1),
    ),
    v1.FlowRunSpec(
        id=an_id(13),
        flow_id=FLOWS["etl"],
        name="Über Nacht",
        forked_from_run_id=an_id(11),
        parent_task_run_id=text_of(call_id(uuid.UUID(an_id(11)).bytes, "load", "0")),
        state=v1.State(type=v1.SCHEDULED),
    ),
)
TASK_RUNS = (
    v1.TaskRunSpec(
        flow_run_id=an_id(11),
        task_key="load",
        dynamic_key="0",
        retry=v1.RetryPolicy(retries=2, delays_s=[0, 2], jitter_factor=0.5),
        slots={"db": 1},
    ),
    v1.TaskRunSpec(
        flow_run_id=an_id(11), task_key="load", dynamic_key="1", tags=["a"], state=v1.State(type=v1.PENDING)
    ),
    v1.TaskRunSpec(flow_run_id=an_id(12), task_key="clean", dynamic_key="0", name="50%_off/"),
    v1.TaskRunSpec(id=an_id(24), task_key="clean", tags=["A", "a b", "a"], slots={"db": 2}),
)
FLOW_RUN_IDS = tuple(spec.id for spec in FLOW_RUNS)
TASK_RUN_IDS = tuple(
    spec.id or text_of(call_id(uuid.UUID(spec.flow_run_id).bytes, spec.task_key, spec.dynamic_key))
    for spec in TASK_RUNS
)


@dataclass(frozen=True)
class Step:
    """One command, or the repetition of an earlier one. `together`: sent before the one before it is answered."""

    what: str
    run: int
    type: v1.StateType.ValueType
    name: str
    tags: tuple[str, ...]
    cache_key: str
    expires_s: float | None
    force: bool
    validate_only: bool
    expected_version: int | None
    leased: bool
    passed_us: int
    together: bool
    caller: int
    back: int


steps = st.builds(
    Step,
    what=st.sampled_from(
        ["propose"] * 12 + ["create", "update", "pause", "resume", "cancel", "again", "limit"] + ["input"] * 2
    ),
    run=st.sampled_from([0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 6]),
    type=st.sampled_from(
        [value for value in v1.StateType.values() if value] + [v1.RUNNING] * 10 + [v1.COMPLETED, v1.FAILED] * 4
    ),
    name=st.sampled_from(NAMES),
    tags=st.lists(st.sampled_from(TAGS), max_size=3, unique=True).map(tuple),
    cache_key=st.sampled_from(["", "k1", "k1", "k2"]),
    expires_s=st.sampled_from([None, None, 1.0, 60.0]),
    force=st.sampled_from([False] * 5 + [True]),
    validate_only=st.sampled_from([False] * 9 + [True]),
    expected_version=st.sampled_from([None] * 30 + [0, 1, 2, 3]),
    leased=st.booleans(),
    passed_us=st.sampled_from([0, 0, 1, 700_000, 3_000_000, -2_000_000]),
    together=st.booleans(),
    caller=st.integers(0, 1),
    back=st.integers(1, 30),
)
stories = st.lists(steps, min_size=1, max_size=STEPS_MAX) | st.lists(steps, min_size=STEPS_MAX, max_size=STEPS_MAX)


class Life:
    """A history being lived: an orchestrator, and what was sent to it with what came back."""

    def __init__(self, store: str) -> None:
        self.store = made(store)
        self.clock = ManualClock()
        self.sent: list[tuple[str, Any, Caller, object]] = []
        self._waiting: list[tuple[str, Any, Caller, Any]] = []
        self._numbers = iter(range(1_000, 1_000_000))
        self.orchestrator = self._open()
        for name, flow_id in FLOWS.items():
            self.send("register_flow", v1.RegisterFlowRequest(flow_id=flow_id, name=name), CALLERS[0])
        begin = v1.ProposeStateRequest(create_flow_run=FLOW_RUNS[0], state=v1.State(type=v1.RUNNING))
        self.send("propose_state", begin, CALLERS[0])
        self.settle()

    def _open(self) -> Orchestrator:
        return Orchestrator.open(self.store, clock=self.clock, timers=False)

    def live(self, story: Sequence[Step]) -> None:
        """Take the steps of a story."""
        for step in story:
            self.take(step)
        self.settle()

    def take(self, step: Step) -> None:
        """Take one step."""
        if not step.together:
            self.settle()
        self.clock.advance(step.passed_us)
        if step.what == "again" and len(self.sent) >= step.back:
            method, request, caller, _ = self.sent[-step.back]
            self.send(method, request, caller)
        else:
            self.send(*command_of(step), CALLERS[step.caller])

    def send(self, method: str, request: Any, caller: Caller) -> None:
        """Send a request; one that has no id yet gets one."""
        if not request.request_id:
            request.request_id = an_id(next(self._numbers))
        try:
            future = getattr(self.orchestrator.orchestration, method)(request, caller)
        except PlayheadError as error:
            self.sent.append((method, request, caller, error))
        else:
            self._waiting.append((method, request, caller, future))

    def settle(self) -> None:
        """Wait for all answers."""
        waiting, self._waiting = self._waiting, []
        for method, request, caller, future in waiting:
            error = future.exception(60)
            assert error is None or isinstance(error, PlayheadError), error
            self.sent.append((method, request, caller, error or future.result()))

    def records(self) -> list[Record]:
        """Every event."""
        return self.orchestrator.journal.read(1, self.head(), limit=100_000)

    def head(self) -> int:
        """The last revision."""
        return self.orchestrator.journal.head()[0]

    def reopen(self) -> None:
        """Close the database and open it again."""
        self.orchestrator.close()
        self.orchestrator = self._open()

    def __enter__(self) -> Life:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.orchestrator.close()


def over_histories(new_store: NewStore, check: Callable[[Life], None], examples: int | None = None) -> None:
    """Check something of many random histories, of fewer on PostgreSQL."""

    @settings(max_examples=examples or EXAMPLES[new_store.kind])
    @given(stories)
    def live_and_check(story: list[Step]) -> None:
        with Life(new_store()) as life:
            life.live(story)
            check(life)

    live_and_check()


def command_of(step: Step) -> tuple[str, Any]:
    """The service's method and the request of a step."""
    flow_run_id = FLOW_RUN_IDS[step.run % 3]
    if step.what == "create":
        if step.run < 3:
            return "create_flow_run", v1.CreateFlowRunRequest(spec=FLOW_RUNS[step.run])
        return "create_task_run", v1.CreateTaskRunRequest(spec=TASK_RUNS[step.run - 3])
    if step.what == "update":
        return "update_run", _update(step)
    if step.what == "pause":
        return "pause_flow_run", v1.PauseFlowRunRequest(flow_run_id=flow_run_id, reschedule=step.force)
    if step.what == "resume":
        return "resume_flow_run", v1.ResumeFlowRunRequest(flow_run_id=flow_run_id)
    if step.what == "cancel":
        return "cancel_flow_run", v1.CancelFlowRunRequest(flow_run_id=flow_run_id)
    if step.what == "limit":
        slots = step.expected_version if step.leased else step.run
        return "set_concurrency_limit", v1.SetConcurrencyLimitRequest(limit=LIMITS[step.back % 3], slots=slots)
    if step.what == "input":
        key = INPUT_KEYS[step.back % 3]
        if step.leased:
            return "delete_input", v1.DeleteInputRequest(flow_run_id=flow_run_id, key=key)
        return "send_input", v1.SendInputRequest(flow_run_id=flow_run_id, key=key, value=b"7", sender=step.name)
    return "propose_state", _proposal(step)


def _update(step: Step) -> v1.UpdateRunRequest:
    update = v1.UpdateRunRequest(tags=v1.TagList(tags=step.tags), expected_version=step.expected_version)
    if step.name:
        update.name = step.name
    if step.run < 3:
        update.flow_run_id = FLOW_RUN_IDS[step.run]
    else:
        update.task_run_id = TASK_RUN_IDS[step.run - 3]
    return update


def _proposal(step: Step) -> v1.ProposeStateRequest:
    state = v1.State(type=step.type, name=step.name[:2].strip("%"), message=step.name)
    request = v1.ProposeStateRequest(
        state=state, force=step.force, validate_only=step.validate_only, expected_version=step.expected_version
    )
    details = request.state.details
    if step.run < 3:
        request.create_flow_run.CopyFrom(FLOW_RUNS[step.run])
        if step.leased and step.type == v1.RUNNING:
            request.lease_ttl.CopyFrom(Duration(seconds=2))
    else:
        request.create_task_run.CopyFrom(TASK_RUNS[step.run - 3])
        if step.cache_key and step.type in (v1.RUNNING, v1.COMPLETED):
            details.cache_key = step.cache_key
            if step.type == v1.COMPLETED and step.expires_s is not None:
                details.cache_expiration.CopyFrom(timestamp(ManualClock().now_us + int(step.expires_s * 1_000_000)))
    if step.type == v1.COMPLETED:
        request.state.result.inline = step.name.encode()
    if step.type == v1.SCHEDULED and step.expires_s is not None:
        details.scheduled_time.CopyFrom(timestamp(ManualClock().now_us + int(step.expires_s * 1_000_000)))
    return request
