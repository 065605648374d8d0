"""What has fallen due while no process has the journal open: lists mark it, nothing is decided by looking."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from typer.testing import CliRunner

from playhead import v1
from playhead.cli import logs
from playhead.cli.app import app
from playhead.client.interface import PROPOSE_STATE
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Policy, core_policy
from playhead.engine.orchestration.rules.effects import Effect, wait
from playhead.engine.orchestration.rules.rule import Rule
from playhead.journal.encoding import SECOND_US, timestamp
from playhead.journal.record import Caller
from tests.cli.conftest import Shell
from tests.replay.history import new_id

HOUR_AGO_US = int(time.time()) * SECOND_US - 3_600 * SECOND_US


@pytest.fixture
def deserted(tmp_path: Path) -> Shell:
    """A journal that all processes have left an hour ago: a run is on record as running, another as scheduled."""
    database = str(tmp_path / "journal.db")
    with Orchestrator.open(database, clock=lambda: HOUR_AGO_US, timers=False) as orchestrator:
        caller = Caller("ada")
        flow = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="etl")
        flow_id = orchestrator.calls.register_flow(flow, caller).flow.id

        def propose(state: v1.State, **run: object) -> str:
            request = v1.ProposeStateRequest(request_id=new_id(), state=state, **run)  # type: ignore[arg-type] # a run field
            answer = getattr(orchestrator.calls, PROPOSE_STATE.call)(request, caller)
            return str(answer.run_id)

        dead = propose(
            v1.State(type=v1.RUNNING),
            create_flow_run=v1.FlowRunSpec(id=new_id(), flow_id=flow_id, name="dead"),
            lease_ttl=Duration(seconds=60),
        )
        propose(
            v1.State(type=v1.RUNNING), create_task_run=v1.TaskRunSpec(flow_run_id=dead, task_key="t", dynamic_key="0")
        )
        scheduled = v1.State(type=v1.SCHEDULED)
        scheduled.details.scheduled_time.CopyFrom(timestamp(HOUR_AGO_US))
        late = v1.FlowRunSpec(id=new_id(), flow_id=flow_id, name="unstarted")
        propose(scheduled, create_flow_run=late)
    return Shell(database, dead, late.id)


def test_lists_mark_what_is_overdue_and_decide_nothing(deserted: Shell) -> None:
    head = deserted.document("journal", "head")["meta"]["revision"]
    table = deserted.run("flow-run", "ls")
    assert "Running (lease lapsed)" in table
    assert "Scheduled (late)" in table
    assert "2 overdue, nobody has decided it yet: playhead journal due" in table
    listed = deserted.document("flow-run", "ls", "--state", "running")
    assert [(due["run_id"], due["why"]) for due in listed["due"]] == [(deserted.completed, "lease lapsed")]
    assert listed["due"][0]["proposed"]["type"] == "CRASHED"
    assert "lease lapsed; nobody has decided it yet" in deserted.run("flow-run", "inspect", "dead")
    assert deserted.document("flow-run", "inspect", "unstarted")["due"][0]["why"] == "late"
    assert deserted.document("journal", "head")["meta"]["revision"] == head


def test_the_past_has_nothing_overdue(deserted: Shell) -> None:
    head = str(deserted.document("journal", "head")["meta"]["revision"])
    assert deserted.document("flow-run", "ls", "--as-of", head)["due"] == []
    assert "lapsed" not in deserted.run("flow-run", "ls", "--as-of", head)


def test_what_is_due_is_listed_and_decided_when_that_is_asked_for(deserted: Shell) -> None:
    listed = deserted.run("journal", "due")
    assert "lease lapsed" in listed
    assert "2 due; decide it: playhead journal due --decide" in listed
    assert deserted.document("journal", "due", "--decide") == {
        "proposed": 3,
        "due": [],
    }  # the task run of the dead one too
    states = {run["status"]["name"]: run["status"]["state"]["name"] for run in runs(deserted)}
    assert states == {"dead": "Crashed", "unstarted": "Late"}
    assert deserted.document("task-run", "ls")["task_runs"][0]["status"]["state"]["name"] == "Crashed"
    assert deserted.document("journal", "due") == {"due": []}
    assert "0 proposed" in deserted.run("journal", "due", "--decide")


@pytest.mark.parametrize(
    ("steps", "becomes"), [(["cancel"], "Cancelled"), (["pause"], "Crashed"), (["pause", "resume"], "Crashed")]
)
def test_who_steers_a_run_whose_process_is_gone_is_told_so(deserted: Shell, steps: list[str], becomes: str) -> None:
    said = ""
    for step in steps:
        said = " ".join(deserted.run("flow-run", step, "dead").split())
    assert f"Its lease has lapsed: no process works on it. It is to become {becomes}, which is decided by " in said
    assert "works on it and ends it" not in said
    assert "Its code waits" not in said
    assert (f"python -m playhead.engine {deserted.completed}" in said) == (becomes == "Crashed")
    deserted.run("journal", "due", "--decide")
    assert runs(deserted)[-1]["status"]["state"]["name"] == becomes


def runs(shell: Shell) -> list[dict[str, dict[str, dict[str, str]]]]:
    """The flow runs."""
    found: list[dict[str, dict[str, dict[str, str]]]] = shell.document("flow-run", "ls")["flow_runs"]
    return found


def test_a_server_is_not_asked_for_what_it_decides_itself() -> None:
    result = CliRunner().invoke(app, ["journal", "due", "--api-url", "grpc://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "A server decides what falls due within a second" in result.stderr


def test_who_follows_sees_to_what_falls_due(deserted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is there for a while, as a flow is: the run whose process died ends, and following it with it."""
    monkeypatch.setattr(logs, "SILENCE_S", 0.01)
    before = set(threading.enumerate())
    assert deserted.run("flow-run", "logs", "dead", "--follow") == ""
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), "who followed goes on for nobody"
    assert runs(deserted)[-1]["status"]["state"]["name"] == "Crashed"


class KeepsRunning(Rule):
    """any -> CRASHED: WAIT."""

    to_states = frozenset({v1.CRASHED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return wait(20, "not yet")


def lenient() -> Policy:
    core = core_policy()
    return replace(core, core_flow=(KeepsRunning(), *core.core_flow))


def test_what_a_rule_does_not_grant_stays_due_and_is_told(deserted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command comes to an end, and asks no more often than any process would."""
    with monkeypatch.context() as patched:
        patched.setenv("PLAYHEAD_POLICY", f"{__name__}:lenient")
        decided = deserted.run("journal", "due", "--decide", status=1)
        assert "KeepsRunning answered WAIT, 20 s: not yet. Again from " in decided
        assert "2 proposed: playhead audit decisions --actor playhead/timers; 1 still due" in decided
        again = deserted.document("journal", "due", "--decide", status=1)
        assert again["proposed"] == 0
        (left,) = again["due"]
        assert (left["run_id"], left["answered"]["rule"], left["answered"]["decision"]) == (
            deserted.completed,
            "KeepsRunning",
            "WAIT",
        )
        assert left["asked_again_at"] > left["answered"]["recorded_at"]
        assert "KeepsRunning answered WAIT" in deserted.run("journal", "due")
    assert deserted.document("journal", "due", "--decide") == {"proposed": 2, "due": []}
