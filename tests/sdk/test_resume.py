"""Durable resume: a flow run is executed again, and what was finished is not repeated.

Killing is done by a client that is dead from a chosen request on: whether the request was recorded and only its answer
was lost, or not even that, nothing that the process does afterwards has an effect, as after `kill -9`. Being run again
counts as an attempt: what is retried here has one to spare.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task, v1
from playhead.client.interface import (
    CANCEL_FLOW_RUN,
    CREATE_FLOW_RUN,
    GET_FLOW_RUN,
    LIST_FLOW_RUNS,
    LIST_TASK_RUNS,
    PAUSE_FLOW_RUN,
    PROPOSE_STATE,
    REGISTER_FLOW,
    RESUME_FLOW_RUN,
    WATCH_RUN,
    Client,
)
from playhead.engine import enter_flow_run_engine_from_subprocess
from playhead.engine.__main__ import main
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.connection import close_clients, get_client, use_client
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.subflows import call_loop
from playhead.exceptions import MissingFlowError
from playhead.flows import load_flow_from_entrypoint
from playhead.runs import FlowRun
from playhead.tasks import task_input_hash
from tests.sdk.conftest import Service
from tests.sdk.virtual import VirtualTime, virtual_journal

bodies: Counter[str] = Counter()


class Killed(BaseException):
    """The process is gone."""


class MortalClient:
    """A client that dies with request number `last`: before it is sent, or after it was recorded. Logs do not count."""

    def __init__(self, client: Client, last: int, recorded: bool) -> None:
        self._client = client
        self._left = last
        self._recorded = recorded

    def unary(self, method: Any, request: Any, *, timeout_s: float | None = None) -> Any:
        """Ask, while alive."""
        if method.service == "Logs":
            return self._client.unary(method, request)
        self._left -= 1
        if self._left > 0:
            return self._client.unary(method, request)
        if self._left == 0 and self._recorded:
            self._client.unary(method, request)
        raise Killed

    def submit(self, method: Any, request: Any, *, timeout_s: float | None = None) -> Future[Any]:
        """Ask, while alive."""
        future: Future[Any] = Future()
        try:
            future.set_result(self.unary(method, request))
        except BaseException as error:
            future.set_exception(error)
        return future

    def stream(self, method: Any, request: Any, *, timeout_s: float | None = None) -> Iterator[Any]:
        """Ask, while alive."""
        return self._client.stream(method, request, timeout_s=timeout_s)

    def close(self) -> None:
        """The journal's client is closed by its owner."""


@task
def double(n: int) -> int:
    bodies[f"double {n}"] += 1
    return n * 2


@task(retries=2)
def flaky(n: int) -> int:
    bodies["flaky"] += 1
    if bodies["flaky"] == 1:
        raise ValueError("once")
    return n + 1


@task(cache_key_fn=task_input_hash)
def cached(n: int) -> list[int]:
    bodies["cached"] += 1
    return list(range(n))


@task
def outer(n: int) -> int:
    bodies["outer"] += 1
    return double(n) + double(n + 1)  # type: ignore[no-any-return]  # tasks answer Any


@flow
def serial() -> Any:
    return [double(1), flaky(double(2)), len(cached(3))]


@flow
def mapped() -> Any:
    doubled = double.map([1, 2, 3])
    return sum(double.submit(sum(doubled.result())).result() for _ in range(2))


@flow
def nested() -> Any:
    return outer(1)


@flow
def child(n: int) -> int:
    return double(n) + double(n + 1)  # type: ignore[no-any-return]  # tasks answer Any


@flow
def parent() -> Any:
    return child(1) + child(10)


@flow(retries=2, retry_delay_seconds=30)
def retried() -> Any:
    value = double(1)
    bodies["attempts"] += 1
    if bodies["attempts"] == 1:
        raise RuntimeError("again")
    return value


CORPUS: list[Callable[[], Any]] = [serial, mapped, nested, parent, retried]


def execute(time: VirtualTime, client: Client, run: Any, existing: FlowRun | None = None) -> Any:
    """Run a flow on a client; its tasks are called as users call them."""
    use_client(client)
    return time.drive(call_loop(FlowCall(run, {}, client, existing=existing)), client).result()


def finished_bodies(client: Client) -> dict[str, int]:
    """The completed task runs of the journal that have a function, by name, and how often it was called until now."""
    runs = client.unary(LIST_TASK_RUNS, v1.ListTaskRunsRequest(page_size=1_000)).task_runs
    return {run.spec.id: run.status.run_count for run in runs if run.status.state.type == v1.COMPLETED}


@pytest.mark.parametrize("recorded", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize("run", CORPUS, ids=lambda run: run.name)
def test_a_run_killed_at_any_request_ends_as_if_it_had_not_been(
    run: Any, recorded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path))
    bodies.clear()
    with virtual_journal(tmp_path) as (time, client):
        expected = execute(time, client, run)
    uninterrupted = bodies.copy()
    last = 0
    while True:
        last += 1
        bodies.clear()
        folder = tmp_path / str(last)
        folder.mkdir()
        with virtual_journal(folder) as (time, client):
            try:
                assert execute(time, MortalClient(client, last, recorded), run) == expected
                break
            except Killed:
                pass
            before, bodies_before = finished_bodies(client), bodies.copy()
            runs = client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest(filter=v1.FlowRunFilter(top_level_only=True)))
            if runs.flow_runs:
                (stranded,) = runs.flow_runs
                existing = FlowRun(stranded.spec.id, stranded.status.name, [], run.name, {})
                assert execute(time, client, run, existing) == expected, f"killed at request {last}"
                again = client.unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=stranded.spec.id)).flow_run
                assert again.status.state.type == v1.COMPLETED
                after = finished_bodies(client)
                assert {run_id: after[run_id] for run_id in before} == before, f"repeated after request {last}"
                repeated = sum((bodies - bodies_before).values())
                assert repeated <= sum(uninterrupted.values())
    assert last > 4


def test_an_async_flow_is_resumed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", "1")
    import asyncio

    ran = []

    @task
    async def step(n: int) -> int:
        ran.append(n)
        return n

    class Stop(BaseException):
        pass

    @flow
    async def gathering() -> list[int]:
        first = await asyncio.gather(step(1), step(2))
        if len(ran) == 2:
            ran.append(0)
            raise Stop
        return [*first, await step(3)]

    with pytest.raises(Stop):
        asyncio.run(gathering())
    recorded = service.flow_runs("gathering")[-1]
    assert recorded.status.state.name == "Crashed"
    existing = FlowRun(recorded.spec.id, recorded.status.name, [], "gathering", {})
    from playhead.engine.execution.drivers import drive_async

    state = asyncio.run(
        drive_async(call_loop(FlowCall(gathering, {}, service.client, existing=existing)), service.client)
    )
    assert state.result() == [1, 2, 3]
    assert ran == [1, 2, 0, 3]


PROGRAM = """
import os, signal
from pathlib import Path
from playhead import flow, tags, task

@task
def step(n, folder):
    with open(Path(folder) / "bodies", "a") as file:
        file.write(f"{n}\\n")
    return n

@flow
def pipeline(count: int, folder: Path):
    results = []
    for n in range(count):
        results.append(step(n, str(folder)))
        if n == 2 and not (folder / "again").exists():
            (folder / "again").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return sum(results)

if __name__ == "__main__":
    with tags("nightly"):
        pipeline(5, Path(__file__).parent)
"""


@pytest.mark.parametrize("guard", ['__name__ == "__main__"', "True"], ids=["guarded script", "script without guard"])
def test_a_killed_process_is_followed_by_another(service: Service, tmp_path: Path, guard: str) -> None:
    script = tmp_path / "killed_pipeline.py"
    script.write_text(PROGRAM.replace('__name__ == "__main__"', guard))
    environment = {**os.environ, "PLAYHEAD_LEASE_TTL_S": "1"}
    first = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=environment, check=False)
    assert first.returncode == -signal.SIGKILL
    recorded = service.flow_runs("pipeline")[-1]
    assert recorded.spec.entrypoint == "killed_pipeline.py:pipeline"
    command = [sys.executable, "-m", "playhead.engine", recorded.spec.id]
    second = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    assert second.returncode == 0
    assert (tmp_path / "bodies").read_text().split() == ["0", "1", "2", "3", "4"]
    assert service.flow_run(recorded.spec.id).status.state.name == "Completed"
    assert [list(run.status.tags) for run in service.task_runs(recorded.spec.id)] == [["nightly"]] * 5
    command[-1] = recorded.status.name
    third = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    assert third.returncode == 0
    assert (tmp_path / "bodies").read_text().split() == ["0", "1", "2", "3", "4"]


GATE = """
import os, signal, sys
from pathlib import Path
from playhead import flow, pause_flow_run
from playhead.flow_runs import suspend_flow_run

@flow
def gated(suspends: bool):
    if suspends:
        suspend_flow_run(timeout=600)
    else:
        pause_flow_run(timeout=600)
    Path("deployed").write_text("deployed")
"""


@pytest.mark.parametrize("suspends", [False, True], ids=["paused", "suspended"])
def test_a_paused_run_that_is_executed_stays_paused_until_somebody_resumes_it(
    embedded: Service, tmp_path: Path, suspends: bool
) -> None:
    (tmp_path / "gate.py").write_text(GATE)
    parameters = json.dumps({"suspends": suspends}).encode()
    spec = v1.FlowRunSpec(id=new_id(), entrypoint="gate.py:gated", parameters=parameters, deployment_id=new_id())
    request = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="gated")
    spec.flow_id = embedded.client.unary(REGISTER_FLOW, request).flow.id
    embedded.client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
    command = [sys.executable, "-m", "playhead.engine", spec.id]
    with subprocess.Popen(command, cwd=tmp_path) as first:
        for seen in embedded.client.stream(WATCH_RUN, v1.WatchRunRequest(flow_run_id=spec.id), timeout_s=60):
            if seen.flow_run.status.state.type == v1.PAUSED:
                break
        if suspends:
            assert first.wait() == 0
        else:
            first.kill()

    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert f"playhead flow-run resume {spec.id}" in said.stderr
    assert embedded.flow_run(spec.id).status.state.type == v1.PAUSED

    resume = v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=spec.id)
    assert embedded.client.unary(RESUME_FLOW_RUN, resume).decision == v1.ACCEPT
    assert not (tmp_path / "deployed").exists()
    if suspends:  # the lease of who was killed in a pause lives on
        assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
        assert (tmp_path / "deployed").exists()


def test_a_run_that_was_cancelled_runs_again_and_says_that_it_was(embedded: Service, tmp_path: Path) -> None:
    (tmp_path / "planned.py").write_text("from playhead import flow\n\n@flow\ndef planned(): ...\n")
    flow_id = embedded.client.unary(
        REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="planned")
    ).flow.id
    spec = v1.FlowRunSpec(id=new_id(), flow_id=flow_id, entrypoint="planned.py:planned", parameters=b"{}")
    spec.state.type = v1.SCHEDULED
    embedded.client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
    embedded.client.unary(CANCEL_FLOW_RUN, v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=spec.id))
    assert embedded.flow_run(spec.id).status.state.type == v1.CANCELLED
    command = [sys.executable, "-m", "playhead.engine", spec.id]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "was cancelled" in done.stdout
    assert embedded.flow_run(spec.id).status.state.type == v1.COMPLETED


PACKAGED = """
import os, signal
from pathlib import Path
from playhead import flow
from . import answer

@flow
def packaged():
    if not Path("again").exists():
        Path("again").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

if __name__ == "__main__":
    packaged()
"""


def test_a_module_that_was_run_by_its_name_is_found_by_it_in_the_same_folder_and_else_it_is_said_where_to_go(
    embedded: Service, tmp_path: Path
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "kit").mkdir(parents=True)
    elsewhere.mkdir()
    (project / "kit" / "__init__.py").write_text("answer = 42\n")
    (project / "kit" / "flows.py").write_text(PACKAGED)
    environment = {**os.environ, "PLAYHEAD_LEASE_TTL_S": "1"}
    first = subprocess.run([sys.executable, "-m", "kit.flows"], cwd=project, env=environment, check=False)
    assert first.returncode == -signal.SIGKILL
    (recorded,) = embedded.flow_runs("packaged")
    assert recorded.spec.entrypoint == "kit.flows:packaged"
    command = [sys.executable, "-m", "playhead.engine", recorded.spec.id]
    lost = subprocess.run(command, cwd=elsewhere, env=environment, check=False, capture_output=True, text=True)
    assert lost.returncode == 2
    assert "The module 'kit.flows' can not be imported" in lost.stderr
    assert f"looked for in {str(elsewhere)!r} too. Go to the folder in which the run was started." in lost.stderr
    assert subprocess.run(command, cwd=project, env=environment, check=False).returncode == 0
    assert embedded.flow_run(recorded.spec.id).status.state.name == "Completed"


@pytest.mark.parametrize("entrypoint", ["", ":", "flows", "flows:", ":main"])
def test_what_is_no_entrypoint_is_told(entrypoint: str) -> None:
    with pytest.raises(MissingFlowError, match=f"'{entrypoint}' is no entrypoint"):
        load_flow_from_entrypoint(entrypoint)


def test_a_file_that_is_not_there_is_named_with_the_folder_it_was_looked_for_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFlowError) as relative:
        load_flow_from_entrypoint("absent.py:nothing")
    there, then = f"in the folder {str(tmp_path)!r}", "Go to the folder in which the run was started."
    assert str(relative.value) == f"There is no file 'absent.py' {there}. {then}"
    with pytest.raises(MissingFlowError, match=r"^There is no file '/absent\.py'\.$"):
        load_flow_from_entrypoint("/absent.py:nothing")


def test_a_run_without_an_entrypoint_or_with_a_wrong_one_says_so(service: Service) -> None:
    @flow
    def local() -> None: ...

    local()
    run_id = service.flow_runs("local")[-1].spec.id
    with pytest.raises(MissingFlowError, match="without an entrypoint"):
        enter_flow_run_engine_from_subprocess(run_id)


def test_the_engine_takes_the_name_of_a_run_where_it_is_one_runs_alone(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "named_flows.py").write_text(
        "from playhead import flow\n\n@flow(flow_run_name='{name}')\ndef named(name): return name\n"
    )
    named = load_flow_from_entrypoint("named_flows.py:named")
    mine, ours = f"mine {new_id()}", f"ours {new_id()}"
    for name in (mine, ours, ours):
        named(name)
    assert main([mine]) == 0
    assert main([ours]) == 2
    said = capsys.readouterr().err
    for run in service.flow_runs("named")[-2:]:
        assert f"{run.spec.id} ({ours}, named, Completed, created " in said
    assert "Give the whole id" in said
    assert main(["nobody"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "See which runs there are: playhead flow-run ls"


def test_the_engine_leaves_a_run_that_waits_for_input_and_says_what_to_do(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gated_flows.py").write_text("from playhead import flow\n\n@flow\ndef gated(): return 1\n")
    flow = service.client.unary(
        REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="gated")
    ).flow
    spec = v1.FlowRunSpec(id=new_id(), flow_id=flow.id, entrypoint="gated_flows.py:gated")
    running = v1.ProposeStateRequest(request_id=new_id(), create_flow_run=spec, state=v1.State(type=v1.RUNNING))
    service.client.unary(PROPOSE_STATE, running)
    asks = v1.PauseFlowRunRequest(request_id=new_id(), flow_run_id=spec.id, run_input_schema=b"{}")
    service.client.unary(PAUSE_FLOW_RUN, asks)
    assert main([spec.id]) == 2
    said = capsys.readouterr().err
    assert "The flow run is paused: A paused run is to be resumed before a process can work on it." in said
    assert f"What input it asks for, if any: playhead flow-run inspect {spec.id}" in said
    assert f"Resume it first: playhead flow-run resume {spec.id}" in said
    assert service.flow_run(spec.id).status.state.type == v1.PAUSED


def test_the_client_of_the_environment_is_used_again_after_another_was(embedded: Service) -> None:
    before = get_client()
    close_clients()
    assert get_client() is not before
