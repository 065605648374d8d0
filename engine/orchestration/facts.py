"""What the rules are told: the facts of a proposal, gathered inside the append transaction and recorded with it."""

from __future__ import annotations

from hashlib import sha256

from playhead import v1
from playhead.engine.orchestration.commands import Propose
from playhead.engine.orchestration.known import Known, Run
from playhead.engine.orchestration.policy import Subject
from playhead.engine.orchestration.rules.scheduling import LATE
from playhead.engine.orchestration.rules.slots import SecureFlowConcurrencySlots, SecureTaskConcurrencySlots
from playhead.engine.orchestration.slots import Slots
from playhead.journal.append import Append
from playhead.journal.encoding import stamp

NEEDS_SLOTS = {Subject.FLOW_RUN: SecureFlowConcurrencySlots, Subject.TASK_RUN: SecureTaskConcurrencySlots}
"""The rule that wants to know of concurrency limits: it says on which transitions."""


def gather(append: Append, command: Propose, run: Run, known: Known, slots: Slots, facts: v1.Facts) -> None:
    """Tell the rules, in `facts`, what there is to know of a proposal for a run."""
    request = command.request
    facts.status.CopyFrom(run.status)
    if run.spec.HasField("retry"):
        facts.retry.CopyFrom(run.spec.retry)
    stamp(facts.now, append.now)
    if slots.any_set or run.spec.slots:
        asking, state = NEEDS_SLOTS[run.subject], request.state
        asks = state.type in asking.to_states and run.status.state.type in asking.from_states
        if asks or (run.subject is Subject.FLOW_RUN and state.type == v1.SCHEDULED and state.name == LATE):
            slots.describe(run.run_id, slots.needed(run), facts)
    if command.subject is Subject.TASK_RUN:
        _of_task_run(append, request, run, known, facts)
    else:
        spec = run.spec
        assert isinstance(spec, v1.FlowRunSpec)
        if spec.deployment_id:
            facts.has_deployment = True
        if spec.parent_task_run_id:
            facts.is_subflow = True
    if run.status.HasField("lease") and (request.if_lease_expired or request.state.type == v1.RUNNING):
        stamp(facts.lease_expires, known.lease_expires(append, run))
    if facts.retry.jitter_factor and command.request_id is not None:
        facts.entropy = int.from_bytes(sha256(command.request_id).digest()[:8], "big")


def _of_task_run(append: Append, request: v1.ProposeStateRequest, run: Run, known: Known, facts: v1.Facts) -> None:
    if run.flow_run_id is not None:
        parent = known.existing(append, Subject.FLOW_RUN, run.flow_run_id, "flow_run_id")
        _of_flow_run(parent.status, facts.flow_run)
    details = request.state.details
    if request.state.type == v1.RUNNING and details.cache_key and not details.refresh_cache:
        entry = known.cache_entry(append, details.cache_key)
        if entry is not None:
            facts.cache_entry.CopyFrom(entry)


def _of_flow_run(status: v1.RunStatus, facts: v1.FlowRunFacts) -> None:
    """What the rules of a task run are told of its flow run."""
    facts.state_type = status.state.type
    facts.run_count = status.run_count
    if status.HasField("lease"):
        facts.lease_token = status.lease.token
    if status.state.type == v1.PAUSED:
        details = status.state.details
        if details.HasField("pause_timeout"):
            facts.pause_timeout.CopyFrom(details.pause_timeout)
        facts.pause_reschedule = details.pause_reschedule
