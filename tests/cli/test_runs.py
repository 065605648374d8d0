"""Flow runs, task runs and flows: lists with filters, single runs, their past; now and as of any moment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from playhead import v1
from playhead.cli.listing import STATE_NAMES
from playhead.cli.runs import OWN_KEYS
from playhead.client.interface import SET_CONCURRENCY_LIMIT
from playhead.engine.execution.transaction_runs import HOOK_KEYS, KEY
from tests.cli.conftest import Shell
from tests.replay.history import History, new_id


def names(document: dict[str, list[dict[str, dict[str, str]]]], items: str = "flow_runs") -> list[str]:
    """Names of the listed runs."""
    return [run["status"]["name"] for run in document[items]]


def test_half_a_surrogate_pair_among_the_parameters_is_printed_as_json_has_it(shell: Shell) -> None:
    history = History(shell.database)
    spec = v1.FlowRunSpec(id=new_id(), flow_id=history.flow_id, parameters=rb'{"path": "caf\udce9 \u00e9"}')
    history.propose(v1.State(type=v1.RUNNING), create_flow_run=spec)
    history.close()
    assert shell.document("flow-run", "ls")["flow_runs"][0]["spec"]["parameters"] == {"path": "caf\udce9 é"}
    assert "\\udce9 é" in shell.run("--json", "flow-run", "ls")


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


def test_a_name_of_several_runs_is_answered_with_what_tells_them_apart(shell: Shell) -> None:
    history = History(shell.database)
    runs = [history.flow_run("twin"), history.flow_run("twin")]
    history.close()
    error = shell.error("flow-run", "inspect", "twin")
    for run in runs:
        assert re.search(rf"{run} \(twin, etl, \w+, created \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)", error)


def test_task_runs_that_are_no_calls_of_tasks_are_counted_below_the_list(shell: Shell) -> None:
    assert "of them for" not in shell.run("task-run", "ls")
    history = History(shell.database)
    run = history.flow_run("third")
    for key in ("transaction", "transaction:k", "concurrency:licence", "commit-hook", "module.lock"):
        history.task_run(run, key)
    history.close()
    assert "; 4 of them for transactions, hooks, slots and locks" in shell.run("task-run", "ls")
    assert {KEY, *HOOK_KEYS.values()} < OWN_KEYS


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


def test_a_run_explains_itself_now_and_then(shell: Shell) -> None:
    document = shell.document("flow-run", "explain", "renamed")
    assert [step["revision"] for step in document["steps"]] == [3, 4, 13, 14, 15]
    assert document["steps"][1]["decision"]["proposed"]["type"] == "RUNNING"
    assert document["left_out"] == 0
    text = shell.run("flow-run", "explain", "renamed")
    assert text.startswith('As of revision 19 the flow run "renamed" is COMPLETED, since revision 14: ')
    assert "HandleFlowTerminalStateTransitions answered ABORT" in text
    assert "5 of 5 steps as of revision 19\n" in text
    then = shell.document("flow-run", "explain", "first", "--as-of", "4")
    assert [step["revision"] for step in then["steps"]] == [3, 4]


def test_an_explanation_can_be_cut_short(shell: Shell) -> None:
    text = shell.run("flow-run", "explain", "renamed", "--steps", "2", "--changes-only")
    assert "2 of 4 steps as of revision 19; for earlier ones: --steps, or --as-of" in text
    document = shell.document("task-run", "explain", "clean-0", "--steps", "1")
    assert ([step["revision"] for step in document["steps"]], document["left_out"]) == ([12], 4)


def test_an_explanation_says_what_a_step_followed_from(shell: Shell) -> None:
    history = History(shell.database)
    limit = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit="tag:slow", slots=1)
    history.client.unary(SET_CONCURRENCY_LIMIT, limit)
    running = v1.State(type=v1.RUNNING)
    for name in ("one", "two"):
        spec = v1.TaskRunSpec(id=new_id(), task_key="load", name=name, tags=["slow"])
        answer = history.propose(running, create_task_run=spec)
        if name == "one":
            first = answer.run_id
    history.propose(v1.State(type=v1.COMPLETED), task_run_id=first)
    history.close()
    assert 'It followed from revision 25. Task run "one": ' in shell.run("task-run", "explain", "two")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [19, 18, 15, 14, 12, 11, 10, 9, 7, 6, 4]),
        (("--limit", "2"), [19, 18]),
        (("--limit", "2", "--all", "--oldest-first"), [4, 6, 7, 9, 10, 11, 12, 14, 15, 18, 19]),
        (("--only", "reject", "--decision", "abort"), [15, 10]),
        (("--rule", "RetryFailedTasks"), [10]),
        (("--flow-run", "second"), [19, 18]),
        (("--task-run", "clean-0"), [12, 11, 10, 9]),
        (("--flow", "etl", "--tag", "nightly"), [15, 14, 4]),
        (("--flow", "report"), []),
        (("--actor", "nobody"), []),
        (("--from-state", "none", "--to-state", "Running"), [18, 9, 6, 4]),
        (("--from-state", "scheduled"), [11]),
        (("--force",), []),
        (("--no-force", "--since", "12", "--until", "15"), [15, 14, 12]),
        (("--since", "2001-01-01", "--until", "1d ago"), []),
        (("--since", "1d ago", "--as-of", "6"), [6, 4]),
    ],
)
def test_decisions_of_all_runs_are_found(shell: Shell, options: tuple[str, ...], expected: list[int]) -> None:
    document = shell.document("audit", "decisions", *options)
    assert [record["revision"] for record in document["decisions"]] == expected


def test_found_decisions_say_whose_they_are_and_whether_there_are_more(shell: Shell) -> None:
    text = shell.run("audit", "decisions", "--limit", "1")
    assert shell.failed in text
    assert "1 decision as of revision 19; there are more: --all" in text


def test_the_names_of_states_are_those_of_the_contract() -> None:
    contract = (Path(__file__).parents[2] / "proto/playhead/v1/state.proto").read_text()
    named = " ".join(re.findall(r"Names: ([^.]+)\.", contract.split("message State")[0].replace("\n  //", "")))
    names = set(re.findall(r"[A-Z]\w+", named)) - {name.capitalize() for name in v1.StateType.keys()}  # noqa: SIM118 - an enum wrapper is no mapping
    assert names == STATE_NAMES


def test_a_state_of_ones_own_can_be_asked_for_by_its_name(shell: Shell) -> None:
    assert "'Waiting' is no type of state" in " ".join(shell.error("flow-run", "ls", "-s", "Waiting", status=2).split())
    history = History(shell.database)
    run = history.flow_run("third")
    history.propose(v1.State(type=v1.PAUSED, name="Waiting"), flow_run_id=run)
    history.close()
    assert names(shell.document("flow-run", "ls", "--state", "Waiting")) == ["third"]
