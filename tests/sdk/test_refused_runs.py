"""What a user sees of a rule that speaks against a run: the run has failed, and the rule and its reason are told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from playhead import flow, task, v1
from playhead.client.embedded import EmbeddedClient
from playhead.engine.__main__ import main
from playhead.engine.execution.connection import close_clients, use_client
from playhead.engine.orchestration.policy import core_policy
from playhead.engine.orchestration.rules.effects import Effect, abort, reject
from playhead.engine.orchestration.rules.rule import Rule
from playhead.exceptions import RunRefused
from tests.sdk.conftest import Service


class OnlyAtNight(Rule):
    """any -> the types it is made for: refused, as it is told to."""

    def __init__(self, effect: str, *types: v1.StateType.ValueType) -> None:
        self.effect = effect
        self.types = types

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if proposed.type not in self.types:
            return None
        return abort("It is day.") if self.effect == "abort" else reject("It is day.")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home; the clients are closed at the end."""
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "home"))
    yield tmp_path
    close_clients()


def under(folder: Path, rule: Rule, subject: str) -> Service:
    """A journal whose policy has one rule more."""
    core = core_policy()
    policy = replace(core, **{subject: (*getattr(core, subject), rule)})
    use_client(EmbeddedClient(str(folder / "journal.db"), policy=policy))
    return Service()


@flow
def outer() -> int:
    return inner()


@task
def inner() -> int:
    return 1


@pytest.mark.parametrize("type", [v1.RUNNING, v1.COMPLETED])
def test_a_flow_run_that_a_rule_aborts_has_failed(folder: Path, type: v1.StateType.ValueType) -> None:
    service = under(folder, OnlyAtNight("abort", type), "core_flow")
    with pytest.raises(RunRefused, match="OnlyAtNight: It is day"):
        outer()
    (run,) = service.flow_runs("outer")
    assert run.status.state.type == v1.FAILED
    assert not run.status.HasField("lease")


@pytest.mark.parametrize("type", [v1.RUNNING, v1.COMPLETED])
def test_a_task_run_that_a_rule_aborts_has_failed_and_so_has_its_flow(
    folder: Path, type: v1.StateType.ValueType
) -> None:
    service = under(folder, OnlyAtNight("abort", type), "core_task")
    with pytest.raises(RunRefused, match="OnlyAtNight: It is day"):
        outer()
    (run,) = service.flow_runs("outer")
    (task_run,) = service.task_runs(run.spec.id)
    assert [run.status.state.type, task_run.status.state.type] == [v1.FAILED, v1.FAILED]


@pytest.mark.parametrize("subject", ["core_flow", "core_task"])
def test_a_run_whose_end_a_rule_rejects_has_failed_and_is_not_run_again(folder: Path, subject: str) -> None:
    service = under(folder, OnlyAtNight("reject", v1.COMPLETED), subject)
    with pytest.raises(RunRefused, match="OnlyAtNight: It is day"):
        outer()
    (run,) = service.flow_runs("outer")
    (task_run,) = service.task_runs(run.spec.id)
    assert [run.status.state.type, run.status.run_count, task_run.status.run_count] == [v1.FAILED, 1, 1]


def test_the_hooks_of_a_task_hear_that_its_run_was_refused(folder: Path) -> None:
    heard: list[str] = []

    @task(on_failure=[lambda task, run, state: heard.append(state.message)])
    def refused() -> None:
        raise AssertionError("it ran")

    under(folder, OnlyAtNight("abort", v1.RUNNING), "core_task")
    with pytest.raises(RunRefused):
        refused()
    assert len(heard) == 1
    assert "It is day" in heard[0]


def test_who_may_not_even_fail_is_left_as_it_is(folder: Path) -> None:
    service = under(folder, OnlyAtNight("abort", v1.COMPLETED, v1.FAILED, v1.CRASHED), "core_flow")
    with pytest.raises(BaseException, match="It is day"):
        outer()
    (run,) = service.flow_runs("outer")
    assert run.status.state.type == v1.RUNNING


@pytest.mark.parametrize("subject", ["core_flow", "core_task"])
def test_a_run_that_a_rule_rejects_at_its_start_has_failed_and_both_log_and_error_say_why(
    folder: Path, subject: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = under(folder, OnlyAtNight("reject", v1.RUNNING), subject)
    with caplog.at_level(logging.ERROR), pytest.raises(RunRefused, match="OnlyAtNight: It is day"):
        outer()
    assert [run.status.state.type for run in service.flow_runs("outer")] == [v1.FAILED]
    assert "by rule OnlyAtNight: It is day." in caplog.text


def test_the_engine_says_by_which_rule_a_run_that_it_was_to_execute_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = under(folder, OnlyAtNight("abort", v1.RUNNING), "core_flow")
    with pytest.raises(RunRefused):
        outer()
    (run,) = service.flow_runs("outer")
    assert main([run.spec.id]) == 1
    assert capsys.readouterr().err.endswith("OnlyAtNight: It is day.\n")
