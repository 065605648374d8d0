"""The laws of the domain, each said of one recorded decision and what was known before it.

They are written from what the contract says, not from the rules, and know no rule's code. "By force" means that the
proposal asked to skip the rules that refuse; what is forbidden even then says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playhead import v1
from playhead.journal.encoding import micros_of
from tests.simulation.broken import hold, same
from tests.simulation.clients import ASKED
from tests.simulation.model import TERMINAL, Model, Run

HALF_A_SECOND_US = 500_000
CACHE_KEY_BYTES_MAX = 2_000


@dataclass
class Decided:
    """One decision: the run before it, the proposal, and the state after it."""

    model: Model
    run: Run
    proposed: v1.StateProposed
    revision: int
    now_us: int

    def __post_init__(self) -> None:
        self.command = self.proposed.command
        self.before = self.run.status
        # Under WAIT a run's place in line may be new; it keeps its state.
        self.changed = self.proposed.HasField("status") and self.proposed.decision != v1.WAIT
        self.after = self.proposed.status if self.changed else self.before
        self.was, self.to = self.before.state.type, self.after.state.type
        self.forced = self.command.force
        self.accepted = self.proposed.decision == v1.ACCEPT


def a_decision_says_what_it_did(it: Decided) -> None:
    """Only ACCEPT and REJECT change a run; ACCEPT to the type that was proposed; WAIT says how long."""
    decision = it.proposed.decision
    if decision == v1.ACCEPT:
        hold(it.changed and it.to == it.command.state.type, "ACCEPT: the run has the type that was proposed")
    if decision in (v1.WAIT, v1.ABORT):
        hold(not it.changed, "WAIT and ABORT change nothing")
    hold((decision == v1.WAIT) == (it.proposed.delay.seconds > 0), "WAIT, and nothing else, says how long")


def force_is_refused_for_few_reasons(it: Decided) -> None:
    """By force a proposal is accepted, but for late reports, unlapsed leases, lost results, long cache keys, and the
    CANCELLING of what no process runs.
    """
    late = it.command.lease_token or it.command.if_lease_expired
    loses = stored(it.before.state) and it.command.state.type == v1.COMPLETED and not stored(it.command.state)
    long = len(it.command.state.details.cache_key.encode()) > CACHE_KEY_BYTES_MAX
    idle = nobody_works_on(it) and it.command.state.type == v1.CANCELLING
    hold(not it.forced or it.accepted or late or loses or long or idle, "force is refused for few reasons only")


def a_late_report_changes_nothing(it: Decided) -> None:
    """A report under a lease that is not in force is refused, even by force."""
    token = it.command.lease_token
    worked_on = it.model.runs[it.run.parent_id].status if it.run.parent_id else it.before
    if token and token != worked_on.lease.token:
        hold(not it.changed and it.proposed.decision == v1.REJECT, "a late report changes nothing")


def only_lapsed_leases_are_given_up(it: Decided) -> None:
    """What is proposed for a lapsed lease changes nothing while the lease lives, even by force."""
    if it.command.if_lease_expired:
        lapsed = it.before.HasField("lease") and it.run.lease_expires_us <= it.now_us
        hold(lapsed or not it.changed, "a lease is given up only when it has lapsed")


def a_run_has_one_holder(it: Decided) -> None:
    """A lease is granted when nobody else's lives."""
    if it.after.lease.token != it.revision:
        return
    had = it.before.HasField("lease")
    own = it.command.lease_token == it.before.lease.token
    lapsed = it.run.lease_expires_us <= it.now_us
    hold(not had or own or lapsed or it.forced or it.was not in (v1.RUNNING, v1.PAUSED), "a run has one holder")


def cancelling_ends_cancelled(it: Decided) -> None:
    """A flow run that is CANCELLING becomes CANCELLED, nothing else."""
    if it.changed and not it.run.is_task and it.was == v1.CANCELLING and not it.forced:
        hold(it.to == v1.CANCELLED, "nothing leaves CANCELLING but to CANCELLED")


def what_no_process_runs_is_cancelled_at_once(it: Decided) -> None:
    """A flow run that no process works on never becomes CANCELLING, even by force; one that a process does work on is
    left to that.
    """
    if it.changed and not it.run.is_task and it.command.state.type == v1.CANCELLING:
        to = v1.CANCELLED if nobody_works_on(it) else v1.CANCELLING
        hold(it.to == to, "what nobody runs is cancelled at once")


def nobody_works_on(it: Decided) -> bool:
    """Whether a flow run has not begun, or was left to be scheduled again, and no process holds a lease on it."""
    suspended = it.was == v1.PAUSED and it.before.state.details.pause_reschedule
    waits = it.was in (v1.STATE_TYPE_UNSPECIFIED, v1.SCHEDULED, v1.PENDING)
    return (waits or suspended) and not it.before.HasField("lease")


def tasks_run_in_running_flows(it: Decided) -> None:
    """A task run is RUNNING only in a flow run that is."""
    if it.changed and it.run.is_task and it.to == v1.RUNNING and not it.forced and it.run.parent_id:
        parent = it.model.runs[it.run.parent_id].status.state
        hold(parent.type == v1.RUNNING, "no task run starts in a flow run that does not run", parent)


def what_has_ended_is_over(it: Decided) -> None:
    """From a terminal state nothing is cancelled, paused or crashed; a stored result stays."""
    if not it.changed or it.was not in TERMINAL:
        return
    if not it.forced:
        hold(it.to not in (v1.CANCELLING, v1.PAUSED, v1.CRASHED) or replaced(it), "what has ended is over")
        hold(
            it.run.is_task or it.to != v1.SCHEDULED or deployed(it) or replaced(it), "nothing would start the run again"
        )
    if stored(it.before.state):
        kept = it.to in TERMINAL and (it.to != v1.COMPLETED or stored(it.after.state))
        hold(it.forced or (kept and not it.run.is_task), "a stored result is not left")
        hold(it.run.is_task or it.to != v1.COMPLETED or stored(it.after.state), "a stored result is not lost")


def nothing_runs_before_it_is_due(it: Decided) -> None:
    """RUNNING is waited for until the scheduled time, to half a second."""
    if it.changed and it.to == v1.RUNNING and not it.forced and it.was in (v1.SCHEDULED, v1.PENDING, v1.PAUSED):
        early_us = micros_of(it.before.state.details.scheduled_time) - it.now_us
        hold(early_us < HALF_A_SECOND_US + 1, f"nothing runs before it is due: {early_us} us early")


def pausing_has_terms(it: Decided) -> None:
    """A flow run pauses when RUNNING, once for each key; it is suspended only if something can start it again."""
    if it.changed and not it.run.is_task and it.to == v1.PAUSED and not it.forced:
        details = it.after.state.details
        hold(it.was == v1.RUNNING, "only what is RUNNING pauses")
        hold(details.pause_key not in it.before.pause_keys, "a key pauses a run once")
        hold(
            not details.pause_reschedule or (deployed(it) and not subflow(it)), "what is suspended can be started again"
        )


def a_pause_ends_as_it_should(it: Decided) -> None:
    """A paused flow run goes on, is scheduled again or ends; too late it can only have failed."""
    if not it.changed or it.run.is_task or it.was != v1.PAUSED or it.forced:
        return
    details = it.before.state.details
    cancelled = it.command.state.type == v1.CANCELLING
    hold(cancelled or it.to in TERMINAL | {v1.RUNNING, v1.SCHEDULED}, "a paused run goes on, is scheduled or ends")
    executed = it.to == v1.RUNNING and it.command.HasField("lease_ttl")
    hold(not executed, "a process that begins to work on a paused run does not resume it")
    asks = bool(details.run_input_schema) and it.to == v1.COMPLETED
    hold(not asks, "no run completes without the input that it asked for")
    hold(cancelled or not details.pause_reschedule or deployed(it), "what is suspended needs a deployment to go on")
    overdue = details.HasField("pause_timeout") and micros_of(details.pause_timeout) <= it.now_us
    hold(cancelled or not overdue or it.to == v1.FAILED, "a pause that timed out has failed")


def input_is_what_was_asked_for(it: Decided) -> None:
    """A pause that asks for input is left for RUNNING or SCHEDULED with input that fits, and only then is input taken;
    none that fits is refused for it. By force anything passes.
    """
    if it.run.is_task:
        return
    given, proposed = it.command.state.details.run_input, it.command.state.type
    asked = it.before.state.details.run_input_schema if it.was == v1.PAUSED else b""
    fits = given in ASKED[asked] if asked else not given
    goes_on = it.accepted or it.after.state.name == "AwaitingConcurrencySlot"
    if it.changed and goes_on and proposed in (v1.RUNNING, v1.SCHEDULED):
        hold(fits or it.forced, "a run goes on with the input that was asked for, and with no other")
        same(it.after.state.details.run_input, given, "the input of a resume is the run's")
    if it.accepted and it.to == v1.PAUSED:
        same(it.after.state.details.run_input_schema, it.command.state.details.run_input_schema, "a pause asks")
    refused = it.proposed.reason.startswith("run_input")
    hold(not refused or not fits, "what fits is not refused for what it is", it.proposed.reason)


def one_worker_starts_a_run(it: Decided) -> None:
    """Of workers that race for a flow run one makes it PENDING; progress of the same start has another name."""
    if it.changed and not it.run.is_task and it.to == v1.PENDING and not it.forced:
        hold(it.was not in (v1.RUNNING, v1.CANCELLING, v1.CANCELLED), "PENDING comes before running")
        renamed = it.after.state.name not in (it.before.state.name, "Pending")
        hold(it.was != v1.PENDING or renamed, "a run is PENDING once")


def what_failed_is_tried_again(it: Decided) -> None:
    """A reported failure awaits its retry if, and only if, one is left; due after the delay that the policy names.

    A task run's crash is one, if it says that it is.
    """
    details, proposed = it.command.state.details, it.command.state.type
    lost = it.run.is_task and proposed == v1.CRASHED and details.retriable
    if not it.changed or it.was != v1.RUNNING or not (proposed == v1.FAILED or lost):
        return
    retry = it.run.spec.retry
    attempt = it.before.run_count
    left = retry.retries > 0 and attempt <= retry.retries and (details.retriable or not details.HasField("retriable"))
    hold((it.to == v1.SCHEDULED) == (left and not it.forced), "what failed is tried again while a retry is left")
    if it.to == v1.SCHEDULED:
        delays = list(retry.delays_s) or [0.0]
        mean_s = delays[min(max(attempt, 1), len(delays)) - 1]
        delay_us = micros_of(it.after.state.details.scheduled_time) - it.now_us
        most_us = mean_s * (1 + retry.jitter_factor) * 1e6
        least_us = 0.0 if retry.jitter_factor else mean_s * 1e6
        hold(it.after.state.name == "AwaitingRetry", "what is tried again says so")
        hold(least_us - 1 <= delay_us <= most_us + 1, f"the delay is the policy's: {delay_us} us of {mean_s} s")


def what_is_cached_is_found(it: Decided) -> None:
    """A task run that starts under a cache key is answered from the cache if there is an entry, and only then."""
    details = it.command.state.details
    if not it.changed or not it.run.is_task or it.command.state.type != v1.RUNNING or it.forced:
        return
    wanted = details.cache_key and not details.refresh_cache
    entry = it.model.cached(details.cache_key, it.now_us) if wanted else None
    hit = it.to == v1.COMPLETED and it.after.state.name == "Cached"
    if stored(it.before.state):
        return
    hold(hit == (entry is not None), "what is cached is found, and nothing else")
    if entry is not None:
        hold(it.after.state.result == entry.state.result, "the cached result is the one that was stored")


def cache_keys_are_short(it: Decided) -> None:
    """Nothing runs or completes under a cache key over 2,000 bytes, even by force."""
    if it.changed and it.run.is_task:
        hold(len(it.after.state.details.cache_key.encode()) <= CACHE_KEY_BYTES_MAX, "cache keys are short")


def what_is_late_for_a_full_limit_is_cancelled(it: Decided) -> None:
    """A flow run is not marked late that would be cancelled when it asks for its slots."""
    if it.changed and not it.run.is_task and not it.forced and it.command.state.name == "Late":
        limits = it.proposed.facts.limits
        taken = [one for one in limits if one.ahead or one.held + one.needed > one.slots]
        full = any(one.on_full == v1.CANCEL_NEW for one in taken)
        hold(it.command.state.type != v1.SCHEDULED or full == (it.to == v1.CANCELLED), "late, and no slot to be had")


def late_comes_once(it: Decided) -> None:
    """A flow run becomes Late once, when it is due."""
    if it.changed and not it.run.is_task and it.after.state.name == "Late" and it.to == v1.SCHEDULED and not it.forced:
        due_us = micros_of(it.before.state.details.scheduled_time)
        hold(it.was == v1.SCHEDULED and it.before.state.name == "Scheduled", "what was not scheduled is not late")
        hold(due_us <= it.now_us, "what is not due is not late")


LAWS: tuple[Callable[[Decided], None], ...] = (
    a_decision_says_what_it_did,
    force_is_refused_for_few_reasons,
    a_late_report_changes_nothing,
    only_lapsed_leases_are_given_up,
    a_run_has_one_holder,
    cancelling_ends_cancelled,
    what_no_process_runs_is_cancelled_at_once,
    tasks_run_in_running_flows,
    what_has_ended_is_over,
    nothing_runs_before_it_is_due,
    pausing_has_terms,
    a_pause_ends_as_it_should,
    input_is_what_was_asked_for,
    one_worker_starts_a_run,
    what_failed_is_tried_again,
    what_is_cached_is_found,
    cache_keys_are_short,
    what_is_late_for_a_full_limit_is_cancelled,
    late_comes_once,
)


def check_laws(it: Decided) -> None:
    """Every law, of one decision."""
    for law in LAWS:
        law(it)


def stored(state: v1.State) -> bool:
    """Whether a state has a result that others can read."""
    return state.type == v1.COMPLETED and state.result.WhichOneof("stored") is not None


def replaced(it: Decided) -> bool:
    """Whether another state than the proposed one was put in its place, as NotReady for a task run of a paused flow."""
    return it.to != it.command.state.type


def deployed(it: Decided) -> bool:
    """Whether something would start the flow run again."""
    return isinstance(it.run.spec, v1.FlowRunSpec) and bool(it.run.spec.deployment_id)


def subflow(it: Decided) -> bool:
    """Whether the flow run is part of another."""
    return isinstance(it.run.spec, v1.FlowRunSpec) and bool(it.run.spec.parent_task_run_id)
