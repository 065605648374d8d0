"""Worker processes: what they are given, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from playhead import flow
from playhead.engine.execution.effects import CalledOff, WorkerLost
from playhead.engine.execution.processes import Processes
from playhead.task_runners import ProcessPoolTaskRunner, TaskConcurrencyType
from tests.runners import work
from tests.sdk.conftest import Service

_SCRIPT = """
import os, sys, threading
from playhead import flow, task
from playhead.task_runners import ProcessPoolTaskRunner

lock = threading.Lock()

class Point:
    def __init__(self, x):
        self.x = x

@task(on_completion=[lambda task, run, state: lock.acquire()])
def moved(point, by):
    assert "beside" not in sys.modules
    from beside import STEP
    return Point(point.x + by * STEP)

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def main():
    point = moved.submit(Point(1), 2).result()
    return isinstance(point, Point), point.x

print("once", main())
"""

_ORPHANING = """
import sys
from pathlib import Path
from playhead import flow
from playhead.task_runners import ProcessPoolTaskRunner
from tests.runners import work

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def main(folder):
    work.wait_for.submit(Path(folder, "started"), Path(folder, "never")).result()

main(sys.argv[1])
"""


def test_a_plain_script_needs_no_guard_and_finds_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("STEP = 10\n")
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    environment = {**os.environ, "PLAYHEAD_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, str(script)], env=environment, cwd="/", capture_output=True, text=True)
    assert done.stdout == "once (True, 21)\n", done.stderr


def test_workers_end_with_the_process_of_the_flow_even_when_it_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PLAYHEAD_HOME": str(tmp_path / "home")}
    with subprocess.Popen([sys.executable, "-c", _ORPHANING, str(tmp_path)], env=environment) as process:
        while not (tmp_path / "started").exists() or not (tmp_path / "started").read_text():
            assert process.poll() is None
        worker = psutil.Process(int((tmp_path / "started").read_text()))
        process.send_signal(signal.SIGKILL)
    worker.wait(timeout=60)


def test_workers_are_kept_for_the_next_calls_and_end_with_the_flow_run(embedded: Service) -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def one_by_one() -> set[int]:
        return {work.pid.submit().result() for _ in range(3)}

    (worker,) = one_by_one()
    assert not psutil.pid_exists(worker)


def test_a_worker_that_died_between_calls_costs_no_run(embedded: Service) -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def going_on() -> tuple[int, int]:
        first: int = work.pid.submit().result()
        psutil.Process(first).kill()
        while psutil.Process(first).status() != psutil.STATUS_ZOMBIE:
            pass
        return first, work.pid.submit().result()

    first, second = going_on()
    assert first != second


def test_there_are_never_more_workers_than_asked_for(embedded: Service) -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def many() -> list[int]:
        futures = [work.pid.with_options(retries=1).submit() for _ in range(20)]
        return [future.result() for future in futures]

    assert len(set(many())) <= 2


@pytest.mark.parametrize(
    ("how", "says"), [(signal.SIGKILL, "was ended by SIGKILL"), (signal.SIGTERM, "was ended by SIGTERM")]
)
def test_the_state_says_how_the_worker_ended(embedded: Service, tmp_path: Path, how: int, says: str) -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def losing() -> None:
        future = work.die_once.submit(tmp_path / "died", how)
        state = future.wait()
        assert state is not None
        assert state.message == f"The process that ran the task {says} before it answered."
        assert "CrashedRun" in repr(future.result(raise_on_failure=False))

    losing()


def test_what_is_no_call_is_answered_with_an_error_and_the_worker_lives_on() -> None:
    processes = Processes()
    first, second = processes.call(b"no pickle"), processes.call(b"")
    assert b"UnpicklingError" in first
    assert b"EOFError" in second
    processes.close()


def test_after_calling_off_nothing_is_started() -> None:
    processes = Processes()
    processes.call_off()
    with pytest.raises(CalledOff):
        processes.call(b"")


def test_a_worker_that_can_not_start_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerLost, match="ended with exit code 1 before it answered"):
        Processes().call(b"")


def test_options_are_checked_and_kept() -> None:
    runner = ProcessPoolTaskRunner(max_workers=3)
    assert (runner.name, runner.concurrency_type) == ("processpool", TaskConcurrencyType.PARALLEL)
    assert runner.duplicate() == runner != ProcessPoolTaskRunner()
    with pytest.raises(ValueError, match="`max_workers` must be at least 1"):
        ProcessPoolTaskRunner(max_workers=0)
