"""Policies by name: those that packages have installed, and those that no package has."""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead.engine.orchestration.installed import Installed, chosen_policy, installed_policies, load_policy
from playhead.exceptions import BadRequest
from tests.orchestration.given import POLICY
from tests.orchestration.installing import install

CLOSED = "acme_rules:Rules.closed"


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package "acme-rules" with several policies."""
    policies = {"closed": CLOSED, "broken": "acme_rules:broken", "fleeting": "acme_rules:fleeting"}
    monkeypatch.syspath_prepend(install(tmp_path / "site", "acme-rules", **policies, gone="acme_rules:gone"))


def test_without_packages_there_is_the_core_policy() -> None:
    assert [(policy.name, policy.package) for policy in installed_policies()] == [("core", "playhead")]
    assert load_policy("core").id == chosen_policy().id == POLICY.id


@pytest.mark.usefixtures("acme")
def test_an_installed_policy_is_picked_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Installed("closed", CLOSED, "acme-rules") in installed_policies()
    monkeypatch.setenv("PLAYHEAD_POLICY", "closed")
    policy = chosen_policy()
    assert policy.core_flow[0].name == "Closed"
    assert policy.id == load_policy(CLOSED).id != POLICY.id


@pytest.mark.usefixtures("acme")
def test_a_name_given_counts_more_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_POLICY", "closed")
    assert chosen_policy("core").id == POLICY.id


@pytest.mark.usefixtures("acme")
def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(BadRequest, match="There are: broken, closed, core, fleeting, gone;") as caught:
        chosen_policy("closd")
    assert caught.value.field == "policy"


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone", "has no attribute 'gone'"),
        ("broken", r"RuntimeError: no such file \(.*acme_rules.py:\d+\)"),
        ("fleeting", "parameter 'reason' of rule Closed is an address .* another in each process"),
        ("acme_rules:Rules", "it is of the type Rules, not a Policy"),
        ("acme_rules:ending", r"SystemExit: 4 \(.*acme_rules.py:\d+\)"),
        ("acme_rules:misnamed", r"core_flow\[0\] is 'Closed', which is no Rule"),
        ("acme_rules:uncalled", r"minimal_task\[1\] is the class Closed, not a rule made of it: call it"),
    ],
)
def test_a_policy_that_can_not_be_made_is_told_by_name(name: str, said: str) -> None:
    with pytest.raises(BadRequest, match=f"'{name}' can not be loaded: .*{said}"):
        chosen_policy(name)


@pytest.mark.usefixtures("acme")
def test_a_name_that_two_packages_took_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "other", "other-rules", closed="other_rules:Rules.closed"))
    with pytest.raises(BadRequest, match=f"Several packages .* {CLOSED}, other_rules:Rules.closed"):
        chosen_policy("closed")


def test_core_is_playheads_own_whatever_packages_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "site", "core-rules", core="core_rules:Rules.closed"))
    assert [policy.package for policy in installed_policies()] == ["playhead"]
    assert load_policy("core").id == POLICY.id
