"""examples/business_hours.py: runs begin when its doors are open, and are told when that is."""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from examples.business_hours import BusinessHours, policy
from playhead import v1
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.installed import load_policy
from playhead.engine.orchestration.policy import Subject
from tests.orchestration.commanding import Commanding, new_id
from tests.orchestration.given import short

BERLIN = ZoneInfo("Europe/Berlin")


def asked(text: str, **told: bool) -> v1.StateProposed:
    """RUNNING proposed to a PENDING flow run at a time of Berlin's clocks."""
    now = Timestamp(seconds=round(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()))
    facts = v1.Facts(now=now, status=v1.RunStatus(state=v1.State(type=v1.PENDING, name="Pending")), **told)  # type: ignore[arg-type]
    return decide(Subject.FLOW_RUN, facts, v1.ProposeStateRequest(state=v1.State(type=v1.RUNNING)), policy())


@pytest.mark.parametrize(
    ("now", "decision"),
    [
        ("2026-01-14T09:00:00", "A"),  # a Wednesday
        ("2026-01-14T17:29:59", "A"),
        ("2026-01-14T17:30:00", "W55800"),
        ("2026-01-14T08:59:59", "W1"),
        ("2026-01-16T17:30:00", "W228600"),  # a Friday
        ("2026-01-17T12:00:00", "W162000"),
        ("2026-03-27T18:00:00", "W223200"),  # the clocks go forward over this weekend
        ("2026-10-23T18:00:00", "W230400"),  # and back over this one
    ],
)
def test_a_run_waits_until_the_doors_open(now: str, decision: str) -> None:
    assert short(asked(now)) == decision


def test_it_is_told_when_that_is() -> None:
    answer = asked("2026-01-16T20:00:00")
    assert (answer.rule, answer.reason) == ("BusinessHours", "Business hours begin 2026-01-19 09:00 Europe/Berlin.")


def test_a_subflow_run_goes_on_with_the_run_it_is_part_of() -> None:
    assert short(asked("2026-01-17T12:00:00", is_subflow=True)) == "A"


def test_it_is_found_by_the_name_in_its_docstring_and_has_one_id() -> None:
    assert load_policy("examples.business_hours:policy").id == policy().id
    hours = next(rule for rule in policy().core_flow if isinstance(rule, BusinessHours))
    assert (hours.opens, hours.closes) == (time(9), time(17, 30))


def test_a_flow_that_is_called_waits_as_long_as_it_is_told_and_begins(sqlite_store: str) -> None:
    """Called as a function, it is created by the proposal to run it, and has no state before."""
    command = Commanding(sqlite_store, policy())
    with command.orchestrator:
        command.clock.now_us = round(datetime(2026, 1, 17, 12, tzinfo=BERLIN).timestamp()) * 1_000_000
        spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id)
        answer = command.propose(v1.RUNNING, create_flow_run=spec)
        assert (answer.decision, answer.rule) == (v1.WAIT, "BusinessHours")
        command.clock.advance(answer.delay.seconds * 1_000_000)
        assert command.propose(v1.RUNNING, create_flow_run=spec).decision == v1.ACCEPT
