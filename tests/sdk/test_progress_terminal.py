"""A running flow in a real terminal: a pseudo-terminal, with an emulator that shows what a person would see."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest

COLUMNS = 100
ROWS = 500
"""More than a terminal has, so that nothing scrolls out of what a test can see."""

HEAD = """
import logging, os, sys
from playhead import flow, get_run_logger, task
gate = os.open("gate", os.O_RDWR)
def wait():
    "Until the test lets this one through."
    os.read(gate, 1)
"""


class Terminal:
    """A program in a terminal, and what the terminal shows."""

    def __init__(self, folder: Path, program: str, stdout: int | None = None, **environment: str) -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.screen)
        os.mkfifo(folder / "gate")
        self._gate = os.open(folder / "gate", os.O_RDWR)
        (folder / "program.py").write_text(HEAD + program)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        variables = {**os.environ, "TERM": "xterm", "PLAYHEAD_HOME": str(folder), "NO_COLOR": "1", **environment}
        self.process = subprocess.Popen(
            [sys.executable, "program.py"],
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            cwd=folder,
            env=variables,
            start_new_session=True,
        )
        os.close(slave)

    @property
    def lines(self) -> list[str]:
        """The lines that are shown, without the empty ones below."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    def until(self, wanted: Callable[[list[str]], Any]) -> list[str]:
        """What is shown once it is as wanted."""
        while not wanted(self.lines):
            assert self._read(), f"the program ended before: {self.lines}"
        return self.lines

    def let_through(self, count: int = 1) -> None:
        """Let the program go on where it waits, so many times."""
        os.write(self._gate, b"x" * count)

    def type(self, text: str) -> None:
        """Type at the keyboard."""
        os.write(self._master, text.encode())

    def ended(self) -> list[str]:
        """What is shown when the program has ended."""
        while self._read():
            pass
        self.process.wait()
        return self.lines

    def close(self) -> None:
        """Put it away."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self._gate)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that nobody has the other side open
                raise
            return False
        self._stream.feed(data)
        return bool(data)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts programs in terminals of their own."""
    started = []

    def start(program: str, **options: Any) -> Terminal:
        started.append(Terminal(tmp_path, program, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def masked(lines: list[str]) -> list[str]:
    """Without what differs from run to run: times and names of runs."""
    text = "\n".join(lines)
    text = re.sub(r"^\d\d:\d\d:\d\d\.\d{3}", "TIME", text, flags=re.M)
    text = re.sub(r", (\d+ min )?\d+(\.\d)? s$", ", TIME", text, flags=re.M)
    return re.sub(r"'[a-z]+(-[a-z]+)+'", "'NAME'", text).split("\n")


def last_is(end: str) -> Callable[[list[str]], bool]:
    """Whether the last line that is shown ends so."""
    return lambda lines: lines[-1].endswith(end)


MAPPED = """
@task
def prepare(): return 3
@task
def work(x):
    if x: wait()
    sys.stdout.write(f"worked on {x}\\n")
@flow
def etl():
    prepare()
    submitted = work.map([0, 1, 1])
    submitted.wait()
    get_run_logger().warning("mapped")
logging.basicConfig(format="%(message)s")
logging.getLogger("playhead").setLevel("WARNING")
etl()
print("after the flow")
"""


def test_a_running_flow_shows_its_tasks_below_what_is_printed(terminal: Callable[..., Terminal]) -> None:
    shown = terminal(MAPPED)
    lines = shown.until(last_is("work: 1 of 3 done, 2 running"))
    assert masked(lines) == [
        "worked on 0",
        "",
        "etl 'NAME', running, TIME",
        "├── prepare: 1 done",
        "└── work: 1 of 3 done, 2 running",
    ]
    shown.let_through(2)
    assert masked(shown.ended()) == [
        *["worked on 0", "worked on 1", "worked on 1", "mapped"],
        "etl 'NAME', completed, TIME",
        "├── prepare: 1 done",
        "└── work: 3 done",
        "after the flow",
    ]
    assert (shown.process.returncode, shown.screen.cursor.x) == (0, 0)


@pytest.mark.parametrize("variable", ["PLAYHEAD_PROGRESS=false", "TERM=dumb"])
def test_it_is_silent_where_that_is_said(terminal: Callable[..., Terminal], variable: str) -> None:
    name, _, value = variable.partition("=")
    shown = terminal(MAPPED, **{name: value})
    shown.let_through(2)
    lines = shown.ended()
    assert sorted(lines[:3]) == ["worked on 0", "worked on 1", "worked on 1"]
    assert lines[3:] == ["mapped", "after the flow"]


def test_output_that_goes_to_a_file_goes_there(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        shown = terminal(MAPPED, stdout=out.fileno())
    shown.until(last_is("work: 1 of 3 done, 2 running"))
    shown.let_through(2)
    assert masked(shown.ended())[0] == "mapped"
    printed = (tmp_path / "out").read_text().splitlines()
    assert [*sorted(printed[:3]), *printed[3:]] == ["worked on 0", "worked on 1", "worked on 1", "after the flow"]


def test_it_makes_room_for_a_question(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("""
@task
def ask():
    wait()
    return input("Who? ")
@flow(flow_run_name="asking")
def questions():
    print("hello", ask.submit().result())
logging.getLogger("playhead").setLevel("WARNING")
questions()
""")
    shown.until(last_is("ask: 1 running"))
    shown.let_through()
    assert shown.until(last_is("Who?")) == ["Who?"]
    assert shown.screen.cursor.x == len("Who? ")
    shown.type("Ada\n")
    assert masked(shown.ended()) == [
        "Who? Ada",
        "hello Ada",
        "questions 'NAME', completed, TIME",
        "└── ask: 1 done",
    ] or (masked(shown.lines)[2] == "questions 'asking', completed, TIME")


def test_a_bar_that_has_no_end_yet_is_left_in_its_place(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("""
@flow
def barring():
    wait()
    print("half", end="", flush=True)
    wait()
    print("\\rwhole", end="", flush=True)
    os.write(1, b" and more")
    wait()
    print(" done")
logging.getLogger("playhead").setLevel("WARNING")
barring()
""")
    tree = "barring 'NAME', running, TIME"
    shown.until(lambda lines: masked(lines) == ["", tree])
    shown.let_through()
    shown.until(lambda lines: masked(lines) == ["half", tree])
    shown.let_through()
    shown.until(lambda lines: masked(lines) == ["whole and more", tree])
    shown.let_through()
    assert masked(shown.ended()) == ["whole and more done", "barring 'NAME', completed, TIME"]


def test_the_tree_scrolls_with_the_text_at_the_end_of_the_screen(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("""
@flow
def filling():
    wait()
    for n in range(1_000):
        print("line", n)
    wait()
    os.write(2, b"from elsewhere\\n")
    wait()
logging.getLogger("playhead").setLevel("WARNING")
filling()
""")
    shown.until(lambda lines: "filling" in lines[-1])
    shown.let_through()
    shown.until(lambda lines: lines[-3:-1] == ["line 999", ""] and "filling" in lines[-1])
    shown.let_through()
    lines = shown.until(lambda lines: lines[-3:-1] == ["from elsewhere", ""] and "filling" in lines[-1])
    assert lines[-ROWS:-3] == [f"line {n}" for n in range(1_003 - ROWS, 1_000)]
    shown.let_through()
    assert masked(shown.ended())[-1] == "filling 'NAME', completed, TIME"


def test_a_tree_that_becomes_smaller_leaves_nothing_behind(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("""
@task
def one(): pass
@flow(retries=1)
def shrinking():
    if not getattr(wait, "again", False):
        wait.again = True
        one()
        wait()
        raise ValueError("once more")
    wait()
logging.getLogger("playhead").setLevel("CRITICAL")
shrinking()
""")
    shown.until(last_is("one: 1 done"))
    shown.let_through()
    shown.until(lambda lines: len(lines) == 2 and "shrinking" in lines[1])
    shown.let_through()
    assert masked(shown.ended()) == ["shrinking 'NAME', completed, TIME"]


def test_lines_that_threads_print_at_once_stay_whole(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("""
@task
def say(x):
    sys.stdout.write(f"line {x} of many\\n")
@flow
def talking():
    wait()
    say.map(range(300)).wait()
    wait()
logging.getLogger("playhead").setLevel("WARNING")
talking()
""")
    shown.until(lambda lines: "talking" in lines[-1])
    shown.let_through()
    shown.until(last_is("say: 300 done"))
    shown.let_through()
    lines = shown.ended()
    assert sorted(lines[:300]) == sorted(f"line {x} of many" for x in range(300))
    assert masked(lines[300:]) == ["talking 'NAME', completed, TIME", "└── say: 300 done"]


ENDING = """
@task
def one(): return 1
@flow(flow_run_name="run")
def ending():
    one()
    wait()
    raise ValueError("no more")
logging.getLogger("playhead").setLevel("CRITICAL")
ending()
"""


def test_a_flow_that_raises_leaves_its_tree_and_then_its_traceback(terminal: Callable[..., Terminal]) -> None:
    shown = terminal(ENDING)
    shown.until(last_is("one: 1 done"))
    shown.let_through()
    lines = masked(shown.ended())
    assert lines[:3] == ["ending 'run', failed, TIME", "└── one: 1 done", "Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: no more"


def test_a_flow_that_is_interrupted_leaves_its_tree(terminal: Callable[..., Terminal]) -> None:
    shown = terminal(ENDING)
    shown.until(last_is("one: 1 done"))
    shown.process.send_signal(signal.SIGINT)
    lines = masked(shown.ended())
    assert lines[:3] == ["ending 'run', crashed, TIME", "└── one: 1 done", "Traceback (most recent call last):"]
    assert lines[-1] == "KeyboardInterrupt"


def test_a_forked_process_prints_as_ever(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("""
@flow
def forking():
    wait()
    pid = os.fork()
    if pid == 0:
        print("from the child", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print("from the parent")
logging.getLogger("playhead").setLevel("WARNING")
forking()
""")
    shown.until(lambda lines: lines[-1].startswith("forking"))
    shown.let_through()
    lines = masked(shown.ended())
    assert lines[0].startswith("from the child")
    assert lines[1:] == ["from the parent", "forking 'NAME', completed, TIME"]
