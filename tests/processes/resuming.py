"""Flows in processes that are killed, what their journals have then, and which bodies have begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import LIST_FLOW_RUNS, LIST_TASK_RUNS
from tests.processes.serving import ROOT

LEASE_LAPSED_S = 120
"""A lease lasts 60 s; the clock of the process that goes on is so far ahead."""


@dataclass(frozen=True)
class Recorded:
    """What a journal has of the runs of one flow, with ids in the place of chance."""

    flow_runs: Counter[tuple[str, str]]
    task_runs: Counter[tuple[str, ...]]
    completed: frozenset[str]
    run_id: str


class Processes:
    """The process whose children run flows."""

    def __init__(self, home: Path, flows: ModuleType) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.resume_main", flows.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PLAYHEAD_HOME": str(home)},
        )

    def run(self, flow: str, folder: Path, *, run: str = "", request: int = 0, recorded: bool = False) -> Any:
        """Let a child run a flow to its end or to the deadly request. Whether it was killed, and the flow's result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"flow": flow, "database": str(folder / "journal.db"), "bodies": str(folder / "bodies"), "run": run}
        order |= {"request": request, "recorded": recorded, "later_s": LEASE_LAPSED_S if run else 0}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        said = self._process.stdout.readline()
        assert said, f"{order}: the child did not end as it should; what it said is on stderr"
        answer = json.loads(said)
        return answer["killed"], answer["result"]

    def end(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def recorded_in(folder: Path) -> Recorded:
    """What is on record."""
    with closing(EmbeddedClient(str(folder / "journal.db"), timers=False)) as client:
        flows = client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest(page_size=100)).flow_runs
        tasks = client.unary(LIST_TASK_RUNS, v1.ListTaskRunsRequest(page_size=100)).task_runs
    top = [run.spec.id for run in flows if not run.spec.parent_task_run_id]
    assert len(top) <= 1
    return Recorded(
        flow_runs=Counter((run.flow_name, run.status.state.name) for run in flows),
        task_runs=Counter((run.spec.task_key, _call_number(run), run.status.state.name) for run in tasks),
        completed=frozenset(run.spec.id for run in tasks if run.status.state.type == v1.COMPLETED),
        run_id="".join(top),
    )


def _call_number(run: v1.TaskRun) -> str:
    """Without the id of the task run that called, which follows from the flow run's."""
    return run.spec.dynamic_key.rpartition(".")[2]


def bodies_in(folder: Path) -> Counter[str]:
    """How often the bodies of task runs have begun, by the runs' ids."""
    file = folder / "bodies"
    lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    return Counter(line.split()[0] for line in lines)
