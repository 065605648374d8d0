"""Runs that are to be created: what their specs refer to exists, and the bookkeeping completes their first state."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.commands import CreateRun, Propose
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.known import Known, Run
from playhead.engine.orchestration.policy import Policy, Subject
from playhead.engine.orchestration.rules.stopping import left_by
from playhead.exceptions import AlreadyExists, InternalDefect, NotFound
from playhead.journal.append import Append
from playhead.journal.encoding import bytes_of, stamp, text_of


def imagine(append: Append, command: Propose | CreateRun, known: Known, policy: Policy) -> Run:
    """The run that a command's spec describes, as it will be once created. Raises NotFound, AlreadyExists."""
    spec = command.spec
    if spec is None:
        kind = "flow_run" if command.subject is Subject.FLOW_RUN else "task_run"
        run_id = text_of(command.run_id)
        raise NotFound(f"{kind}_id: no {kind.replace('_', ' ')} {run_id}.", field=f"{kind}_id", id=run_id)
    if append.version(command.run_id):
        raise AlreadyExists(f"The id {text_of(command.run_id)} belongs to something else.", id=text_of(command.run_id))
    flow_run_id, first = None, spec.state if spec.HasField("state") else None
    field = str(command.request.WhichOneof("run")) if isinstance(command, Propose) else "spec"
    if isinstance(spec, v1.FlowRunSpec):
        # What a run is of, in and from is there before it: so no run is in itself, or from itself, by any detour.
        flow_name(append, spec, known, field)
        for name, subject in (("parent_task_run_id", Subject.TASK_RUN), ("forked_from_run_id", Subject.FLOW_RUN)):
            if other := getattr(spec, name):
                known.existing(append, subject, bytes_of(other), f"{field}.{name}")
    elif spec.flow_run_id:
        flow_run_id = bytes_of(spec.flow_run_id)
        flow_run = known.existing(append, Subject.FLOW_RUN, flow_run_id, f"{field}.flow_run_id")
        # Nothing would end it: what a stopped flow run leaves was looked through when it stopped.
        first = left_by(flow_run.status.state.type) or first
    # The status keeps tags; the spec says what they were at first.
    status = v1.RunStatus(name=spec.name or _default_name(spec, command.run_id), tags=spec.tags)
    run = Run(command.subject, command.run_id, spec, status, flow_run_id)
    if first is not None:
        run.status = _begun(append, run, first, policy)
    return run


def flow_name(append: Append, spec: v1.FlowRunSpec | v1.TaskRunSpec, known: Known, field: str = "spec") -> str:
    """The name of the flow that a flow run is of; "" for a task run. Raises NotFound; `field` is where the spec is."""
    if isinstance(spec, v1.TaskRunSpec):
        return ""
    flow = known.flow(append, bytes_of(spec.flow_id))
    if flow is None:
        field = f"{field}.flow_id"
        raise NotFound(f"{field}: no flow {spec.flow_id}: register it.", field=field, id=spec.flow_id)
    return flow.name


def _begun(append: Append, run: Run, state: v1.State, policy: Policy) -> v1.RunStatus:
    """A run that is to be created, in its first state. It is part of the creation, not a proposal."""
    facts = v1.Facts(status=run.status)
    stamp(facts.now, append.now)
    first = decide(run.subject, facts, v1.ProposeStateRequest(state=state, force=True), policy)
    if first.decision != v1.ACCEPT:
        raise InternalDefect(f"The policy refuses a run's first state, by {first.rule}: {first.reason}")
    return first.status


def _default_name(spec: v1.FlowRunSpec | v1.TaskRunSpec, run_id: bytes) -> str:
    if isinstance(spec, v1.TaskRunSpec):
        return f"{spec.task_key}-{spec.dynamic_key}" if spec.dynamic_key else spec.task_key
    return f"run-{run_id.hex()[-12:]}"
