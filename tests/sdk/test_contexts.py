"""The contexts themselves: entering, copying, tags, settings, profiles."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, settings, task
from playhead.context import (
    EngineContext,
    FlowRunContext,
    SettingsContext,
    TagsContext,
    TaskRunContext,
    get_run_context,
    get_settings_context,
    root_settings_context,
    tags,
    use_profile,
)
from playhead.exceptions import ConfigurationError, MissingContextError
from playhead.profiles import Profile
from tests.sdk.conftest import Service


def test_a_context_is_entered_once_and_left_once() -> None:
    context = TagsContext({"a"})
    with context:
        with pytest.raises(RuntimeError, match="Context enter calls cannot be nested"), context:
            pass
        assert TagsContext.get() is context
    with pytest.raises(RuntimeError, match="Context exit called without an enter"):
        context.__exit__()
    assert TagsContext.get().current_tags == set()


def test_a_copy_is_a_context_of_its_own() -> None:
    with TagsContext({"a"}) as context, context.model_copy(update={"current_tags": {"b"}}) as other:
        assert TagsContext.get() is other
        assert (context.current_tags, other.current_tags) == ({"a"}, {"b"})


def test_the_run_context_is_that_of_the_task_before_that_of_the_flow(service: Service) -> None:
    @task
    def inside(x: int) -> Any:
        assert get_run_context() is TaskRunContext.get()
        context = TaskRunContext.get()
        assert context is not None
        return context.task.name, context.task_run.name, context.parameters, context.client is not None

    @flow(log_prints=True)
    def around(y: int) -> Any:
        context = FlowRunContext.get()
        assert get_run_context() is context is EngineContext.get() is not None
        assert (context.flow, context.parameters, context.log_prints) == (around, {"y": 2}, True)
        assert context.start_time >= context.flow_run.created
        assert context.task_runner == around.task_runner
        assert (context.background_tasks, context.detached) == (set(), False)
        return inside(1)

    assert around(2) == ("inside", "inside-0", {"x": 1}, True)
    with pytest.raises(MissingContextError, match="You are not in a flow or task run context"):
        get_run_context()


def test_a_flow_keeps_its_background_tasks(embedded: Service) -> None:
    seen = []

    @flow
    async def around() -> None:
        context = FlowRunContext.get()
        assert context is not None
        background = asyncio.create_task(asyncio.sleep(0, "done"))
        context.background_tasks.add(background)
        seen.append(await background)

    asyncio.run(around())
    assert seen == ["done"]


def test_tags_with_names_are_pairs() -> None:
    with tags("a", team="data") as around:
        assert around == {"a", "team:data"}


def test_settings_around_the_code_stand_above_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", "5")
    with SettingsContext(Profile("mine"), {"PLAYHEAD_LEASE_TTL_S": 7}):
        assert settings.lease_ttl_s() == 7
        assert get_settings_context().profile.name == "mine"
        assert root_settings_context().settings["PLAYHEAD_LEASE_TTL_S"] == "5"
    assert settings.lease_ttl_s() == 5
    assert get_settings_context().settings.lease.ttl_s == "5"


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of profiles, of which `default` is active."""
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path))
    path = tmp_path / "profiles.toml"
    path.write_text(
        'active = "default"\n[profiles.default]\nPLAYHEAD_TASKS_DEFAULT_RETRIES = 1\n'
        "[profiles.staging]\nPLAYHEAD_TASKS_DEFAULT_RETRIES = 2\nPLAYHEAD_FLOWS_DEFAULT_RETRIES = 3\n"
    )
    return path


def retries() -> tuple[str | None, str | None]:
    """Two settings."""
    return settings.value("PLAYHEAD_TASKS_DEFAULT_RETRIES"), settings.value("PLAYHEAD_FLOWS_DEFAULT_RETRIES")


def test_a_profile_can_be_used_for_a_while(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert retries() == ("1", None)
    with use_profile("staging") as context:
        assert retries() == ("2", "3")
        assert context.profile.name == get_settings_context().profile.name == "staging"
        with use_profile(Profile("own", {"PLAYHEAD_FLOWS_DEFAULT_RETRIES": "4"})):
            assert retries() == ("2", "4")
        with use_profile(Profile("own", {"PLAYHEAD_FLOWS_DEFAULT_RETRIES": "4"}), include_current_context=False):
            assert retries() == (None, "4")
    assert retries() == ("1", None)
    monkeypatch.setenv("PLAYHEAD_FLOWS_DEFAULT_RETRIES", "9")
    with use_profile("staging"):
        assert retries() == ("2", "9")
    with use_profile("staging", override_environment_variables=True):
        assert retries() == ("2", "3")


def test_a_profile_that_is_not_there_is_named_with_those_that_are(profiles: Path) -> None:
    refusal = f"no profile 'nosuch' in {profiles}, only: default, staging"
    with pytest.raises(ConfigurationError, match=refusal), use_profile("nosuch"):
        pass


def test_runs_go_by_the_profile_around_them(profiles: Path, tmp_path: Path) -> None:
    from playhead.engine.execution.connection import close_clients

    with use_profile(Profile("elsewhere", {"PLAYHEAD_DATABASE": str(tmp_path / "elsewhere.db")})):

        @flow
        def anywhere() -> int:
            return 1

        assert anywhere() == 1
    close_clients()
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "journal.db").exists()
