"""What is shown of running flows: tallies of calls, and the lines of the tree."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from rich.console import Console

from playhead import flow, task
from playhead.context import FlowRunContext
from playhead.engine.execution.live import FlowTally, Stage
from playhead.engine.execution.live.tally import ROWS_MAX, SUBFLOWS_MAX
from playhead.engine.execution.live.tree import duration, trees
from playhead.engine.signals import Abort, Pause
from playhead.runs import FlowRun
from playhead.states import Cancelled, Completed, Crashed, Failed, Paused, Pending, Running, State
from tests.sdk.conftest import Service


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run_of(name: str, state: State[Any] | None = None) -> FlowRun:
    """A flow run in a state."""
    run = FlowRun("", name, [], "etl", {})
    run.state = state or Running()
    return run


def lines(*roots: FlowTally, lines_max: int = 50) -> list[str]:
    """The tree as a terminal of 80 columns shows it."""
    console = Console(width=80, force_terminal=True, color_system=None)
    with console.capture() as captured:
        for tree in trees(roots, lines_max):
            console.print(tree)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_tree_shows_tasks_and_subflows_with_their_states() -> None:
    clock = Clock()
    root = FlowTally("etl", run_of("red-orca"), clock=clock)
    root.called("m.extract", "extract").end(Completed())
    marks = [root.called("m.clean", "clean") for _ in range(1_200)]
    for mark in marks[:1_000]:
        mark.end(Completed())
    for mark in marks[1_000:1_064]:
        mark.move(Stage.RUNNING)
    marks[-1].move(Stage.RETRYING)
    clock.now += 12.3
    below = root.begin("load", run_of("blue-fox"))
    below.called("m.insert", "insert").move(Stage.RUNNING)
    clock.now += 185
    assert lines(root) == [
        "etl 'red-orca', running, 3 min 17 s",
        "├── extract: 1 done",
        "├── clean: 1,000 of 1,200 done, 64 running, 1 to be retried, 135 waiting",
        "└── load 'blue-fox', running, 3 min 5 s",
        "    └── insert: 1 running",
    ]


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (Completed(), "1 done"),
        (Completed(name="Cached"), "1 cached"),
        (Failed(), "1 failed"),
        (Crashed(), "1 crashed"),
        (Cancelled(), "1 cancelled"),
        (Pending(name="NotReady"), "1 not ready"),
        (Paused(), "1 paused"),
    ],
)
def test_each_end_of_a_call_is_named(state: State[Any], shown: str) -> None:
    root = FlowTally("etl", run_of("red-orca"))
    root.called("m.t", "t").end(state)
    assert lines(root)[1] == f"└── t: {shown}"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError(), "1 crashed"),
        (KeyboardInterrupt(), "1 crashed"),
        (Abort("cancelled"), "1 cancelled"),
        (GeneratorExit(), "1 cancelled"),
        (Pause("paused"), "1 paused"),
    ],
)
def test_a_call_that_stops_without_a_state_is_named_too(error: BaseException, shown: str) -> None:
    root = FlowTally("etl", run_of("red-orca"))
    root.called("m.t", "t").stop(error)
    assert lines(root)[1] == f"└── t: {shown}"


def test_a_rate_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    root = FlowTally("etl", run_of("red-orca"), clock=clock)
    marks = [root.called("m.t", "t") for _ in range(100)]
    assert lines(root)[1] == "└── t: 0 of 100 done, 100 waiting"
    for mark in marks[:40]:
        mark.end(Completed())
    clock.now += 2
    assert lines(root)[1] == "└── t: 40 of 100 done, 60 waiting, 20/s"
    clock.now += 5
    assert lines(root)[1] == "└── t: 40 of 100 done, 60 waiting"
    for mark in marks[40:]:
        mark.end(Completed())
    clock.now += 1
    assert lines(root)[1] == "└── t: 100 done"


def test_ten_thousand_calls_are_one_line_and_many_tasks_fit_the_screen() -> None:
    root = FlowTally("etl", run_of("red-orca"))
    for _ in range(10_000):
        root.called("m.mapped", "mapped")
    assert lines(root, lines_max=20)[1:] == ["└── mapped: 0 of 10,000 done, 10,000 waiting"]
    for number in range(2 * ROWS_MAX):
        root.called(f"m.t{number}", f"t{number}").end(Completed())
    root.called("m.t0", "t0").move(Stage.RUNNING)
    shown = lines(root, lines_max=20)
    assert len(shown) == 20
    assert shown[1] == f"├── … {ROWS_MAX - 17:,} more, ended"
    assert shown[2:4] == ["├── mapped: 0 of 10,000 done, 10,000 waiting", "├── t0: 1 of 2 done, 1 running"]
    assert shown[-1] == f"└── other tasks: {ROWS_MAX + 1:,} done"
    for lines_max in range(1, 25):
        assert len(lines(root, lines_max=lines_max)) <= lines_max


def test_many_subflows_that_ended_are_counted_and_running_ones_are_branches() -> None:
    root = FlowTally("etl", run_of("red-orca"))
    for number in range(100):
        below = root.begin("load", run_of(f"r{number}", Completed() if number else Failed()))
        below.called("m.insert", "insert").end(Completed())
        below.end()
    last = root.begin("load", run_of("last"))
    last.called("m.insert", "insert")
    shown = lines(root)
    assert shown[1] == f"├── load (flow): {99 - SUBFLOWS_MAX} done, 1 failed"
    assert len(shown) == 2 + 2 * SUBFLOWS_MAX + 2
    assert shown[-1] == "    └── insert: 1 waiting"
    short = lines(root, lines_max=8)
    assert len(short) <= 8
    assert [line for line in short if "'last'" in line or "insert: 1 waiting" in line] == short[-2:]
    for lines_max in range(1, 25):
        assert len(lines(root, lines_max=lines_max)) <= lines_max


def test_many_flows_at_once_share_the_lines() -> None:
    roots = [FlowTally("etl", run_of(f"r{number}")) for number in range(50)]
    for root in roots:
        root.called("m.t", "t")
    shown = lines(*roots, lines_max=20)
    assert len(shown) == 20
    assert shown[0].startswith("etl 'r0', running")
    assert shown[-1] == "… 40 more, not shown"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12.0, "12 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (7_440, "2 h 4 min")],
)
def test_lengths_of_time_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_marks_that_threads_move_at_once_add_up() -> None:
    root = FlowTally("etl", run_of("red-orca"))

    def work() -> None:
        for _ in range(500):
            mark = root.called("m.t", "t")
            mark.move(Stage.RUNNING)
            mark.end(Completed())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (row,), _ = root.snapshot()
    assert (row.total, row.ended, row.counts[Stage.DONE]) == (4_000, 4_000, 4_000)


def test_the_loops_move_the_marks(embedded: Service) -> None:
    """A tally is given to a flow as the display does, and read at the end."""
    tally = FlowTally("etl", run_of("red-orca"))
    attempts = []

    @task(retries=1)
    def flaky() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("once")
        return 1

    @task(cache_key_fn=lambda *_: "same")
    def cached() -> int:
        return 2

    @task
    def fails(x: int) -> None:
        raise ValueError(x)

    @task
    def after(x: object) -> None:
        pass

    @flow
    def inner() -> None:
        cached()

    @flow
    def around() -> int:
        context = FlowRunContext.get()
        assert context is not None
        assert context.tally is None  # no terminal
        context.tally = tally
        flaky()
        cached()
        cached()
        after.submit(fails.submit(1)).wait()
        fails.map([1, 2]).wait()
        inner()
        return 1

    assert around() == 1
    assert lines(tally)[1:5] == [
        "├── flaky: 1 done",
        "├── cached: 1 done, 1 cached",
        "├── fails: 3 failed",
        "├── after: 1 not ready",
    ]
    branch, below = lines(tally)[5:]
    assert branch.startswith("└── inner ")
    assert ", completed, " in branch
    assert below == "    └── cached: 1 cached"
