"""Runs are paused, resumed with input and cancelled; a refusal says its rule, its reason and the next step."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.cli.session import Session
from playhead.cli.steering import say_who_ends
from playhead.client.identity import this_process
from playhead.client.interface import CANCEL_FLOW_RUN
from tests.cli.conftest import Shell
from tests.replay.history import History, new_id

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.fixture
def run(shell: Shell) -> str:
    """A run that is running."""
    history = History(shell.database)
    run_id = history.flow_run("third")
    history.close()
    return run_id


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    """A file with a schema."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


def test_a_pause_asks_for_input_and_a_resume_brings_it(shell: Shell, run: str, schema: Path, tmp_path: Path) -> None:
    paused = shell.document("flow-run", "pause", run, "--key", "age", "--input-schema", str(schema))
    assert paused["state"]["details"]["run_input_schema"] == SCHEMA
    assert paused["state"]["details"]["run_input"] is None
    assert "asks for input" in shell.run("flow-run", "inspect", run)
    answer = tmp_path / "answer.json"
    answer.write_text('{"age": 7}')
    resumed = shell.document("flow-run", "resume", run, "--input", f"@{answer}")
    assert (resumed["decision"], resumed["state"]["details"]["run_input"]) == ("ACCEPT", {"age": 7})
    assert "run input" in shell.run("flow-run", "inspect", run)


def test_when_a_pause_times_out_is_shown(shell: Shell, run: str) -> None:
    paused = shell.document("flow-run", "pause", run, "--key", "gate-1", "--timeout", "3600")
    timeout = datetime.fromisoformat(paused["state"]["details"]["pause_timeout"])
    inspected = shell.run("flow-run", "inspect", run)
    assert timeout.astimezone().isoformat(sep=" ", timespec="milliseconds") in inspected
    assert "gate-1" in inspected
    explained = " ".join(shell.run("flow-run", "explain", run).split())
    assert explained.count(f"PAUSED, which times out at {timeout:%Y-%m-%d %H:%M:%S} UTC") == 3


def test_a_pause_says_which_subflow_runs_go_on(shell: Shell, run: str) -> None:
    assert "waits at its next call" in shell.run("flow-run", "pause", run)
    shell.run("flow-run", "resume", run)
    history = History(shell.database)
    tracking = history.task_run(run, "inner")
    spec = v1.FlowRunSpec(id=new_id(), flow_id=history.flow_id, name="inner-1", parent_task_run_id=tracking)
    inner = history.propose(v1.State(type=v1.RUNNING), create_flow_run=spec).run_id
    history.close()
    said = shell.run("flow-run", "pause", run)
    assert f"Its subflow run inner-1 goes on. To pause it too: playhead flow-run pause {inner}" in said
    assert "goes on" not in shell.run("flow-run", "pause", inner)


def test_a_refused_resume_says_rule_reason_and_next_step(shell: Shell, run: str, schema: Path) -> None:
    shell.run("flow-run", "pause", run, "--input-schema", str(schema))
    arguments = ("flow-run", "resume", run, "--input", '{"age": "x"}')
    text = shell.run(*arguments, status=1)
    assert "ValidateRunInput" in text
    assert 'run_input.age: "x" is not of type "integer"' in text
    plain = shell.error("flow-run", "resume", run, "--input", "4")
    assert plain.endswith("it is given as --input '{\"value\": 4}'.\n")
    step = shell.error(*arguments)
    assert step == f"It is still paused. See what input is asked for: playhead flow-run inspect {run}\n"
    assert json.dumps(SCHEMA)[:40] in shell.run("flow-run", "inspect", run)
    assert shell.document("flow-run", "resume", run, "--input", '{"age": 1}')["decision"] == "ACCEPT"


@pytest.mark.parametrize("option", ["--reschedule", "--suspend"])
def test_what_can_not_be_suspended_is_told_with_the_next_step(shell: Shell, run: str, option: str) -> None:
    answer = shell.document("flow-run", "pause", run, option, status=1)
    assert (answer["decision"], answer["rule"]) == ("ABORT", "HandlePausingFlows")
    assert f"playhead flow-run decisions {run}" in shell.error("flow-run", "pause", run, option)


def test_a_run_that_no_process_works_on_is_cancelled_which_is_what_was_asked_for(shell: Shell) -> None:
    history = History(shell.database)
    spec = v1.FlowRunSpec(id=new_id(), flow_id=history.flow_id, name="planned", parameters=b"{}")
    run_id = history.propose(v1.State(type=v1.SCHEDULED), create_flow_run=spec).run_id
    history.close()
    said = shell.run("flow-run", "cancel", run_id)
    assert "Cancelled" in said
    assert "REJECT" not in said
    assert shell.document("flow-run", "cancel", run_id)["state"]["type"] == "CANCELLED"


def test_a_run_that_only_time_will_cancel_says_when(shell: Shell, run: str) -> None:
    said = shell.run("flow-run", "cancel", run)
    assert "Cancelling" in said
    assert "it is cancelled after 300 s" in said


def test_who_ends_a_run_is_who_worked_on_it_when_it_was_cancelled(
    shell: Shell, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    history = History(shell.database)
    lease_ttl = Duration(seconds=60)
    token = history.propose(v1.State(type=v1.RUNNING), flow_run_id=run, lease_ttl=lease_ttl).lease_token
    answer = history.client.unary(CANCEL_FLOW_RUN, v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run))
    history.propose(v1.State(type=v1.CANCELLED), flow_run_id=run, lease_token=token)
    history.close()
    with Session(None, shell.database, as_json=False, as_of=None) as session:
        say_who_ends(session, answer)
    said = capsys.readouterr().out
    assert said.startswith(f"{this_process()} works on it")
    assert said.endswith("in 60 s at most, by a server, a flow that runs, or: playhead journal due --decide\n")


def test_who_resumes_a_run_that_no_process_holds_is_told_how_to_execute_it(shell: Shell, run: str) -> None:
    shell.run("flow-run", "pause", run)
    assert f"Where none waits, execute it: python -m playhead.engine {run}" in shell.run("flow-run", "resume", run)
    history = History(shell.database)
    history.propose(v1.State(type=v1.RUNNING), flow_run_id=run, lease_ttl=Duration(seconds=60))
    history.close()
    shell.run("flow-run", "pause", run)
    assert "execute it" not in shell.run("flow-run", "resume", run)


def test_a_run_that_is_being_cancelled_can_be_cancelled_again_and_says_when_it_ends(shell: Shell, run: str) -> None:
    shell.run("flow-run", "cancel", run)
    assert "it is cancelled after 300 s" in shell.run("flow-run", "cancel", run)


def test_a_run_that_has_ended_can_not_be_cancelled(shell: Shell) -> None:
    assert "The run has ended already." in shell.run("flow-run", "cancel", shell.completed, status=1)


def test_a_run_that_waits_in_its_process_can_be_cancelled(shell: Shell, run: str) -> None:
    shell.run("flow-run", "pause", run, "--timeout", "60")
    assert shell.document("flow-run", "cancel", run)["state"]["type"] == "CANCELLING"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resume", "--input", "{"), "Error: --input: not JSON: "),
        (("resume", "--input", "age=7"), "Error: --input: not JSON: "),
        (("pause", "--key", "a\nb"), "Error: --key: must be one line"),
    ],
)
def test_bad_options_are_told_by_name(shell: Shell, run: str, arguments: tuple[str, ...], said: str) -> None:
    command, *options = arguments
    assert shell.error("flow-run", command, run, *options).startswith(said)


def test_a_file_that_holds_no_schema_is_told(shell: Shell, run: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text('{"properties": {"age": {"type": "intt"}}}')
    error = shell.error("flow-run", "pause", run, "--input-schema", str(path))
    assert error.startswith("Error: --input-schema: ")
    assert 'properties.age.type: "intt"' in error


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e300", "0", "-1", "1e-9"])
def test_a_pause_of_no_length_that_there_is_is_a_mistake_of_the_command_line(
    shell: Shell, run: str, seconds: str
) -> None:
    assert "--timeout" in shell.error("flow-run", "pause", run, "--timeout", seconds, status=2)


def test_an_empty_file_is_no_schema(shell: Shell, run: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.touch()
    framed = shell.error("flow-run", "pause", run, "--input-schema", str(path), status=2)
    assert "is empty" in " ".join(framed.replace("│", "").split())
    assert "Running" in shell.run("flow-run", "inspect", run)


@pytest.mark.parametrize("arguments", [("resume", "--input", "@none.json"), ("pause", "--input-schema", "none.json")])
def test_a_file_that_is_not_there_is_a_mistake_of_the_command_line(
    shell: Shell, run: str, arguments: tuple[str, ...]
) -> None:
    command, *options = arguments
    assert "none.json" in shell.error("flow-run", command, run, *options, status=2)
