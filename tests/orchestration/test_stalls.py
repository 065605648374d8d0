"""A lease that nobody could renew here is given time; one whose holder died is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from playhead import v1
from playhead.engine.orchestration.policy import core_policy
from playhead.engine.orchestration.stalls import Stalls
from playhead.engine.orchestration.timers import Timers
from tests.orchestration.commanding import ALICE, SECOND_US, Commanding, commanding

TTL_S = 10


@pytest.fixture
def command(store: str) -> Iterator[Commanding]:
    with commanding(store) as ready:
        yield ready


class Held:
    """A flow run under a lease of `TTL_S`, and who looks after it."""

    def __init__(self, command: Commanding, timers: Timers) -> None:
        self._command = command
        self.timers = timers
        self._run = command.flow_run()
        ttl = Duration(seconds=TTL_S)
        self._token = command.propose(v1.RUNNING, flow_run_id=self._run, lease_ttl=ttl).lease_token
        timers.look()

    def pass_by(self, *seconds: float) -> str:
        """Let so many seconds pass before each look; the name of the state after the last one."""
        for after_s in seconds:
            self._command.clock.advance(round(after_s * SECOND_US))
            self.timers.look()
        return self._command.status(self._run).state.name

    def renew(self) -> None:
        request = v1.RenewLeaseRequest(flow_run_id=self._run, lease_token=self._token)
        self._command.orchestration.renew_lease(request, ALICE).result()


def test_whoever_stops_renewing_while_we_look_is_given_up_when_the_lease_lapses(command: Commanding) -> None:
    held = Held(command, command.orchestrator.timers)
    assert held.pass_by(*[1] * (TTL_S - 1)) == "Running"
    assert held.pass_by(1) == "Crashed"


def test_a_lease_that_lapsed_while_nobody_looked_gets_its_length_again(command: Commanding) -> None:
    held = Held(command, command.orchestrator.timers)
    assert held.pass_by(1_000) == "Running"
    assert held.pass_by(*[1] * (TTL_S - 1)) == "Running"
    assert held.pass_by(1) == "Crashed"


def test_a_stall_before_the_first_look_is_one_too(command: Commanding) -> None:
    run = command.flow_run()
    command.propose(v1.RUNNING, flow_run_id=run, lease_ttl=Duration(seconds=TTL_S))
    orchestrator = command.orchestrator
    timers = Timers(orchestrator.journal, orchestrator.jobs, orchestrator.perform, core_policy().id, interval_s=TTL_S)
    timers.start()  # looks by itself only long after the end of this test
    timers.stop()
    command.clock.advance(1_000 * SECOND_US)
    timers.look()
    assert command.status(run).state.name == "Running"


def test_who_renews_after_a_stall_goes_on(command: Commanding) -> None:
    held = Held(command, command.orchestrator.timers)
    held.pass_by(1_000)
    for _ in range(5):
        held.renew()
        assert held.pass_by(*[1] * (TTL_S - 1)) == "Running"
    assert held.pass_by(1) == "Crashed"


def test_a_stall_that_left_time_to_renew_saves_nobody(command: Commanding) -> None:
    held = Held(command, command.orchestrator.timers)
    assert held.pass_by(5, *[1] * 4) == "Running"
    assert held.pass_by(1) == "Crashed"


def test_a_look_that_fails_is_none(command: Commanding, monkeypatch: pytest.MonkeyPatch) -> None:
    timers = command.orchestrator.timers
    held = Held(command, timers)
    with monkeypatch.context() as broken:
        broken.delattr(command.orchestrator.journal.database, "engine")
        for _ in range(2 * TTL_S):
            with pytest.raises(AttributeError):
                held.pass_by(1)
    assert held.pass_by(1, *[1] * (TTL_S - 1)) == "Running"
    assert held.pass_by(1) == "Crashed"


@pytest.mark.parametrize("serves", [True, False])
def test_a_server_that_begins_gives_the_leases_of_others_time(command: Commanding, serves: bool) -> None:
    orchestrator = command.orchestrator
    held = Held(command, orchestrator.timers)
    command.clock.advance(1_000 * SECOND_US)
    held.timers = Timers(orchestrator.journal, orchestrator.jobs, orchestrator.perform, core_policy().id, serves=serves)
    assert held.pass_by(1) == ("Running" if serves else "Crashed")
    assert held.pass_by(*[1] * (TTL_S - 1)) == "Crashed"


@given(st.lists(st.integers(0, 40)), st.integers(1, 30))
def test_a_lease_is_spared_just_when_a_stall_of_half_its_length_ended_less_than_its_length_ago(
    gaps_s: list[int], ttl_s: int
) -> None:
    stalls, ended_s, now_s = Stalls(SECOND_US), [], 0
    stalls.begin(0)
    stalls.end()
    for gap_s in gaps_s:
        now_s += gap_s
        stalls.begin(now_s * SECOND_US)
        stalls.end()
        if 2 * (gap_s - 1) >= ttl_s:
            ended_s.append(now_s)
        assert stalls.spare(ttl_s * SECOND_US, now_s * SECOND_US) == any(now_s - end_s < ttl_s for end_s in ended_s)
