"""Leases: one process at a time works on a flow run, and a process that was given up cannot overwrite its successor."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, reject, wait
from playhead.engine.orchestration.rules.moments import full_seconds_until, micros
from playhead.engine.orchestration.rules.rule import Rule


class FenceLateReports(Rule):
    """any -> any, under a lease that is not the run's now, or, of a task run inside a flow run, not the flow run's now:
    REJECT. Force does not lift it.

    Differs: Prefect takes a report from anybody, from a process that was given up too.
    """

    version = 4

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        token = command.lease_token
        if not token:
            return None
        inside = facts.HasField("flow_run")
        current = facts.flow_run.lease_token if inside else facts.status.lease.token
        if token == current:
            return None
        whose = "the flow run's" if inside else "this run's"
        if current:
            why = f"lease {current} is" if inside else f"lease {current}, of {facts.status.lease.holder}, is"
        else:
            state_type = facts.flow_run.state_type if inside else facts.status.state.type
            name = v1.StateType.Name(state_type) if state_type else "in no state"
            why = f"the {'flow run' if inside else 'run'} is {name}, and under no lease"
        return reject(f"Lease {token} is not {whose} lease: {why}.")


class OnlyLapsedLeases(Rule):
    """any -> any, proposed with if_lease_expired: REJECT unless the run has a lease and it has lapsed. Force does not
    lift it.
    """

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if not command.if_lease_expired:
            return None
        if not facts.status.HasField("lease"):
            return reject("The run has no lease that could have lapsed.")
        return reject("The run's lease has not lapsed.") if is_live(facts) else None


class WaitForLiveLease(Rule):
    """RUNNING, PAUSED -> RUNNING with a lease asked for: WAIT while somebody else's lease lives; a lapsed one is taken
    over.

    Differs: Prefect lets a second process run beside the first.
    """

    from_states = frozenset({v1.RUNNING, v1.PAUSED})
    to_states = frozenset({v1.RUNNING})
    version = 2

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        asks = command.HasField("lease_ttl") and command.lease_token != facts.status.lease.token
        if not asks or not facts.status.HasField("lease") or not is_live(facts):
            return None
        holder = facts.status.lease.holder
        delay_s = full_seconds_until(facts.lease_expires, facts.now)
        return wait(delay_s, f"{holder} holds the run's lease: it lapses then, unless it is renewed.")


def is_live(facts: v1.Facts) -> bool:
    """Whether the run's lease has not lapsed by the journal's clock."""
    return micros(facts.lease_expires) > micros(facts.now)
