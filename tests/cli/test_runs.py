"""Flow runs, task runs and flows: lists with filters, single runs, their past; now and as of any moment."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell
from tests.replay.history import History


def names(document: dict[str, list[dict[str, dict[str, str]]]], items: str = "flow_runs") -> list[str]:
    """Names of the listed runs."""
    return [run["status"]["name"] for run in document[items]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["second", "renamed"]),
        (("--state", "failed"), ["second"]),
        (("--state", "Completed", "--state", "FAILED"), ["second", "renamed"]),
        (("--flow", "etl"), ["second", "renamed"]),
        (("--flow", "report"), []),
        (("--tag", "nightly"), ["renamed"]),
        (("--name", "SEC"), ["second"]),
        (("--limit", "1"), ["second"]),
        (("--limit", "1", "--all"), ["second", "renamed"]),
        (("--top-level",), ["second", "renamed"]),
        (("--as-of", "12"), ["first"]),
        (("--as-of", "2001-01-01"), []),
        (("--as-of", "now"), ["second", "renamed"]),
        (("--as-of", "1s ago", "--as-of", "13"), ["renamed"]),
    ],
)
def test_flow_runs_are_listed_newest_first(shell: Shell, options: tuple[str, ...], expected: list[str]) -> None:
    assert names(shell.document("flow-run", "ls", *options)) == expected


def test_a_list_says_its_revision_and_whether_there_is_more(shell: Shell) -> None:
    table = shell.run("flow-run", "ls", "--limit", "1")
    assert "second" in table
    assert "1 flow run as of revision 19; there are more: --all" in table
    assert "2 flow runs as of revision 19\n" in shell.run("flow-run", "ls")


def test_a_list_goes_on_over_pages(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.cli.listing.PAGE_SIZE_MAX", 1)
    assert names(shell.document("flow-run", "ls", "--all")) == ["second", "renamed"]
    assert names(shell.document("flow-run", "ls", "--limit", "2")) == ["second", "renamed"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["clean-0", "load-0"]),
        (("--flow-run", "renamed"), ["clean-0", "load-0"]),
        (("--flow-run", "second"), []),
        (("--task", "load"), ["load-0"]),
        (("--state", "running", "--as-of", "9"), ["clean-0"]),
        (("--state", "AwaitingRetry", "--as-of", "10"), ["clean-0"]),
    ],
)
def test_task_runs_are_listed(shell: Shell, options: tuple[str, ...], expected: list[str]) -> None:
    assert names(shell.document("task-run", "ls", *options), "task_runs") == expected


def test_flows_are_listed_in_the_order_of_their_registration(shell: Shell) -> None:
    assert [flow["name"] for flow in shell.document("flow", "ls")["flows"]] == ["etl", "report"]
    assert [flow["name"] for flow in shell.document("flow", "ls", "--as-of", "15")["flows"]] == ["etl"]
    assert "1 flow as of revision 15" in shell.run("flow", "ls", "--as-of", "15")


def test_a_flow_run_is_shown_as_it_is_and_as_it_was(shell: Shell) -> None:
    assert shell.document("flow-run", "inspect", "renamed")["flow_run"]["spec"]["parameters"] == {"day": 3}
    assert shell.document("flow-run", "inspect", "first", "--as-of", "5")["meta"]["revision"] == 5
    text = shell.run("flow-run", "inspect", shell.completed)
    assert "Completed" in text
    assert '{"day": 3}' in text
    assert "nightly" in text
    assert "Running" in shell.run("flow-run", "inspect", shell.completed, "--as-of", "5")


def test_a_task_run_is_shown_with_inputs_and_result(shell: Shell) -> None:
    text = shell.run("task-run", "inspect", "load-0")
    assert "input columns" in text
    assert '{"rows": 3}' in text
    assert "retries" in shell.run("task-run", "inspect", "clean-0", "--as-of", "9")


def test_every_state_of_a_run_is_shown(shell: Shell) -> None:
    states = shell.document("task-run", "history", "clean-0")["states"]
    assert [state["name"] for state in states] == ["Running", "AwaitingRetry", "Retrying", "Completed"]
    assert len(shell.document("task-run", "history", "clean-0", "--as-of", "10")["states"]) == 2
    assert "4 states as of revision 19" in shell.run("task-run", "history", "clean-0")
    assert "Failed" in shell.run("flow-run", "history", "second")


def test_every_decision_is_shown_with_its_rule(shell: Shell) -> None:
    decisions = shell.document("flow-run", "decisions", "renamed")["decisions"]
    assert [record["decision"] for record in decisions] == ["ACCEPT", "ACCEPT", "ABORT"]
    refused = shell.document("flow-run", "decisions", "renamed", "--only", "abort")["decisions"]
    assert [record["rule"] for record in refused] == ["HandleFlowTerminalStateTransitions"]
    assert len(shell.document("flow-run", "decisions", "first", "--as-of", "5")["decisions"]) == 1
    assert "RetryFailedTasks" in shell.run("task-run", "decisions", "clean-0")


def test_a_difference_is_shown(shell: Shell) -> None:
    document = shell.document("flow-run", "diff", shell.completed, "--from", "7", "--to", "14")
    assert (document["from_revision"], document["to_revision"], document["created"]) == (7, 14, False)
    assert {"field": "name", "before": "first", "after": "renamed"} in document["fields"]
    assert [state["name"] for state in document["states"]] == ["Completed"]
    assert [run["name"] for run in document["task_runs"]] == ["clean-0"]
    text = shell.run("flow-run", "diff", shell.completed, "--from", "7", "--to", "14")
    assert "Running → AwaitingRetry → Retrying → Completed" in text
    assert "the same at revisions 14 and 14" in shell.run("flow-run", "diff", "renamed", "--from", "14", "--to", "14")


def test_a_difference_between_times(shell: Shell) -> None:
    assert shell.document("task-run", "diff", "clean-0", "--from", "1d ago")["created"]


@pytest.mark.parametrize("run", ["second", "SECOND ID"])
def test_a_run_may_be_named_or_its_id_shortened(shell: Shell, run: str) -> None:
    text = shell.failed[:-3] if run == "SECOND ID" else run
    assert shell.document("flow-run", "inspect", text)["flow_run"]["spec"]["id"] == shell.failed


def test_what_names_several_runs_is_refused_with_all_of_them(shell: Shell) -> None:
    error = shell.error("flow-run", "inspect", shell.failed[:4])
    assert shell.failed in error
    assert shell.completed in error


def test_a_run_that_was_not_there_yet_is_not_found(shell: Shell) -> None:
    assert "No flow run is named 'second'" in shell.error("flow-run", "inspect", "second", "--as-of", "5")
    assert "at revision 5" in shell.error("flow-run", "history", shell.failed, "--as-of", "5")


def test_a_run_is_paused_resumed_and_cancelled(shell: Shell) -> None:
    shell.run("flow-run", "cancel", "second", status=1)
    history = History(shell.database)
    run = history.flow_run("third")
    history.close()
    assert shell.document("flow-run", "pause", "third", "--timeout", "60")["state"]["name"] == "Paused"
    assert shell.document("flow-run", "resume", run)["decision"] == "ACCEPT"
    assert "ACCEPT" in shell.run("flow-run", "cancel", run)
    assert shell.document("flow-run", "inspect", run)["flow_run"]["status"]["state"]["type"] in (
        "CANCELLING",
        "CANCELLED",
    )


def test_a_refusal_is_printed_with_its_rule_and_fails(shell: Shell) -> None:
    answer = shell.document("flow-run", "cancel", "renamed", status=1)
    assert (answer["decision"], answer["rule"]) == ("ABORT", "HandleFlowTerminalStateTransitions")
