"""Rules that are not Playhead's own, held to what a rule is.

Whoever writes a rule may not know what else stands on it, so such a rule is called under a guard:

    it is given copies                what it changes in them is not what is recorded
    calls of C functions are watched  a clock, chance, or the world outside: ImpureRule, before the call is made
    its word is checked               what is no Effect, or one that can not be recorded, also for its size: BrokenRule
    it is timed                       slow ones are named in the log
    its errors are told               with their traceback, in the log, once for each place

What is raised here is what `decide` makes an ABORT of, in the rule's name.

The watch finds mistakes; it is no wall. Python tells a profile function of each function written in C that Python code
calls. So the watch does not see a function that C code calls (`sorted(runs, key=hash)`), the making of an object
(`io.FileIO(path)`), attributes (`os.environ`, what the rule keeps on itself), nor what happens inside a compiled
extension. Nothing can stop a rule that never ends.
"""

from __future__ import annotations

import datetime
import gc
import io
import logging
import random
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any, TypeAlias, TypeVar

from playhead import v1
from playhead.engine.orchestration.contents import MESSAGE_BYTES_MAX, NAME_BYTES_MAX, check_state, check_tags
from playhead.engine.orchestration.rules.effects import Effect
from playhead.engine.orchestration.rules.rule import TERMINAL, Rule
from playhead.journal import checks

SLOW_MS = 50
"""A rule that takes longer is named in the log: all proposals of this journal wait for it meanwhile."""
WARN_EVERY_S = 60
"""How often the log names one rule, at most."""
DELAY_S_MAX = 366 * 86_400
"""The longest delay a rule may ask for, in seconds."""

OUTSIDE = frozenset(
    {
        *("time", "posix", "nt", "_posixsubprocess", "_signal", "_socket", "_ssl", "_sqlite3", "sqlite3", "_uuid"),
        *("fcntl", "select"),
    }
)
"""Modules whose functions look at the world outside, or change it."""
OUTSIDE_FUNCTIONS = frozenset(
    {
        *("builtins.print", "builtins.input", "builtins.breakpoint", "io.open", "io.open_code", "_io.open"),
        *("_io.open_code", "_thread.start_new_thread", "_thread.start_joinable_thread"),
        *("sys.setprofile", "sys.settrace"),
    }
)
HARMLESS = frozenset({"posix.fspath", "posix._path_normpath", "posix._path_splitroot", "posix._path_splitroot_ex"})
"""Work on the text of paths alone."""
CLOCKS = frozenset({"now", "utcnow", "today"})
ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")
FILES = (io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)

WORDS = frozenset(
    {v1.RULE_REJECTED, v1.RULE_REPLACED, v1.RULE_DELAYED, v1.RULE_ABORTED, v1.RULE_RENAMED, v1.RULE_RECORDED}
)

Before: TypeAlias = Callable[[v1.Facts, v1.ProposeStateRequest, v1.State], Effect | None]
After: TypeAlias = Callable[[v1.Facts, v1.ProposeStateRequest, v1.RunStatus], None]
Timer: TypeAlias = Callable[[], int]
M = TypeVar("M", v1.Facts, v1.ProposeStateRequest, v1.State, v1.RunStatus)

logger = logging.getLogger(__name__)


class ImpureRule(Exception):
    """A rule looked beyond its facts: the message names the function."""


class BrokenRule(Exception):
    """A rule answered what can not be recorded."""


class Guard:
    """Calls the rules of one policy. `timer` gives nanoseconds; how long a rule takes is not part of any decision."""

    def __init__(self, timer: Timer = time.perf_counter_ns) -> None:
        self._timer = timer
        self._warned: dict[str, tuple[int, int]] = {}  # rule -> when the log named it, how often it was slow since
        self._told: set[tuple[str, str, int | None]] = set()

    def before(self, rule: Rule) -> Before:
        """The rule's `before`, under guard."""

        def ask(facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
            word = self._call(rule, rule.before, _copy(facts), _copy(command), _copy(proposed))
            return checked(word, proposed)

        return ask

    def after(self, rule: Rule) -> After:
        """The rule's `after`, under guard. It may change all of the status but the state's type."""

        def keep(facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
            # A copy, so that a rule which keeps hold of the status does not change it later.
            changed = _copy(status)
            self._call(rule, rule.after, _copy(facts), _copy(command), changed)
            if changed.state.type != status.state.type:
                raise BrokenRule("it changed the type of the run's state, which is what was decided")
            if changed.state != status.state:
                check_state(changed.state, "status.state")
            if changed != status:
                check_status(changed, status, may_restart=facts.status.state.type in TERMINAL)
            status.CopyFrom(changed)

        return keep

    def _call(self, rule: Rule, method: Callable[..., object], *given: object) -> object:
        watch = _Watch()
        collecting = gc.isenabled()
        # A collection here would run other people's finalizers under the watch.
        gc.disable()
        began = self._timer()
        try:
            word = watch.over(method, *given)
        except BaseException as error:
            if came_of_signal(error):
                raise
            self._tell(rule, error)
            if not isinstance(error, Exception):
                raise BrokenRule(f"it raised {type(error).__name__}") from error
            if not watch.called:
                raise
        finally:
            if collecting:
                gc.enable()
            self._note(rule, began, self._timer())
        # Also when the rule caught what the watch had raised.
        if watch.called:
            raise ImpureRule(f"it called {watch.called}; a rule looks at nothing but what it is given")
        return word

    def _tell(self, rule: Rule, error: BaseException) -> None:
        """Log where a rule failed, once for each place: the journal has the error alone, the same on every machine."""
        frames = traceback.extract_tb(error.__traceback__)
        place = next((frame for frame in reversed(frames) if frame.filename != __file__), frames[-1])
        key = rule.name, place.filename, place.lineno
        if key not in self._told:
            self._told.add(key)
            # As text that any log can write: what a rule raises may hold half a character.
            told = "".join(traceback.format_exception(error)).encode(errors="backslashreplace").decode()
            said = "Rule %s failed at %s:%s, so the decision is ABORT. This place is named once.\n%s"
            logger.error(said, *key, told.rstrip())

    def _note(self, rule: Rule, began: int, ended: int) -> None:
        """Name a slow rule in the log, now and then."""
        took_ms = (ended - began) // 1_000_000
        if took_ms <= SLOW_MS:
            return
        warned, since = self._warned.get(rule.name, (None, 0))
        if warned is not None and ended - warned < WARN_EVERY_S * 1_000_000_000:
            self._warned[rule.name] = warned, since + 1
            return
        self._warned[rule.name] = ended, 0
        more = f"; it took more than {SLOW_MS} ms another {since} times since it was last named" if since else ""
        logger.warning("Rule %s took %d ms, while all proposals waited%s.", rule.name, took_ms, more)


class _Watch:
    """A profile function that refuses calls of impure functions, and remembers the first."""

    def __init__(self) -> None:
        self.called = ""

    def over(self, method: Callable[..., object], *given: object) -> object:
        """Call a method while watching this thread."""
        previous = sys.getprofile()
        if previous is not None and not callable(previous):
            # A profiler that is written in C (cProfile, in Python 3.11) can not be put back: leave it alone.
            return method(*given)
        sys.setprofile(self)
        try:
            return method(*given)
        finally:
            sys.setprofile(previous)

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        if called is sys.setprofile and frame.f_code is _Watch.over.__code__:
            return
        if event == "c_call" and (name := impure(called)):
            self.called = self.called or name
            raise ImpureRule(name)


def came_of_signal(error: BaseException) -> bool:
    """Whether it was a signal that interrupted a rule: handlers run in the main thread, between any two of its steps.

    A KeyboardInterrupt is taken for one there, unless the process ignores SIGINT: Python's handler leaves no trace.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if isinstance(error, KeyboardInterrupt):
        return signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {getattr(handler, "__code__", None) for handler in handlers} - {None}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def is_own(rule: Rule) -> bool:
    """Whether a rule is Playhead's own, which needs no guard."""
    return type(rule).__module__.partition(".")[0] == "playhead"


def impure(called: Any) -> str:
    """The name of a C function, or of a method bound to what it is called on, if no rule may call it; else empty."""
    owner = getattr(called, "__self__", None)
    if isinstance(owner, ModuleType):
        module = str(called.__module__ or owner.__name__)
        name = f"{module}.{called.__name__}"
        refused = name in OUTSIDE_FUNCTIONS or (module in OUTSIDE and name not in HARMLESS)
        return name if refused else ""
    kind = owner if isinstance(owner, type) else type(owner)
    name = f"{kind.__module__}.{kind.__qualname__}.{called.__name__}"
    if issubclass(kind, datetime.date):
        return name if called.__name__ in CLOCKS else ""
    # Of a generator that a rule keeps, each answer depends on how often it was asked before.
    refused = issubclass(kind, (random.Random, *FILES)) or any(base.__module__ in OUTSIDE for base in kind.__mro__)
    return name if refused else ""


def checked(word: object, proposed: v1.State) -> Effect | None:
    """A rule's word, if it can be recorded. Raises BrokenRule otherwise, and BadRequest for a malformed state."""
    if word is None:
        return None
    if not isinstance(word, Effect):
        raise BrokenRule(f"it answered {_described(word)}, which is no Effect")
    if word.kind not in WORDS:
        raise BrokenRule(f"{_described(word.kind)} is no effect that a rule can have")
    for text in (word.reason, word.name):
        if not _is_text(text):
            raise BrokenRule(f"reasons and names are text, not {_described(text)}")
        if len(text.encode()) > MESSAGE_BYTES_MAX:
            raise BrokenRule(f"reasons are at most {MESSAGE_BYTES_MAX} bytes, not {len(text.encode())}")
    if word.kind == v1.RULE_DELAYED and not (isinstance(word.delay_s, int) and 0 <= word.delay_s <= DELAY_S_MAX):
        raise BrokenRule(f"a delay is whole seconds from 0 to {DELAY_S_MAX}, not {_described(word.delay_s)}")
    if word.queues:
        raise BrokenRule("only Playhead's own rules put a run in line")
    if bool(word.name) != (word.kind == v1.RULE_RENAMED):
        raise BrokenRule("an effect that renames, and no other, has a name")
    if word.name:
        check_state(v1.State(type=proposed.type, name=word.name), "state")
    if word.kind == v1.RULE_REPLACED and word.state is None:
        raise BrokenRule("it replaces the state by none")
    if word.state is not None:
        _check_state(word, word.state, proposed)
    return word


def check_status(changed: v1.RunStatus, before: v1.RunStatus, may_restart: bool) -> None:
    """Refuse what nobody could ask for, and counters that no run can have come to: BadRequest, BrokenRule."""
    checks.bounded_line(changed.name, "status.name", NAME_BYTES_MAX)
    check_tags(changed.tags, "status.tags")
    for index, key in enumerate(changed.pause_keys):
        checks.bounded_line(key, f"status.pause_keys[{index}]", NAME_BYTES_MAX)
    runs = {before.run_count, before.run_count + 1, *((0,) if may_restart else ())}
    if changed.run_count not in runs:
        allowed = " or ".join(map(str, sorted(runs)))
        raise BrokenRule(f"status.run_count: must be {allowed}, not {changed.run_count}")
    ran = checks.duration(changed.total_run_time, "status.total_run_time")
    if ran < checks.duration(before.total_run_time, "status.total_run_time"):
        raise BrokenRule("status.total_run_time: must not go down")
    for time_of in ("start_time", "end_time", "expected_start_time", "next_scheduled_start_time"):
        checks.micros(getattr(changed, time_of), f"status.{time_of}")


def _check_state(word: Effect, state: object, proposed: v1.State) -> None:
    if not isinstance(state, v1.State):
        raise BrokenRule(f"{_described(state)} is no playhead.v1.State")
    if word.kind not in (v1.RULE_REPLACED, v1.RULE_RECORDED):
        raise BrokenRule("only an effect that replaces or amends has a state")
    if word.kind == v1.RULE_RECORDED and state.type != proposed.type:
        raise BrokenRule("an amended state has the type that was proposed: replace it instead")
    check_state(state, "state")


def without_addresses(text: str) -> str:
    """Text without the addresses in memory that a `repr` shows, which are others each time: "<function f>"."""
    return ADDRESS.sub("", text)


def _is_text(text: object) -> bool:
    """Whether it is text that has a UTF-8 form, which lone surrogates have not."""
    try:
        return isinstance(text, str) and text.encode() is not None
    except UnicodeEncodeError:
        return False


def _copy(message: M) -> M:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _described(word: object) -> str:
    """What a rule gave, as text of bounded length; its own `repr` may fail."""
    try:
        return without_addresses(repr(word))[:100]
    except Exception:
        return f"a {type(word).__name__}"
