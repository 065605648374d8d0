"""Durable resume, with real processes: a run that was killed with any of its requests ends, when it is run again, as
if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import resume_flows
from tests.processes.resuming import Processes, bodies_in, recorded_in


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """A process of the test's own, which no other test has opened a journal in."""
    processes = Processes(tmp_path / "home", resume_flows)
    yield processes
    processes.end()


@pytest.mark.parametrize("recorded", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize("flow", resume_flows.CORPUS)
def test_a_run_killed_with_any_request_ends_as_if_it_had_not_been(
    flow: str, recorded: bool, processes: Processes, tmp_path: Path
) -> None:
    in_peace = tmp_path / "in peace"
    in_peace.mkdir()
    killed, expected = processes.run(flow, in_peace)
    assert not killed
    wanted = recorded_in(in_peace)
    request = 0
    while True:
        request += 1
        folder = tmp_path / str(request)
        folder.mkdir()
        killed, result = processes.run(flow, folder, request=request, recorded=recorded)
        if not killed:
            break
        before, bodies_before = recorded_in(folder), bodies_in(folder)
        assert processes.run(flow, folder, run=before.run_id) == (False, expected), f"killed with request {request}"
        after = recorded_in(folder)
        assert after.task_runs == wanted.task_runs, f"killed with request {request}"
        assert after.flow_runs == wanted.flow_runs, f"killed with request {request}"
        again = bodies_in(folder) - bodies_before
        assert not before.completed & again.keys(), f"completed bodies ran again after request {request}"
    assert request > 5
    assert (result, recorded_in(folder).task_runs) == (expected, wanted.task_runs)
