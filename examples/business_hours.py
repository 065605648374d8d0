"""A policy of one's own: flow runs begin in business hours, Monday to Friday, and wait for them otherwise.

    PLAYHEAD_POLICY=examples.business_hours:policy playhead server start

Everything that the rule goes by is in the facts, so each of its decisions can be made again from the journal alone.
docs/policies.md goes through it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

from playhead import v1
from playhead.engine.orchestration.policy import Policy, core_policy
from playhead.engine.orchestration.rules.effects import Effect, wait
from playhead.engine.orchestration.rules.rule import NO_STATE, Rule, StateType

SATURDAY = 5


class BusinessHours(Rule):
    """none, SCHEDULED, PENDING -> RUNNING of a flow run: WAIT until business hours begin.

    A flow that is called as a function has no state before it is RUNNING. Subflow runs pass: the run that they are part
    of has begun. `zone` is a name of the IANA time zone database, `opens` and `closes` are times of its clocks.
    """

    from_states: ClassVar[frozenset[StateType]] = frozenset({NO_STATE, v1.SCHEDULED, v1.PENDING})
    to_states: ClassVar[frozenset[StateType]] = frozenset({v1.RUNNING})

    def __init__(self, zone: str, opens: time, closes: time) -> None:
        # Reading the time zone is I/O: it is done here, once, when the policy is made.
        self.zone = ZoneInfo(zone)
        self.opens = opens
        self.closes = closes

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        """Say how long until the doors open; nothing when they are."""
        if facts.is_subflow:
            return None
        now = datetime.fromtimestamp(facts.now.seconds, self.zone)
        if now.weekday() < SATURDAY and self.opens <= now.time() < self.closes:
            return None
        opening = self.next_opening(now)
        # Of timestamps, since the clocks may change on the way.
        delay_s = int(opening.timestamp()) - facts.now.seconds
        return wait(delay_s, f"Business hours begin {opening:%Y-%m-%d %H:%M} {self.zone.key}.")

    def next_opening(self, now: datetime) -> datetime:
        """The next moment at which the doors open."""
        day = now.date() if now.time() < self.opens else tomorrow(now.date())
        while day.weekday() >= SATURDAY:
            day = tomorrow(day)
        return datetime.combine(day, self.opens, self.zone)


def tomorrow(day: date) -> date:
    """The day after."""
    return day + timedelta(days=1)


def policy() -> Policy:
    """Business hours in Berlin, then Playhead's own rules. What makes runs wait comes before they take slots."""
    core = core_policy()
    hours = BusinessHours("Europe/Berlin", time(9), time(17, 30))
    return replace(core, core_flow=(hours, *core.core_flow))
