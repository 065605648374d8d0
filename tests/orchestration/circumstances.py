"""All that an answer to a proposal can depend on, as tables: the state before, the proposal, and what else matters.

    ROWS            the run before: what was proposed for it, most of it by force
    COLUMNS         what is proposed
    CIRCUMSTANCES   what else matters, each with its choices, the usual one first

transition_cases.py makes cases of these. Something new that matters is a new entry of CIRCUMSTANCES; a new fact about
runs is a field of `Run`, which `transition_cases.facts_of` tells the rules and `asking.World` tells the API.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.engine.orchestration.policy import Subject
from tests.orchestration.given import FLOW, STORED, TASK, at, state

START_S = -30
"""When runs were made, in seconds before the proposal."""

TOKEN = 1
"""Stands for the token of the run's lease, whatever it is."""

LATE_TOKEN = 1 << 40
LIMITS = {
    "free": v1.ConcurrencyLimit(limit="name:free", slots=1_000_000, on_full=v1.ENQUEUE),
    "taken": v1.ConcurrencyLimit(limit="name:taken", slots=1, on_full=v1.ENQUEUE),
    "taken for good": v1.ConcurrencyLimit(limit="name:taken for good", slots=1, on_full=v1.CANCEL_NEW),
    "closed": v1.ConcurrencyLimit(limit="name:closed", slots=0, on_full=v1.ENQUEUE),
}
"""Concurrency limits; those with one slot have given it to another run."""

CACHED_KEY = "k"
LONG_KEY = "k" * 2001


@dataclass
class Step:
    """Something that was proposed for a run, at START_S, and changed its state."""

    request: v1.ProposeStateRequest
    of_flow_run: bool = False
    """Of the flow run that the task run is in."""


@dataclass
class Run:
    """A run, and how it came to be as it is."""

    subject: Subject
    steps: list[Step]
    retries: int = 0
    on_crash: bool = False
    """Crashes are tried again too."""
    deployment: bool = True
    subflow: bool = False
    in_flow_run: bool = True
    """Of a task run."""
    limit: str = ""
    """It needs a slot of this one of LIMITS."""


@dataclass(frozen=True, eq=False)
class Choice:
    """One value of a circumstance: how a cell says it, and what it changes about the run or the proposal."""

    words: str = ""
    run: Callable[[Run], None] | None = None
    proposal: Callable[[v1.ProposeStateRequest], None] | None = None
    until: str = ""
    """How a cell says it of a WAIT."""
    not_rows: frozenset[str] = frozenset()
    """Where it cannot be."""
    takes_time: bool = False
    """It is only so some time after START_S."""


@dataclass(frozen=True)
class Circumstance:
    """Something that matters to the answers of some rows and columns; empty: of all."""

    choices: tuple[Choice, ...]
    rows: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()

    def chosen(self, row: str, column: str) -> list[Choice]:
        """What it can be there; the usual alone where it does not matter."""
        if (self.rows and row not in self.rows) or (self.columns and column not in self.columns):
            return [self.choices[0]]
        return [choice for choice in self.choices if row not in choice.not_rows]


# How runs come to be in a state.


def forced(proposed: v1.State) -> Step:
    """A state that the run was put in."""
    return Step(v1.ProposeStateRequest(state=proposed, force=True))


def of_flow_run(proposed: v1.State) -> Step:
    """A state that the task run's flow run was put in."""
    return Step(v1.ProposeStateRequest(state=proposed, force=True), of_flow_run=True)


def proposed(what: v1.State) -> Step:
    """A state that was proposed for the run without force."""
    return Step(v1.ProposeStateRequest(state=what))


def flow_run(*states: v1.State) -> Callable[[], Run]:
    """A flow run that went through these states."""
    return lambda: Run(FLOW, [forced(one) for one in states])


def task_run(*states: v1.State) -> Callable[[], Run]:
    """A task run, in a flow run that is RUNNING, that went through these states."""
    return lambda: Run(TASK, [of_flow_run(RUNNING), *(forced(one) for one in states)])


def held_task_run() -> Run:
    """A task run that its paused flow run held back, and which goes on now."""
    held = [of_flow_run(RUNNING), of_flow_run(state(v1.PAUSED)), forced(SCHEDULED), proposed(RUNNING)]
    return Run(TASK, [*held, of_flow_run(RUNNING)])


SCHEDULED = state(v1.SCHEDULED, scheduled_time=at(START_S - 1))
RUNNING = state(v1.RUNNING)
ENDED = {
    "COMPLETED": state(v1.COMPLETED),
    "COMPLETED, result stored": state(v1.COMPLETED, result=STORED),
    "FAILED": state(v1.FAILED),
    "CRASHED": state(v1.CRASHED),
    "CANCELLED": state(v1.CANCELLED),
}

ROWS: dict[Subject, dict[str, Callable[[], Run]]] = {
    FLOW: {
        "no state": flow_run(),
        "SCHEDULED": flow_run(SCHEDULED),
        "PENDING": flow_run(state(v1.PENDING)),
        "RUNNING": flow_run(RUNNING),
        "PAUSED": flow_run(RUNNING, state(v1.PAUSED)),
        "PAUSED, suspended": flow_run(RUNNING, state(v1.PAUSED, "Suspended", pause_reschedule=True)),
        "CANCELLING": flow_run(RUNNING, state(v1.CANCELLING)),
        **{row: flow_run(RUNNING, ended) for row, ended in ENDED.items()},
    },
    TASK: {
        "no state": task_run(),
        "SCHEDULED": task_run(SCHEDULED),
        "PENDING": task_run(state(v1.PENDING)),
        "RUNNING": task_run(RUNNING),
        "PAUSED": task_run(RUNNING, state(v1.PAUSED)),
        "PAUSED, NotReady": held_task_run,
        "CANCELLING": task_run(RUNNING, state(v1.CANCELLING)),
        **{row: task_run(RUNNING, ended) for row, ended in ENDED.items()},
    },
}
"""The run before, by what the table calls it."""

COLUMNS: dict[Subject, dict[str, v1.State]] = {
    FLOW: {
        "SCHEDULED": state(v1.SCHEDULED),
        "PENDING": state(v1.PENDING),
        "RUNNING": RUNNING,
        "PAUSED": state(v1.PAUSED, pause_key="key"),
        "PAUSED, suspending": state(v1.PAUSED, "Suspended", pause_reschedule=True),
        "CANCELLING": state(v1.CANCELLING),
        "COMPLETED": state(v1.COMPLETED),
        "FAILED": state(v1.FAILED),
        "CRASHED": state(v1.CRASHED),
        "CANCELLED": state(v1.CANCELLED),
    },
    TASK: {
        v1.StateType.Name(to_type): state(to_type)
        for to_type in (
            v1.SCHEDULED,
            v1.PENDING,
            v1.RUNNING,
            v1.PAUSED,
            v1.CANCELLING,
            v1.COMPLETED,
            v1.FAILED,
            v1.CRASHED,
            v1.CANCELLED,
        )
    },
}
"""The proposal, by what the table calls it."""


def own_steps(run: Run) -> list[Step]:
    """The steps of the run itself."""
    return [step for step in run.steps if not step.of_flow_run]


# What circumstances change.


def not_due(run: Run) -> None:
    """The run is due later."""
    step = next(step for step in run.steps if step.request.state.type in (v1.SCHEDULED, v1.PENDING))
    step.request.state.details.scheduled_time.CopyFrom(at(3600))


def named(name: str) -> Callable[[Run], None]:
    """The run's state has another name than its type's."""

    def change(run: Run) -> None:
        own_steps(run)[-1].request.state.name = name

    return change


def ran_before(run: Run) -> None:
    """The run was RUNNING once already."""
    run.steps.insert(run.steps.index(own_steps(run)[0]), forced(RUNNING))


def failed_before(run: Run) -> None:
    """The run awaits a retry."""
    named("AwaitingRetry")(run)
    ran_before(run)


def retries(run: Run) -> None:
    """One retry, and this was the first attempt."""
    run.retries = 1


def no_retries_left(run: Run) -> None:
    """One retry, and this was the second attempt."""
    retries(run)
    ran_before(run)


def crashes_retried(run: Run) -> None:
    """What retries there are serve for crashes too."""
    run.on_crash = True


def key_used(run: Run) -> None:
    """The run has paused under the key before."""
    run.steps[-1:] = [forced(RUNNING), forced(state(v1.PAUSED, pause_key="key")), run.steps[-1]]


def pause_ends(seconds: int) -> Callable[[Run], None]:
    """The pause has an end, seconds from now."""

    def change(run: Run) -> None:
        run.steps[-1].request.state.details.pause_timeout.CopyFrom(at(seconds))

    return change


def asks_for_input(run: Run) -> None:
    """The pause asks for a whole number."""
    run.steps[-1].request.state.details.run_input_schema = b'{"type": "integer"}'


def leased(ttl_s: int) -> Callable[[Run], None]:
    """The run was taken under a lease of so many seconds, START_S."""

    def change(run: Run) -> None:
        run.steps[0].request.lease_ttl.CopyFrom(Duration(seconds=ttl_s))

    return change


def awaits_retry(run: Run) -> None:
    """The process that holds the run's lease tries again later what failed in it."""
    run.steps = [forced(RUNNING), proposed(state(v1.FAILED))]
    run.retries = 1
    leased(3600)(run)


def no_deployment(run: Run) -> None:
    """Nothing would start the run again."""
    run.deployment = False


def subflow(run: Run) -> None:
    """The run has a parent."""
    run.subflow = True


def flow_run_goes_to(*states: v1.State) -> Callable[[Run], None]:
    """The flow run of the task run has gone on."""

    def change(run: Run) -> None:
        run.steps.extend(of_flow_run(one) for one in states)

    return change


def no_flow_run(run: Run) -> None:
    """The task run is by itself."""
    run.in_flow_run = False
    run.steps = [step for step in run.steps if not step.of_flow_run]


def needs_slot(limit: str) -> Callable[[Run], None]:
    """The run needs a slot of a limit."""

    def change(run: Run) -> None:
        run.limit = limit

    return change


def call_it(name: str) -> Callable[[v1.ProposeStateRequest], None]:
    """The proposed state has another name than its type's."""

    def change(request: v1.ProposeStateRequest) -> None:
        request.state.name = name

    return change


def with_result(request: v1.ProposeStateRequest) -> None:
    """The result is stored."""
    request.state.result.CopyFrom(STORED)


def with_input(run_input: bytes) -> Callable[[v1.ProposeStateRequest], None]:
    """The resume brings input."""

    def change(request: v1.ProposeStateRequest) -> None:
        request.state.details.run_input = run_input

    return change


def not_retriable(request: v1.ProposeStateRequest) -> None:
    """The failure is final."""
    request.state.details.retriable = False


def lost_worker(request: v1.ProposeStateRequest) -> None:
    """The crash was that of a worker, and asks for another attempt."""
    request.state.details.retriable = True


def under_lease(token: int) -> Callable[[v1.ProposeStateRequest], None]:
    """The proposer says under which lease it works."""

    def change(request: v1.ProposeStateRequest) -> None:
        request.lease_token = token

    return change


def ask_lease(request: v1.ProposeStateRequest) -> None:
    """The proposer wants a lease."""
    request.lease_ttl.CopyFrom(Duration(seconds=60))


def if_lapsed(request: v1.ProposeStateRequest) -> None:
    """The run is to be given up."""
    request.if_lease_expired = True


def cache_key(key: str, refresh: bool = False) -> Callable[[v1.ProposeStateRequest], None]:
    """The result is looked for, or kept, under a key."""

    def change(request: v1.ProposeStateRequest) -> None:
        request.state.details.cache_key = key
        if refresh:
            request.state.details.refresh_cache = True

    return change


def result_damaged(request: v1.ProposeStateRequest) -> None:
    """The stored result was found damaged."""
    request.state.details.damaged_result = hashlib.sha256(STORED.inline).digest()


USUAL = Choice()
DAMAGED = (Choice("unless with its damaged_result"), Choice("with its damaged_result", proposal=result_damaged))
"""Whether the run's stored result is said to be damaged."""

SLOTS = (
    USUAL,
    Choice("taking a slot", run=needs_slot("free")),
    Choice("while slots are taken", run=needs_slot("taken"), until="until slots are free"),
    Choice("with CANCEL_NEW while slots are taken", run=needs_slot("taken for good")),
    Choice("under too small a limit", run=needs_slot("closed")),
)
"""What a run needs of concurrency limits."""

LEASED_ROWS = frozenset({"RUNNING", "PAUSED", "CANCELLING"})
TO_RUNNING = frozenset({"RUNNING"})

CIRCUMSTANCES: dict[Subject, tuple[Circumstance, ...]] = {
    FLOW: (
        Circumstance((USUAL, Choice("asking for a lease", proposal=ask_lease)), columns=TO_RUNNING),
        Circumstance(
            (
                Choice("unless under its own lease"),
                Choice("under a lease that is not its own", proposal=under_lease(LATE_TOKEN)),
                Choice("under its own lease", proposal=under_lease(TOKEN)),
            )
        ),
        Circumstance(
            (
                Choice("while it has no lease"),
                Choice("while its lease lives", run=leased(3600), until="until its lease lapses"),
                Choice("once its lease has lapsed", run=leased(10), takes_time=True),
            ),
            rows=LEASED_ROWS,
        ),
        Circumstance((USUAL, Choice("with if_lease_expired", proposal=if_lapsed))),
        Circumstance((USUAL, Choice("without a deployment", run=no_deployment))),
        Circumstance((USUAL, Choice("of a subflow", run=subflow)), columns=frozenset({"PAUSED, suspending"})),
        Circumstance(
            (USUAL, Choice("while it is not due", run=not_due, until="until it is due")),
            rows=frozenset({"SCHEDULED", "PENDING"}),
        ),
        Circumstance(
            (
                Choice('named "Scheduled"'),
                Choice('named "Late"', run=named("Late")),
                Choice('named "Resuming"', run=named("Resuming")),
            ),
            rows=frozenset({"SCHEDULED"}),
        ),
        Circumstance(
            (USUAL, Choice("once its pause_timeout has passed", run=pause_ends(-1), takes_time=True)),
            rows=frozenset({"PAUSED", "PAUSED, suspended"}),
        ),
        Circumstance(
            (
                USUAL,
                Choice("with input nobody asked for", proposal=with_input(b"7")),
                Choice("without the input asked for", run=asks_for_input),
                Choice("with input that does not fit", run=asks_for_input, proposal=with_input(b"{}")),
                Choice("with the input asked for", run=asks_for_input, proposal=with_input(b"7")),
            ),
            rows=frozenset({"PAUSED", "PAUSED, suspended"}),
            columns=TO_RUNNING | {"SCHEDULED"},
        ),
        Circumstance(
            (USUAL, Choice("without the input asked for", run=asks_for_input)),
            rows=frozenset({"PAUSED", "PAUSED, suspended"}),
            columns=frozenset({"COMPLETED"}),
        ),
        Circumstance(
            (USUAL, Choice("with a pause_key used before", run=key_used)),
            rows=LEASED_ROWS - {"CANCELLING"},
            columns=frozenset({"PAUSED"}),
        ),
        Circumstance((USUAL, Choice('as "Late"', proposal=call_it("Late"))), columns=frozenset({"SCHEDULED"})),
        Circumstance(
            (Choice('unless as "Submitting"'), Choice('as "Submitting"', proposal=call_it("Submitting"))),
            columns=frozenset({"PENDING"}),
        ),
        Circumstance(DAMAGED, rows=frozenset({"COMPLETED, result stored"}), columns=TO_RUNNING),
        Circumstance(SLOTS, columns=TO_RUNNING | {"PENDING"}),
        Circumstance(SLOTS, rows=frozenset({"SCHEDULED"}), columns=frozenset({"SCHEDULED"})),
        Circumstance(
            (Choice("without a stored result"), Choice("with a stored result", proposal=with_result)),
            columns=frozenset({"COMPLETED"}),
        ),
        Circumstance(
            (
                USUAL,
                Choice("while retries are left", run=retries),
                Choice("when no retries are left", run=no_retries_left),
            ),
            rows=frozenset({"RUNNING", "PAUSED"}),
            columns=frozenset({"FAILED", "CRASHED"}),
        ),
        Circumstance(
            (USUAL, Choice("with on_crash", run=crashes_retried)),
            rows=frozenset({"RUNNING", "PAUSED"}),
            columns=frozenset({"CRASHED"}),
        ),
        Circumstance(
            (Choice("unless retriable = false"), Choice("with retriable = false", proposal=not_retriable)),
            columns=frozenset({"FAILED"}),
        ),
        Circumstance(
            (Choice("without a lease"), Choice("while it awaits a retry under its lease", run=awaits_retry)),
            rows=frozenset({"SCHEDULED"}),
            columns=frozenset({"CANCELLING"}),
        ),
    ),
    TASK: (
        Circumstance((USUAL, Choice("with if_lease_expired", proposal=if_lapsed))),
        Circumstance((USUAL, Choice("under a lease that is not its own", proposal=under_lease(LATE_TOKEN)))),
        Circumstance(
            (
                USUAL,
                Choice("under a PAUSED flow run", run=flow_run_goes_to(state(v1.PAUSED))),
                Choice("under a stopped flow run", run=flow_run_goes_to(state(v1.FAILED))),
                Choice("when its flow run was started again", run=flow_run_goes_to(state(v1.FAILED), RUNNING)),
                Choice("outside a flow run", run=no_flow_run, not_rows=frozenset({"PAUSED, NotReady"})),
            ),
        ),
        Circumstance(
            (USUAL, Choice("while it is not due", run=not_due, until="until it is due")),
            rows=frozenset({"SCHEDULED", "PENDING", "PAUSED, NotReady"}),
        ),
        Circumstance(
            (
                USUAL,
                Choice("when it ran before", run=ran_before),
                Choice('named "AwaitingRetry"', run=failed_before, not_rows=frozenset({"PENDING", "PAUSED, NotReady"})),
            ),
            rows=frozenset({"SCHEDULED", "PENDING", "PAUSED, NotReady"}),
        ),
        Circumstance(
            (
                USUAL,
                Choice("with a key over 2,000 bytes", proposal=cache_key(LONG_KEY)),
                Choice("with a cached key", proposal=cache_key(CACHED_KEY)),
            ),
            columns=TO_RUNNING,
        ),
        Circumstance(
            (USUAL, Choice("with a key over 2,000 bytes", proposal=cache_key(LONG_KEY))),
            columns=frozenset({"COMPLETED"}),
        ),
        Circumstance(DAMAGED, rows=frozenset({"COMPLETED, result stored"}), columns=TO_RUNNING),
        Circumstance(SLOTS, columns=TO_RUNNING | {"PENDING"}),
        Circumstance(
            (Choice("without a stored result"), Choice("with a stored result", proposal=with_result)),
            columns=frozenset({"COMPLETED"}),
        ),
        Circumstance(
            (
                USUAL,
                Choice("while retries are left", run=retries),
                Choice("when no retries are left", run=no_retries_left),
            ),
            rows=frozenset({"RUNNING"}),
            columns=frozenset({"FAILED", "CRASHED"}),
        ),
        Circumstance(
            (Choice("unless retriable = false"), Choice("with retriable = false", proposal=not_retriable)),
            columns=frozenset({"FAILED"}),
        ),
        Circumstance(
            (USUAL, Choice("with retriable = true", proposal=lost_worker)),
            rows=frozenset({"RUNNING"}),
            columns=frozenset({"CRASHED"}),
        ),
    ),
}
"""What else matters. Choices are applied in this order."""
