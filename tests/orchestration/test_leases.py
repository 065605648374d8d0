"""Leases on a real database: granted, renewed, lapsed and fenced, with the clock moved by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.timers import TIMERS
from playhead.exceptions import NotFound
from tests.orchestration.commanding import ALICE, BOB, SECOND_US, Commanding, commanding, new_id

TTL = Duration(seconds=10)
TTL_US = 10 * SECOND_US


@pytest.fixture
def command(store: str) -> Iterator[Commanding]:
    with commanding(store) as ready:
        yield ready


def running(command: Commanding) -> tuple[str, int]:
    """A flow run that runs under a lease of Alice's, and the lease's token."""
    run = command.flow_run()
    answer = command.propose(v1.RUNNING, flow_run_id=run, lease_ttl=TTL)
    assert answer.lease_token == answer.meta.revision
    return run, answer.lease_token


def renew(command: Commanding, run: str, token: int) -> v1.RenewLeaseResponse:
    request = v1.RenewLeaseRequest(flow_run_id=run, lease_token=token)
    answer: v1.RenewLeaseResponse = command.orchestration.renew_lease(request, ALICE).result()
    return answer


def test_a_grant_names_its_holder(command: Commanding) -> None:
    run, token = running(command)
    lease = command.status(run).lease
    assert (lease.token, lease.holder, lease.ttl) == (token, ALICE.actor, TTL)


def test_a_run_whose_lease_lapsed_has_crashed_and_says_why(command: Commanding) -> None:
    run, token = running(command)
    command.clock.advance(TTL_US - 1)
    assert command.orchestrator.timers.tick() == 0
    command.clock.advance(1)
    assert command.orchestrator.timers.tick() == 1
    status = command.status(run)
    assert status.state.type == v1.CRASHED
    assert "stopped renewing its lease" in status.state.message
    assert not status.HasField("lease")
    assert command.decisions(run)[-1].actor == TIMERS.actor
    assert command.orchestrator.timers.tick() == 0
    late = command.propose(v1.COMPLETED, flow_run_id=run, lease_token=token)
    assert (late.decision, late.rule) == (v1.REJECT, "FenceLateReports")


def test_renewals_keep_a_run_alive_and_are_not_events(command: Commanding) -> None:
    run, token = running(command)
    head = command.head()
    for _ in range(5):
        command.clock.advance(TTL_US - 1)
        assert renew(command, run, token).state.type == v1.RUNNING
        assert command.orchestrator.timers.tick() == 0
    assert command.head() == head


def test_a_renewal_tells_the_holder_of_a_cancellation(command: Commanding) -> None:
    run, token = running(command)
    command.propose(v1.CANCELLING, BOB, flow_run_id=run)
    assert renew(command, run, token).state.type == v1.CANCELLING


def test_a_holder_that_dies_while_its_run_is_cancelled_leaves_it_cancelled(command: Commanding) -> None:
    run, _ = running(command)
    command.propose(v1.CANCELLING, BOB, flow_run_id=run)
    command.clock.advance(TTL_US)
    assert command.orchestrator.timers.tick() == 1
    assert command.status(run).state.type == v1.CANCELLED


def test_a_lease_that_is_gone_can_not_be_renewed(command: Commanding) -> None:
    run, token = running(command)
    command.propose(v1.COMPLETED, flow_run_id=run, lease_token=token)
    with pytest.raises(NotFound):
        renew(command, run, token)
    with pytest.raises(NotFound):
        renew(command, new_id(), token)


def test_another_process_waits_for_a_live_lease_and_takes_over_a_lapsed_one(command: Commanding) -> None:
    run, token = running(command)
    command.clock.advance(4 * SECOND_US)
    waiting = command.propose(v1.RUNNING, BOB, flow_run_id=run, lease_ttl=TTL)
    assert (waiting.decision, waiting.delay.seconds) == (v1.WAIT, 6)
    command.clock.advance(6 * SECOND_US)
    taken = command.propose(v1.RUNNING, BOB, flow_run_id=run, lease_ttl=TTL)
    assert (taken.decision, command.status(run).lease.holder) == (v1.ACCEPT, BOB.actor)
    assert command.propose(v1.FAILED, flow_run_id=run, lease_token=token).rule == "FenceLateReports"
    with pytest.raises(NotFound):
        renew(command, run, token)


def test_a_wait_takes_renewals_into_account(command: Commanding) -> None:
    run, token = running(command)
    command.clock.advance(8 * SECOND_US)
    renew(command, run, token)
    assert command.propose(v1.RUNNING, BOB, flow_run_id=run, lease_ttl=TTL).delay.seconds == 10


def test_several_processes_that_notice_a_lapse_decide_it_once(store: str) -> None:
    with commanding(store) as command:
        run, _ = running(command)
        command.clock.advance(TTL_US)
        with Orchestrator.open(store, clock=command.clock, timers=False) as other:
            lapsed = [command.orchestrator.timers.tick(), other.timers.tick()]
        assert lapsed[0] == 1
        crashes = [d for d in command.decisions(run) if d.proposed.type == v1.CRASHED]
        assert [d.decision for d in crashes] == [v1.ACCEPT]


def test_giving_up_a_run_whose_lease_lives_is_refused(command: Commanding) -> None:
    run, token = running(command)
    refused = command.propose(v1.CRASHED, BOB, flow_run_id=run, lease_token=token, if_lease_expired=True)
    assert (refused.decision, refused.rule) == (v1.REJECT, "OnlyLapsedLeases")
    assert command.status(run).state.type == v1.RUNNING


def test_leases_outlive_the_process_that_recorded_them(store: str) -> None:
    with commanding(store) as command:
        run, token = running(command)
        command.clock.advance(5 * SECOND_US)
        renew(command, run, token)
        clock = command.clock
    with Orchestrator.open(store, clock=clock, timers=False) as again:
        clock.advance(TTL_US - 1)
        assert again.timers.tick() == 0
        clock.advance(1)
        assert again.timers.tick() == 1
