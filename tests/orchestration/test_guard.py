"""Rules of users' own, under guard: what they may not call, what they may not answer, what they can not spoil."""

from __future__ import annotations

import cProfile
import datetime
import gc
import importlib
import io
import logging
import math
import os
import pathlib
import random
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from playhead import v1
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.guard import DELAY_S_MAX, SLOW_MS, WARN_EVERY_S, Guard
from playhead.engine.orchestration.policy import Policy
from playhead.engine.orchestration.rules import effects
from playhead.engine.orchestration.rules.effects import Effect
from playhead.engine.orchestration.rules.rule import Rule
from tests.orchestration.commanding import Commanding
from tests.orchestration.given import POLICY, TASK, decided, facts, short, spoke, state

Told = tuple[v1.Facts, v1.ProposeStateRequest, v1.State]
GENERATOR = random.Random(7)
ZONE = ZoneInfo("Europe/Berlin")
OPEN_FILE = io.TextIOWrapper(io.BytesIO())


class OwnDatetime(datetime.datetime):
    """A datetime of a user's own."""


class Asked(Rule):
    """A rule that does what it is given to do."""

    to_states = frozenset({v1.RUNNING})

    def __init__(self, word: Callable[[Told], object]) -> None:
        self.word = word

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return self.word((facts, command, proposed))  # type: ignore[return-value] # what users do


class Keeps(Rule):
    """A rule that does what it is given to do to the status."""

    def __init__(self, change: Callable[[v1.RunStatus], object]) -> None:
        self.change = change

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return effects.record("noted")

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        self.change(status)


def of(*rules: Rule, guard: Guard | None = None) -> Policy:
    """The core policy, but only these rules for tasks."""
    return replace(POLICY, core_task=rules, guard=guard or Guard())


def ask(rule: Rule, policy: Policy | None = None) -> v1.StateProposed:
    """RUNNING proposed to a task run, of one rule."""
    return decided(TASK, facts(state(v1.PENDING)), state(v1.RUNNING), policy=policy or of(rule))


@pytest.mark.parametrize(
    ("impure", "named"),
    [
        (lambda _: time.time(), "time.time"),
        (lambda _: time.time_ns(), "time.time_ns"),
        (lambda _: time.monotonic(), "time.monotonic"),
        (lambda _: time.perf_counter(), "time.perf_counter"),
        (lambda _: time.sleep(0), "time.sleep"),
        (lambda _: time.localtime(), "time.localtime"),
        (lambda _: time.time(*()), "time.time"),
        (lambda _: datetime.datetime.now(), "datetime.datetime.now"),
        (lambda _: datetime.datetime.now(tz=datetime.UTC), "datetime.datetime.now"),
        (lambda _: datetime.datetime.today(), "datetime.datetime.today"),
        (lambda _: datetime.date.today(), "datetime.date.today"),
        (lambda _: OwnDatetime.now(), f"{__name__}.OwnDatetime.now"),
        (lambda _: Timestamp().GetCurrentTime(), "datetime.datetime.now"),
        (lambda _: random.random(), "random.Random.random"),
        (lambda _: random.choice([1, 2]), "random.Random.getrandbits"),
        (lambda _: random.Random(), "random.Random.seed"),
        (lambda _: GENERATOR.random(), "random.Random.random"),
        (lambda _: random.SystemRandom().random(), "posix.urandom"),
        (lambda _: os.urandom(1), "posix.urandom"),
        (lambda _: secrets.token_hex(), "posix.urandom"),
        (lambda _: uuid.uuid4(), "posix.urandom"),
        (lambda _: uuid.uuid1(), "uuid.generate_time_safe"),
        (lambda _: open(os.devnull), "io.open"),  # noqa: SIM115
        (lambda _: pathlib.Path(os.devnull).read_bytes(), "io.open"),
        (lambda _: pathlib.Path(os.devnull).exists(), "posix."),
        (lambda _: OPEN_FILE.write("x"), "io.TextIOWrapper.write"),
        (lambda _: os.getpid(), "posix.getpid"),
        (lambda _: signal.raise_signal(signal.SIGCONT), "signal.raise_signal"),
        (lambda _: (sys.setprofile(None), time.time()), "sys.setprofile"),
        (lambda _: sys.settrace(None), "sys.settrace"),
        (lambda _: socket.create_connection(("127.0.0.1", 1)), "socket.getaddrinfo"),
        (lambda _: socket.socket().connect(("127.0.0.1", 1)), "socket.socket.connect"),
        (lambda _: subprocess.run(["true"]), "posix."),
        (lambda _: sqlite3.connect(":memory:"), "sqlite3.connect"),
        (lambda _: threading.Thread(target=int).start(), "thread.start_"),
        (lambda _: print("x"), "builtins.print"),
        (lambda _: logging.getLogger("playhead.tests").critical("x"), "time.time"),
        (lambda _: ZoneInfo.no_cache("Asia/Tokyo"), "posix."),
        (lambda _: importlib.import_module("wave"), "posix."),
    ],
)
def test_a_rule_that_looks_beyond_its_facts_aborts_and_what_it_called_is_named(
    impure: Callable[[Told], object], named: str
) -> None:
    sys.modules.pop("wave", None)
    answer = ask(Asked(impure))
    assert (short(answer), answer.rule) == ("X", "Asked")
    assert spoke(answer) == [("Asked", v1.RULE_ABORTED)]
    assert re.match(f"ImpureRule: it called _?{re.escape(named)}", answer.reason)


def shout(_: Told) -> Effect | None:
    """Calls a clock and hides it."""
    try:
        time.time()
    except Exception:
        return None
    return None


def test_a_rule_that_catches_the_refusal_aborts_all_the_same() -> None:
    assert ask(Asked(shout)).reason.startswith("ImpureRule: it called time.time;")


def test_an_impure_call_is_not_made(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "written"
    assert short(ask(Asked(lambda _: file.write_text("x")))) == "X"
    assert not file.exists()


def test_what_follows_an_impure_rule_is_not_asked_and_what_came_before_fizzles() -> None:
    policy = of(Keeps(lambda status: status.tags.append("kept")), Asked(lambda _: time.time()), Asked(lambda _: 1 / 0))
    answer = ask(policy.core_task[0], policy)
    assert spoke(answer) == [("Keeps", v1.RULE_FIZZLED), ("Asked", v1.RULE_ABORTED)]
    assert not answer.HasField("status")


@pytest.mark.parametrize(
    "pure",
    [
        lambda told: datetime.datetime.fromtimestamp(told[0].now.seconds, ZONE).strftime("%H:%M"),
        lambda told: told[0].now.ToDatetime(datetime.UTC).isoformat(),
        lambda _: datetime.datetime.fromisoformat("2026-01-31T12:00:00+01:00") - datetime.timedelta(days=1),
        lambda _: ZoneInfo("Europe/Berlin").key,
        lambda _: pathlib.PurePath("a", "..", "b").with_suffix(".txt").as_posix() + os.path.join("a", "b"),
        lambda told: math.ceil(told[0].entropy / 2**60) + len(sorted(told[0].status.tags)),
        lambda _: io.StringIO().write("x"),
        lambda _: logging.getLogger("playhead.tests").debug("%s", 1),
        lambda told: uuid.uuid5(uuid.NAMESPACE_URL, told[1].flow_run_id).hex,
    ],
)
def test_what_follows_from_the_facts_alone_is_left_alone(pure: Callable[[Told], object]) -> None:
    def word(told: Told) -> Effect:
        pure(told)
        return effects.reject("no")

    assert (short(ask(Asked(word))), ask(Asked(word)).reason) == ("R", "no")


@pytest.mark.parametrize(
    ("nonsense", "said"),
    [
        ("no", "it answered 'no', which is no Effect"),
        (False, "it answered False, which is no Effect"),
        (ask, "it answered <function ask>, which is no Effect"),
        (Effect(v1.RULE_FIZZLED, ""), "6 is no effect that a rule can have"),
        (Effect(77, ""), "77 is no effect that a rule can have"),  # type: ignore[arg-type]
        (Effect(v1.RULE_REJECTED, None), "reasons and names are text, not None"),  # type: ignore[arg-type]
        (effects.reject("\ud800"), "reasons and names are text, not '\\ud800'"),
        (effects.reject("é" * 50_001), "reasons are at most 100000 bytes, not 100002"),
        (effects.wait(-1, ""), "a delay is whole seconds"),
        (effects.wait(0.5, ""), "a delay is whole seconds"),  # type: ignore[arg-type]
        (effects.wait(DELAY_S_MAX + 1, ""), "a delay is whole seconds"),
        (effects.queue(1, ""), "only Playhead's own rules put a run in line"),
        (effects.rename("", ""), "an effect that renames, and no other, has a name"),
        (Effect(v1.RULE_REJECTED, "", name="Refused"), "an effect that renames, and no other, has a name"),
        (Effect(v1.RULE_REPLACED, ""), "it replaces the state by none"),
        (effects.replace("FAILED", ""), "'FAILED' is no playhead.v1.State"),  # type: ignore[arg-type]
        (effects.amend(state(v1.FAILED), ""), "an amended state has the type that was proposed"),
        (Effect(v1.RULE_ABORTED, "", state=state(v1.FAILED)), "only an effect that replaces or amends has a state"),
    ],
)
def test_a_word_that_can_not_be_recorded_aborts_and_says_why(nonsense: Any, said: str) -> None:
    answer = ask(Asked(lambda _: nonsense))
    assert (short(answer), answer.rule) == ("X", "Asked")
    assert answer.reason.startswith(f"BrokenRule: {said}")


@pytest.mark.parametrize(
    "malformed",
    [v1.State(), state(99), state(v1.FAILED, "two\nlines"), state(v1.RUNNING, pause_key="k")],  # type: ignore[arg-type]
)
def test_a_state_that_nobody_could_propose_can_not_be_put_in_place(malformed: v1.State) -> None:
    answer = ask(Asked(lambda _: effects.replace(malformed, "instead")))
    assert (short(answer), answer.rule) == ("X", "Asked")
    assert "state." in answer.reason


def test_a_name_of_two_lines_is_refused() -> None:
    answer = ask(Asked(lambda _: effects.rename("two\nlines", "again")))
    assert (short(answer), answer.reason) == ("X", "BadRequest: state.name: must be one line of printable characters")


def test_no_address_in_memory_is_on_record() -> None:
    def fail(_: Told) -> None:
        raise ValueError(f"no such thing: {object()}, {fail}")

    assert ask(Asked(fail)).reason == f"ValueError: no such thing: <object object>, <function {fail.__qualname__}>"


def test_an_answer_that_can_not_even_be_shown_aborts() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    class ShyError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def fail(_: Told) -> None:
        raise ShyError

    def fail_in_half_a_character(_: Told) -> None:
        raise ValueError("\ud800")

    assert ask(Asked(lambda _: Shy())).reason == "BrokenRule: it answered a Shy, which is no Effect"
    assert ask(Asked(fail)).reason == "ShyError"
    assert ask(Asked(fail_in_half_a_character)).reason == "ValueError: ?"


def test_what_a_rule_changes_in_what_it_is_told_is_not_what_is_recorded() -> None:
    def spoil(told: Told) -> None:
        told[0].Clear()
        told[1].Clear()
        told[2].type, told[2].name = v1.CRASHED, "Spoilt"

    given, command = facts(state(v1.PENDING)), v1.ProposeStateRequest(state=state(v1.RUNNING))
    into = v1.StateProposed(facts=given)
    seen: list[v1.State] = []
    policy = of(Asked(spoil), Asked(lambda told: seen.append(told[2])))
    answer = decide(TASK, into.facts, command, policy, into)
    assert (short(answer), answer.facts, command.state.type) == ("A", given, v1.RUNNING)
    assert [(told.type, told.name) for told in seen] == [(v1.RUNNING, "Running")]


def test_what_a_rule_keeps_about_the_run_is_recorded_and_not_changed_later() -> None:
    held: list[v1.RunStatus] = []

    def keep(status: v1.RunStatus) -> None:
        status.tags.append("seen")
        held.append(status)

    answer = ask(Keeps(keep))
    held[0].tags.append("afterthought")
    assert list(answer.status.tags) == ["seen"]


@pytest.mark.parametrize(
    "spoil", [lambda status: status.Clear(), lambda status: setattr(status.state, "type", v1.COMPLETED)]
)
def test_a_rule_can_not_change_what_was_decided_under_the_name_of_keeping(spoil: Callable[[Any], None]) -> None:
    answer = ask(Keeps(spoil))
    assert (short(answer), answer.rule, answer.HasField("status")) == ("X", "Keeps", False)
    assert answer.reason.startswith("BrokenRule: it changed the type of the run's state")


def test_a_rule_that_fails_halfway_through_keeping_has_kept_nothing() -> None:
    def fail(status: v1.RunStatus) -> None:
        status.run_count = 99
        time.time()

    answer = ask(Keeps(fail))
    assert (short(answer), answer.HasField("status")) == ("X", False)
    assert answer.reason.startswith("ImpureRule: it called time.time;")


def test_playheads_own_rules_are_called_directly() -> None:
    policy = replace(POLICY, core_task=(*POLICY.core_task, Asked(lambda _: None)))
    *own, (_, guarded, _) = policy.rules_for(TASK, False, v1.PENDING, v1.RUNNING)
    assert own
    assert all(before == rule.before and after == rule.after for rule, before, after in own)
    assert guarded != policy.core_task[-1].before
    kept = policy.bookkeeping_for(TASK, v1.PENDING, v1.RUNNING)
    assert all(after == rule.after for rule, after in kept)


def test_a_subclass_of_one_of_playheads_rules_is_a_users_rule() -> None:
    class Sooner(type(POLICY.core_task[0])):  # type: ignore[misc] # any of them
        def before(self, *told: object) -> Effect | None:
            return effects.wait(int(time.time()), "later")

    assert ask(Sooner()).reason.startswith("ImpureRule: it called time.time;")


def test_the_profile_function_of_before_is_put_back() -> None:
    events: list[str] = []

    def profile(frame: object, event: str, argument: object) -> None:
        events.append(event)

    for rule in (Asked(lambda _: None), Asked(lambda _: 1 / 0), Asked(lambda _: time.time())):
        policy = of(rule)
        sys.setprofile(profile)
        try:
            ask(rule, policy)
            assert sys.getprofile() is profile
        finally:
            sys.setprofile(None)
    assert events


def test_a_decision_can_be_profiled() -> None:
    profiler = cProfile.Profile()
    with profiler:
        answer = ask(Asked(lambda _: effects.reject("no")))
    assert short(answer) == "R"
    assert any("decide" in str(entry.code) for entry in profiler.getstats())


@pytest.mark.parametrize("collecting", [True, False])
def test_no_finalizer_runs_under_the_watch_and_collection_is_as_before(collecting: bool) -> None:
    seen: list[bool] = []
    if not collecting:
        gc.disable()
    try:
        ask(Asked(lambda _: seen.append(gc.isenabled())))
        assert (seen, gc.isenabled()) == ([False], collecting)
    finally:
        gc.enable()


def test_an_interrupt_passes_through_a_rule() -> None:
    def interrupted(_: Told) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(Asked(interrupted))
    finally:
        signal.signal(signal.SIGINT, before)
    assert sys.getprofile() is None


def test_a_rule_that_ends_the_thread_it_runs_on_aborts_instead(sqlite_store: str) -> None:
    """It would be the write thread, and nobody would be answered any more."""

    def leave(_: Told) -> None:
        raise SystemExit

    command = Commanding(sqlite_store, replace(POLICY, core_flow=(Asked(leave),)))
    with command.orchestrator:
        answer = command.propose(v1.RUNNING, flow_run_id=command.flow_run(v1.PENDING))
    assert (answer.decision, answer.reason) == (v1.ABORT, "BrokenRule: it raised SystemExit")


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit])
def test_what_would_end_a_thread_aborts_in_the_main_thread_too(kind: type[BaseException]) -> None:
    def leave(_: Told) -> None:
        raise kind

    assert ask(Asked(leave)).reason == f"BrokenRule: it raised {kind.__name__}"


def test_where_interrupts_are_ignored_a_keyboard_interrupt_is_the_rules_own() -> None:
    def interrupted(_: Told) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert ask(Asked(interrupted)).reason == "BrokenRule: it raised KeyboardInterrupt"
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_the_handler_of_a_signal_raises_passes_through_a_rule() -> None:
    def leave(*_: object) -> None:
        raise SystemExit(3)

    def interrupted(_: Told) -> None:
        # A signal that comes meanwhile: the watch does not see a function that C code calls.
        sorted([signal.SIGUSR1], key=signal.raise_signal)

    before = signal.signal(signal.SIGUSR1, leave)
    try:
        with pytest.raises(SystemExit):
            ask(Asked(interrupted))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_where_a_rule_failed_is_in_the_log_once_and_not_in_the_journal(caplog: pytest.LogCaptureFixture) -> None:
    rule = Asked(lambda _: 1 / 0)
    policy = of(rule)
    for _ in range(2):
        assert ask(rule, policy).reason == "ZeroDivisionError: division by zero"
    (told,) = caplog.records
    assert re.match(rf"Rule Asked failed at {re.escape(__file__)}:\d+,", told.getMessage())
    assert "Traceback (most recent call last):" in told.getMessage()
    assert told.name.startswith("playhead.engine.orchestration")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda status: setattr(status, "name", "x" * 100_000), "TooLarge: status.name: "),
        (lambda status: status.tags.append("a\x1bb\n"), "BadRequest: status.tags[0]: "),
        (lambda status: setattr(status, "run_count", 78), "BrokenRule: status.run_count: must be 2 or 3, not 78"),
        (lambda status: setattr(status, "run_count", 1), "BrokenRule: status.run_count: "),
        (lambda status: status.total_run_time.FromSeconds(8), "BrokenRule: status.total_run_time: must not go down"),
        (lambda status: setattr(status.start_time, "nanos", -1), "BadRequest: status.start_time: "),
    ],
)
def test_what_no_run_can_be_is_not_kept(change: Callable[[v1.RunStatus], object], said: str) -> None:
    run = facts(state(v1.PENDING), run_count=2, total_run_time=Duration(seconds=9))
    answer = decided(TASK, run, state(v1.RUNNING), policy=of(Keeps(change)))
    assert (short(answer), answer.rule, answer.HasField("status")) == ("X", "Keeps", False)
    assert answer.reason.startswith(said)


class Stopwatch:
    """A timer that each reading moves on, by what the rule is to have taken."""

    def __init__(self, took_ms: int) -> None:
        self.now = 0
        self.took_ms = took_ms

    def __call__(self) -> int:
        self.now += self.took_ms * 1_000_000
        return self.now


def test_a_slow_rule_is_named_in_the_log_and_not_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    watch = Stopwatch(SLOW_MS + 1)
    rule = Asked(lambda _: None)
    policy = of(rule, guard=Guard(watch))
    for _ in range(3):
        assert short(ask(rule, policy)) == "A"
    assert [record.getMessage() for record in caplog.records] == [
        f"Rule Asked took {SLOW_MS + 1} ms, while all proposals waited."
    ]
    assert caplog.records[0].levelno == logging.WARNING
    watch.now += WARN_EVERY_S * 1_000_000_000
    ask(rule, policy)
    assert f"more than {SLOW_MS} ms another 2 times" in caplog.records[1].getMessage()


def test_a_rule_that_is_quick_enough_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    rule = Asked(lambda _: None)
    ask(rule, of(rule, guard=Guard(Stopwatch(SLOW_MS))))
    assert not caplog.records


def test_an_aborted_proposal_is_on_record_with_its_rule(sqlite_store: str) -> None:
    """Through the journal: the run is unharmed, and the decision can be read."""
    command = Commanding(sqlite_store, replace(POLICY, core_flow=(Asked(lambda _: time.time()),)))
    with command.orchestrator:
        run = command.flow_run(v1.PENDING)
        assert command.propose(v1.RUNNING, flow_run_id=run).decision == v1.ABORT
        record = command.decisions(run)[-1]
        assert (record.decision, record.rule, record.after.type) == (v1.ABORT, "Asked", v1.PENDING)
        assert record.reason.startswith("ImpureRule: it called time.time;")
        assert command.status(run).state.type == v1.PENDING
