"""`playhead policy`, and a server that decides by a policy of a package's."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import examples.business_hours
from playhead import v1
from playhead.cli import logs
from playhead.cli.app import app
from playhead.client.interface import PROPOSE_STATE, REGISTER_FLOW
from playhead.client.remote import RemoteClient
from playhead.engine.orchestration.installed import load_policy
from playhead.engine.orchestration.policy import core_policy
from tests.cli.conftest import Shell
from tests.cli.test_processes import PLAYHEAD, Server, playhead
from tests.grpc_server.requests import new_id, register_flow
from tests.orchestration.installing import install


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed package with a policy named "closed"."""
    site = install(tmp_path / "site", "acme-rules", closed="acme_rules:Rules.closed")
    monkeypatch.syspath_prepend(site)
    return site


def run(*arguments: str) -> str:
    """Standard output of a command that succeeds."""
    result = CliRunner().invoke(app, list(arguments), prog_name="playhead", catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def document(*arguments: str) -> Any:
    """The JSON document that a command prints."""
    return json.loads(run(*arguments, "--json"))


@pytest.mark.parametrize(
    "looks",
    [
        ("flow-run", "ls"),
        ("flow-run", "explain", "renamed"),
        ("audit", "decisions"),
        ("journal", "due"),
        ("journal", "tail"),
        ("views", "rebuild", "--check"),
    ],
)
def test_who_only_looks_needs_no_policy(shell: Shell, monkeypatch: pytest.MonkeyPatch, looks: tuple[str, ...]) -> None:
    monkeypatch.setenv("PLAYHEAD_POLICY", "not_here:policy")
    assert shell.run(*looks)


@pytest.mark.parametrize(
    "decides",
    [("flow-run", "cancel", "second"), ("journal", "due", "--decide"), ("flow-run", "send-input", "second", "1")],
)
def test_who_would_decide_is_told_that_the_policy_can_not_be_loaded(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, decides: tuple[str, ...]
) -> None:
    head = shell.document("journal", "head")["meta"]["revision"]
    monkeypatch.setenv("PLAYHEAD_POLICY", "not_here:policy")
    assert shell.error(*decides).startswith("Error: PLAYHEAD_POLICY: 'not_here:policy' can not be loaded: ")
    assert shell.document("journal", "head")["meta"]["revision"] == head


def test_who_follows_without_a_policy_decides_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_POLICY", "not_here:policy")
    monkeypatch.setattr(logs, "SILENCE_S", 0.01)
    assert shell.run("flow-run", "logs", "renamed", "--follow") == ""


def test_the_policies_are_listed_and_the_chosen_one_is_marked(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [(policy["name"], policy["package"], policy["chosen"]) for policy in document("policy", "list")]
    assert names == [("closed", "acme-rules", False), ("core", "playhead", True)]
    monkeypatch.setenv("PLAYHEAD_POLICY", "closed")
    (line,) = [line for line in run("policy", "list").splitlines() if "acme" in line]
    assert line.split() == ["closed", "acme_rules:Rules.closed", "acme-rules", "chosen"]


def test_a_policy_of_the_working_directory_is_found_as_its_example_says(tmp_path: Path) -> None:
    checkout = Path(examples.business_hours.__file__).parent.parent
    command = [PLAYHEAD, "policy", "show", "--json"]
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    environment = {**plain, "PLAYHEAD_POLICY": "examples.business_hours:policy"}
    found = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert "BusinessHours" in found.stdout, found.stderr
    elsewhere = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "No module named 'examples'" in elsewhere.stderr


def test_a_policy_is_shown_with_its_id_and_all_its_rules(site: Path) -> None:
    policy = load_policy("closed")
    shown = document("policy", "show", "closed")
    assert (shown["name"], shown["id"]) == ("closed", policy.id)
    assert {title: [rule["rule"] for rule in rules] for title, rules in shown["lists"].items()} == {
        title: [rule.name for rule in rules] for title, rules in policy.lists().items()
    }
    guarded = [rule for rules in shown["lists"].values() for rule in rules if rule["guarded"]]
    assert guarded == [
        {
            "rule": "Closed",
            "version": 1,
            "parameters": {"reason": "'closed'"},
            "module": "acme_rules",
            "guarded": True,
        }
    ]


def test_for_people_only_the_rules_of_others_name_their_module(site: Path) -> None:
    lines = run("policy", "show", "closed").splitlines()
    assert lines[1].split() == ["id", load_policy("closed").id]
    assert [line.split() for line in lines if "acme" in line] == [
        ["core_flow", "Closed", "1", "reason='closed'", "acme_rules"]
    ]
    assert any("key_bytes_max=2000" in line for line in lines)


def test_without_a_name_the_one_of_the_environment_is_shown(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert document("policy", "show")["id"] == core_policy().id
    monkeypatch.setenv("PLAYHEAD_POLICY", "closed")
    assert document("policy", "show")["name"] == "closed"


def test_a_server_decides_by_the_policy_it_was_given(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    server = Server(str(tmp_path / "journal.db"), "--port", "0", "--json", "--policy", "closed")
    client = RemoteClient(json.loads(server.line)["address"])
    flow_id = client.unary(REGISTER_FLOW, register_flow()).flow.id
    request = v1.ProposeStateRequest(
        request_id=new_id(),
        create_flow_run=v1.FlowRunSpec(id=new_id(), flow_id=flow_id),
        state=v1.State(type=v1.RUNNING),
    )
    answer = client.unary(PROPOSE_STATE, request)
    client.close()
    assert (answer.rule, answer.reason, answer.policy_id) == ("Closed", "closed", load_policy("closed").id)
    assert server.close() == 0


def test_a_server_does_not_start_under_a_policy_that_does_not_exist(tmp_path: Path) -> None:
    database = tmp_path / "journal.db"
    ended = playhead("server", "start", "--policy", "opn", "--database", str(database))
    assert ended.returncode == 1
    assert "There are: core;" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not database.exists()
