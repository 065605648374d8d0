"""A process that stands still, is given up, and goes on: what it reports then changes nothing."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.engine.execution.ids import new_id
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.journal.journal import system_clock
from playhead.journal.record import Caller
from tests.processes.serving import ROOT

LEASE_US = 60_000_000
SUCCESSOR = Caller("successor@host pid 1")


class Stopped:
    """A process in the midst of its task that was sent SIGSTOP, and a server for which the process's lease is over."""

    def __init__(self, process: subprocess.Popen[str], server: Orchestrator, flow_run_id: str) -> None:
        self.process = process
        self.server = server
        self.flow_run_id = flow_run_id

    def states(self) -> list[tuple[str, int]]:
        """Name and version of the flow run and of its task run."""
        filter_ = v1.TaskRunFilter(flow_run_ids=[self.flow_run_id])
        (task_run,) = self.server.runs.list_task_runs(v1.ListTaskRunsRequest(filter=filter_)).task_runs
        flow_run = self.server.runs.get_flow_run(v1.GetFlowRunRequest(flow_run_id=self.flow_run_id)).flow_run
        return [(run.status.state.name, run.status.version) for run in (flow_run, task_run)]

    def run_again(self) -> None:
        """Take the flow run and its task run over."""
        filter_ = v1.TaskRunFilter(flow_run_ids=[self.flow_run_id])
        (task_run,) = self.server.runs.list_task_runs(v1.ListTaskRunsRequest(filter=filter_)).task_runs
        running = v1.State(type=v1.RUNNING)
        for request in (
            v1.ProposeStateRequest(flow_run_id=self.flow_run_id, lease_ttl=Duration(seconds=3_600)),
            v1.ProposeStateRequest(task_run_id=task_run.spec.id),
        ):
            request.request_id = new_id()
            request.state.CopyFrom(running)
            answer = self.server.orchestration.propose_state(request, SUCCESSOR).result()
            assert answer.decision == v1.ACCEPT

    def go_on(self) -> str:
        """Let the process go on, finish its task and report; what it says at its end."""
        os.kill(self.process.pid, signal.SIGCONT)
        said, _ = self.process.communicate("go on\n")
        assert self.process.returncode == 0
        return said.strip()

    def warnings(self) -> list[str]:
        """What the process has logged about the flow run that is at least a warning."""
        filter_ = v1.LogFilter(flow_run_id=self.flow_run_id, level_min=logging.WARNING)
        return [record.message for record in self.server.logs.read_logs(v1.ReadLogsRequest(filter=filter_)).records]

    def refused(self) -> list[tuple[str, str]]:
        """Who was refused in this flow run, by which rule."""
        journal = self.server.journal
        records = journal.read(1, journal.head()[0], limit=1_000)
        return [
            (v1.StateType.Name(event.command.state.type), event.rule)
            for record in records
            if record.kind == "state_proposed"
            for event in [v1.Event.FromString(record.payload or b"").state_proposed]
            if event.decision != v1.ACCEPT
        ]


@contextmanager
def stopped(store: str, *options: str) -> Iterator[Stopped]:
    """Start a process, stop it once its task has begun, and let its lease be over for everybody else."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.processes.stopped_main", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PLAYHEAD_DATABASE": store},
    )
    try:
        assert process.stdout is not None
        flow_run_id = process.stdout.readline().strip()
        os.kill(process.pid, signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        with Orchestrator.open(store, clock=lambda: system_clock() + LEASE_US, timers=False) as server:
            yield Stopped(process, server, flow_run_id)
    finally:
        process.kill()
        process.communicate()


def test_the_late_reports_of_a_process_that_was_given_up_change_nothing(store: str) -> None:
    with stopped(store) as given_up:
        assert given_up.server.timers.tick() == 2
        crashed = given_up.states()
        assert [name for name, _ in crashed] == ["Crashed", "Crashed"]
        assert given_up.go_on() == "CRASHED"
        assert given_up.states() == crashed
        assert given_up.refused() == [("COMPLETED", "FenceLateReports")]


def test_a_process_that_was_given_up_says_how_its_run_goes_on_when_that_is_scheduled_again(store: str) -> None:
    with stopped(store, "retry on crash") as given_up:
        given_up.server.timers.tick()
        assert given_up.states()[0][0] == "AwaitingRetry"
        assert given_up.go_on() == "SCHEDULED"
        assert given_up.states()[0][0] == "AwaitingRetry"
        assert f"python -m playhead.engine {given_up.flow_run_id}" in given_up.warnings()[-1]


def test_the_late_reports_of_a_process_that_was_given_up_do_not_disturb_its_successor(store: str) -> None:
    with stopped(store) as given_up:
        given_up.server.timers.tick()
        given_up.run_again()
        running = given_up.states()
        assert [name for name, _ in running] == ["Running", "Retrying"]
        assert given_up.go_on().startswith("Abort: Lease")
        assert given_up.states() == running
        assert given_up.refused() == [("COMPLETED", "FenceLateReports")]
