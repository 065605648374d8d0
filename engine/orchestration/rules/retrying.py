"""Trying again what failed, and calling it so."""

from __future__ import annotations

import math

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, rename, replace
from playhead.engine.orchestration.rules.moments import later
from playhead.engine.orchestration.rules.rule import ANY, TERMINAL, Rule
from playhead.engine.orchestration.rules.terminal import has_stored_result, is_of_other_arguments

ENTROPY_BITS = 64
JITTER_SPREAD_MAX = 50.0
"""From here on 1 / (2^spread - 1) is nothing to a double: the least delay is 0."""


class RetryFailedFlows(Rule):
    """RUNNING -> FAILED while run_count <= retries: REJECT > SCHEDULED "AwaitingRetry", due after the delay, message
    and result kept. The new attempt may pause again at every key. `retriable` false: passes.

    Differs: Prefect knows `retriable` of task runs only.
    """

    from_states = frozenset({v1.RUNNING})
    to_states = frozenset({v1.FAILED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return retry(facts, proposed)

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.ClearField("pause_keys")


class RetryCrashedFlows(Rule):
    """RUNNING, PAUSED, SCHEDULED -> CRASHED proposed with if_lease_expired, where the retry policy says on_crash, while
    run_count <= retries: REJECT > SCHEDULED "AwaitingRetry", due after the delay. The new attempt may pause again at
    every key. A crash that the process itself reports is not tried again.
    """

    from_states = frozenset({v1.RUNNING, v1.PAUSED, v1.SCHEDULED})
    to_states = frozenset({v1.CRASHED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return retry(facts, proposed) if command.if_lease_expired and facts.retry.on_crash else None

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.ClearField("pause_keys")


class RetryFailedTasks(Rule):
    """RUNNING -> FAILED while run_count <= retries: REJECT > SCHEDULED "AwaitingRetry", due after the delay, message
    and result kept. `retriable` false: passes.
    """

    from_states = frozenset({v1.RUNNING})
    to_states = frozenset({v1.FAILED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return retry(facts, proposed)


class RetryCrashedTasks(Rule):
    """RUNNING -> CRASHED that says `retriable` (a worker was lost, the process that runs the flow was not) while
    run_count <= retries: REJECT > SCHEDULED "AwaitingRetry", due after the delay, message and result kept.

    Differs: in Prefect a task run whose worker died stays as it is.
    """

    from_states = frozenset({v1.RUNNING})
    to_states = frozenset({v1.CRASHED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return retry(facts, proposed) if proposed.details.retriable else None


class RenameReruns(Rule):
    """any -> RUNNING of a task run that ran before: passes as "Retrying" after AwaitingRetry, or from a terminal state
    when the flow run itself is tried again; else, and when its stored result is damaged or of other arguments, as
    "Rerunning".
    """

    from_states = ANY
    to_states = frozenset({v1.RUNNING})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        status = facts.status
        if proposed.details.damaged_result and has_stored_result(status.state):
            return rename("Rerunning", "The stored result is damaged.")
        if is_of_other_arguments(status.state, proposed):
            return rename("Rerunning", "The stored result is one of other arguments.")
        if status.state.type in TERMINAL:
            again = status.flow_run_run_count < facts.flow_run.run_count
            return rename("Retrying", "The flow run is tried again.") if again else None
        if not status.run_count:
            return None
        if status.state.name == "AwaitingRetry":
            return rename("Retrying", "A failed attempt is tried again.")
        return rename("Rerunning", "The run has run before.")


def retry(facts: v1.Facts, proposed: v1.State) -> Effect | None:
    """Another attempt, when the policy has one left and the failure allows it."""
    if _no_attempt_left(facts) or _refuses_retry(proposed):
        return None
    state = v1.State(type=v1.SCHEDULED, name="AwaitingRetry", message=proposed.message)
    delay_s = retry_delay_s(facts.retry, facts.status.run_count, facts.entropy)
    state.details.scheduled_time.CopyFrom(later(facts.now, delay_s))
    if proposed.HasField("result"):
        state.result.CopyFrom(proposed.result)
    return replace(state, f"Retry {max(facts.status.run_count, 1)} of {facts.retry.retries}.")


def why_no_retry(facts: v1.Facts, command: v1.ProposeStateRequest) -> str:
    """Why a FAILED or CRASHED that was accepted brought no other attempt: what the rules above went by, in words."""
    retries, from_type = facts.retry.retries, facts.status.state.type
    crashed, is_task = command.state.type == v1.CRASHED, command.WhichOneof("run") == "task_run_id"
    lapsed = crashed and not is_task and command.if_lease_expired
    if not retries:
        return "none is set"
    if command.force:
        return "force leaves none"
    if from_type not in (RetryCrashedFlows.from_states if lapsed else RetryFailedFlows.from_states):
        return f"one that is {v1.StateType.Name(from_type)} has none" if from_type else "one without a state has none"
    if crashed and is_task and not command.state.details.retriable:
        return "a crash of a task run has one only when it asks for it (retriable)"
    if crashed and not is_task and not lapsed:
        return "a crash that the process itself reports has none"
    if lapsed and not facts.retry.on_crash:
        return "those that are set are not for crashes (on_crash)"
    if _refuses_retry(command.state):
        return "the failure says that it is not to be tried again (retriable is false)"
    if _no_attempt_left(facts):
        return f"{retries} {'is' if retries == 1 else 'are'} set, and this was attempt {facts.status.run_count}"
    return "no rule of the policy asks for one"


def _no_attempt_left(facts: v1.Facts) -> bool:
    return not facts.retry.retries or facts.status.run_count > facts.retry.retries


def _refuses_retry(proposed: v1.State) -> bool:
    return proposed.details.HasField("retriable") and not proposed.details.retriable


def retry_delay_s(policy: v1.RetryPolicy, run_count: int, entropy: int) -> float:
    """Seconds before the retry that follows attempt `run_count`: its entry of the list, the last one for all beyond."""
    if not policy.delays_s:
        return 0.0
    delay_s = policy.delays_s[min(max(run_count, 1), len(policy.delays_s)) - 1]
    return jittered_s(delay_s, policy.jitter_factor, entropy) if policy.jitter_factor > 0 and delay_s > 0 else delay_s


def jittered_s(delay_s: float, factor: float, entropy: int) -> float:
    """An exponential variate of mean `delay_s`, confined to where that mean is about kept and delay_s * (1 + factor) is
    the most.

    With k = 1 + factor the least is delay_s * log2(2^k / (2^k - 1)): chosen as a quantile between the two by inverting
    the exponential's survival function at the recorded chance.
    """
    spread = 1.0 + factor
    least = -math.log2(1.0 - 2.0**-spread) if spread < JITTER_SPREAD_MAX else 0.0
    chance = (entropy + 1) / 2**ENTROPY_BITS
    survival = math.exp(-spread) + (math.exp(-least) - math.exp(-spread)) * chance
    return delay_s * min(max(-math.log(survival), least), spread)
