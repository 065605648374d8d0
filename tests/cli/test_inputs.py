"""Inputs of flow runs from the command line: sent, listed, received by the flow as if sent in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import CREATE_FLOW_RUN, REGISTER_FLOW
from playhead.engine.execution.connection import close_clients
from playhead.engine.execution.ids import new_id
from playhead.input import receive_input
from tests.cli.conftest import Shell


@pytest.fixture
def run(shell: Shell) -> str:
    """A flow run that has not begun."""
    client = EmbeddedClient(shell.database)
    flow = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="approvals")
    spec = v1.FlowRunSpec(id=new_id(), flow_id=client.unary(REGISTER_FLOW, flow).flow.id, name="blue-heron")
    client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
    client.close()
    return spec.id


def test_an_input_is_sent_and_listed(shell: Shell, run: str) -> None:
    sent = shell.document("flow-run", "send-input", "blue-heron", '{"decision": "ok"}', "--sender", "ann")["input"]
    assert (sent["flow_run_id"], sent["value"], sent["sender"]) == (run, {"decision": "ok"}, "ann")
    assert sent["key"].startswith("dict-auto-")
    shown = shell.run("flow-run", "send-input", run, "7", "--key", "seven")
    assert "seven" in shown
    table = shell.run("flow-run", "inputs", "blue-heron")
    assert [line.split()[0] for line in table.splitlines()[:3]] == ["key", sent["key"], "seven"]
    assert "2 inputs as of revision" in table
    (seven,) = shell.document("flow-run", "inputs", run, "--key-prefix", "sev")["inputs"]
    assert (seven["key"], seven["value"], seven["sender"]) == ("seven", 7, "")
    then = shell.document("flow-run", "inputs", run, "--as-of", str(sent["sent_revision"]))["inputs"]
    assert [each["key"] for each in then] == [sent["key"]]
    assert "seven for " in shell.run("journal", "tail", "--kind", "input_sent")


@pytest.mark.parametrize("options", [("--key", ""), ("--key-prefix", " "), ("--key", "q", "--key-prefix", "p")])
def test_a_key_that_is_empty_or_given_twice_is_a_mistake_of_the_command_line(
    shell: Shell, run: str, options: tuple[str, ...]
) -> None:
    assert "Error" in shell.error("flow-run", "send-input", run, "1", *options, status=2)
    assert shell.document("flow-run", "inputs", run)["inputs"] == []


def test_a_flow_receives_what_was_sent_by_type_or_by_prefix(
    shell: Shell, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "input.json"
    path.write_text('["a", "b"]')
    shell.run("flow-run", "send-input", run, '{"decision": "ok"}')
    shell.run("flow-run", "send-input", run, f"@{path}")
    shell.run("flow-run", "send-input", run, '"text"', "--key-prefix", "approval")
    monkeypatch.setenv("PLAYHEAD_DATABASE", shell.database)
    try:
        assert receive_input(dict, timeout=0, flow_run_id=run).get("decision") == "ok"
        assert receive_input(list, timeout=0, flow_run_id=run).next() == ["a", "b"]
        assert receive_input(str, timeout=0, flow_run_id=run, key_prefix="approval").next() == "text"
    finally:
        close_clients()


def test_what_can_not_be_sent_is_told(shell: Shell, run: str) -> None:
    assert shell.error("flow-run", "send-input", run, "{").startswith("Error: value: not JSON")
    shell.run("flow-run", "send-input", run, "1", "--key", "k")
    assert "use another key" in shell.error("flow-run", "send-input", run, "1", "--key", "k")
    assert "has ended" in shell.error("flow-run", "send-input", shell.completed, "1")
    assert "none.json" in shell.error("flow-run", "send-input", run, "@none.json", status=2)
