"""Durable transactions, with real processes: a run that was killed with any of its requests is run again. Then what was
committed is there as a whole, what was rolled back is gone as a whole, no hook is lost, and nothing that is finished
and was not undone runs again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import LIST_STATES
from tests.processes import transaction_flows
from tests.processes.resuming import Processes, bodies_in, recorded_in

HOOKS = {"commit-hook", "rollback-hook"}

REQUESTS_MAX = 200
"""More than any of the flows makes."""

STEP = 5
"""In an ordinary run, every so many requests is deadly; each time another one of them, by the flow."""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """A process of the test's own, which no other test has opened a journal in."""
    processes = Processes(tmp_path / "home", transaction_flows)
    yield processes
    processes.end()


@pytest.mark.parametrize("flow", transaction_flows.CORPUS)
def test_a_transaction_killed_with_some_request_is_whole_in_the_end(
    flow: str, processes: Processes, tmp_path: Path
) -> None:
    first = list(transaction_flows.CORPUS).index(flow) % STEP + 1
    check(flow, [(n, bool(n % 2)) for n in range(first, REQUESTS_MAX, STEP)], processes, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("recorded", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize("flow", transaction_flows.CORPUS)
def test_a_transaction_killed_with_any_request_is_whole_in_the_end(
    flow: str, recorded: bool, processes: Processes, tmp_path: Path
) -> None:
    check(flow, [(n, recorded) for n in range(1, REQUESTS_MAX)], processes, tmp_path)


def check(flow: str, deaths: list[tuple[int, bool]], processes: Processes, tmp_path: Path) -> None:
    """Let the flow die with each of these requests, before or after it is recorded, and run it again."""
    in_peace = tmp_path / "in peace"
    in_peace.mkdir()
    killed, expected = processes.run(flow, in_peace)
    assert not killed
    wanted, effects = final(in_peace), effects_in(in_peace)
    for request, recorded in deaths:
        folder = tmp_path / str(request)
        folder.mkdir()
        killed, _ = processes.run(flow, folder, request=request, recorded=recorded)
        if not killed:
            return
        when = f"{flow} killed with request {request}, recorded: {recorded}"
        before, bodies_before = recorded_in(folder), bodies_in(folder)
        if not before.run_id:
            continue
        assert processes.run(flow, folder, run=before.run_id) == (False, expected), when
        assert effects_in(folder) == effects, when
        assert final(folder) == wanted, when
        again = before.completed & (bodies_in(folder) - bodies_before).keys()
        assert all("RolledBack" in names_of(run_id, folder) for run_id in again), f"{when}: a finished body ran again"
        assert not list((folder / "locks").glob("*.lock")), f"{when}: a lock is left"
    raise AssertionError(f"{flow} makes more than {REQUESTS_MAX} requests")


def final(folder: Path) -> object:
    """The states that runs are in, but for the calls of hooks: how many there are depends on the attempts."""
    recorded = recorded_in(folder)
    return recorded.flow_runs, {run: n for run, n in recorded.task_runs.items() if run[0] not in HOOKS}


def effects_in(folder: Path) -> list[str]:
    """What tasks and hooks have left."""
    return sorted(file.name for file in (folder / "effects").glob("*"))


def names_of(run_id: str, folder: Path) -> list[str]:
    """The states that a task run has been in."""
    with closing(EmbeddedClient(str(folder / "journal.db"), timers=False)) as client:
        states = client.unary(LIST_STATES, v1.ListStatesRequest(task_run_id=run_id, page_size=100)).states
    return [state.name for state in states]
