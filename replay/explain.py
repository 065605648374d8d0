"""Why a run is, or was, as it is: its events up to a moment, in order, each as data and as a sentence."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.lease import is_live
from playhead.exceptions import MissingField, TooLarge
from playhead.journal.encoding import bytes_of, text_of, timestamp
from playhead.journal.errors import CorruptRecord
from playhead.journal.journal import Journal
from playhead.journal.payload import event_of
from playhead.journal.record import Record
from playhead.projector.paging import fitting
from playhead.projector.service import RunsService
from playhead.projector.showing import decision_record, status_of
from playhead.projector.sql import made_of
from playhead.replay import sql
from playhead.replay.sentences import counted, moment_text, sentence_of, state_text, succeeds

STEPS_DEFAULT = 100
STEPS_MAX = 1_000


def explain_run(journal: Journal, runs: RunsService, request: v1.ExplainRunRequest) -> v1.ExplainRunResponse:
    """The explanation of a run. Raises NotFound when there was no such run at that moment, BadRequest, and what reading
    a moment raises. Fewer steps than asked for when they are large: `left_out` counts the others.
    """
    if request.steps_max > STEPS_MAX:
        raise TooLarge(
            f"{request.steps_max}, at most {STEPS_MAX}", field="steps_max", limit=STEPS_MAX, actual=request.steps_max
        )
    explained, status, run_id = _run(runs, request)
    at, size = explained.meta.revision, request.steps_max or STEPS_DEFAULT
    is_task = explained.WhichOneof("run") == "task_run"
    versions = (made_of().task_runs if is_task else made_of().flow_runs).versions
    if request.changes_only:
        records = sql.last_changes(journal.database, versions, run_id, at, size + 1)
    else:
        records = journal.read(1, at, stream=run_id, backwards=True, limit=size + 1)
    shown = fitting(records[:size], lambda record: len(record.payload or b""))
    for record, previous in reversed(list(zip(shown, [*records[1:], None], strict=False))):
        explained.steps.append(step_of(journal, record, previous))
    if request.changes_only:
        explained.left_out = sql.changes_before(journal.database, versions, run_id, shown[-1].revision)
    else:
        explained.left_out = shown[-1].stream_version - 1
    explained.summary = _summary(journal, explained, status, run_id)
    return explained


def _run(runs: RunsService, request: v1.ExplainRunRequest) -> tuple[v1.ExplainRunResponse, v1.RunStatus, bytes]:
    """An explanation with the run alone, its status and its id."""
    which = request.WhichOneof("run")
    if which is None:
        raise MissingField("flow_run_id or task_run_id is required", field="run")
    if which == "flow_run_id":
        flow = runs.get_flow_run(v1.GetFlowRunRequest(flow_run_id=request.flow_run_id, read_at=request.read_at))
        explained = v1.ExplainRunResponse(meta=flow.meta, flow_run=flow.flow_run)
        return explained, flow.flow_run.status, bytes_of(request.flow_run_id)
    task = runs.get_task_run(v1.GetTaskRunRequest(task_run_id=request.task_run_id, read_at=request.read_at))
    explained = v1.ExplainRunResponse(meta=task.meta, task_run=task.task_run)
    return explained, task.task_run.status, bytes_of(request.task_run_id)


def step_of(journal: Journal, record: Record, previous: Record | None) -> v1.ExplainStep:
    """An event as a step. `previous` is the one that is, or would be, shown before it: between them are refusals."""
    event = event_of(record)
    sentence = sentence_of(record, event)
    refused = record.stream_version - (previous.stream_version if previous is not None else 0) - 1
    step = v1.ExplainStep(
        revision=record.revision,
        recorded_at=timestamp(record.recorded_at),
        actor=record.actor,
        kind=record.kind,
        sentence=f"After {counted(refused, 'refusal')}: {sentence}" if refused else sentence,
    )
    state = status_of(event).state
    if state.revision == record.revision:
        step.state.CopyFrom(state)
    if record.kind == "state_proposed":
        step.decision.CopyFrom(decision_record(record, event))
    cause = _cause(journal, record, event)
    if cause is not None:
        step.cause.CopyFrom(cause)
    return step


def _cause(journal: Journal, record: Record, event: v1.Event) -> v1.Cause | None:
    """What an event followed from, when that is another event on record."""
    proposed = event.state_proposed
    revision = proposed.mirrors or event.slots_granted.freed_by or event.slots_refused.set_by
    if revision:
        return _cause_at(journal, revision)
    facts, lease = proposed.facts, proposed.facts.status.lease
    decided = proposed.command.if_lease_expired and lease.token and not is_live(facts)
    if not decided and not succeeds(proposed):
        return None
    lapsed = moment_text(facts.lease_expires)
    sentence = f"{lease.holder} held the lease granted at revision {lease.token} and let it lapse at {lapsed}."
    return v1.Cause(revision=lease.token, sentence=sentence, **_of(record, event))


def _cause_at(journal: Journal, revision: int) -> v1.Cause:
    record = _recorded(journal, revision)
    event = event_of(record)
    run = _of(record, event)
    name = status_of(event).name or event.state_proposed.facts.status.name
    what = {"flow_run_id": f'Flow run "{name}": ', "task_run_id": f'Task run "{name}": '}
    sentence = what.get(next(iter(run), ""), "") + sentence_of(record, event)
    return v1.Cause(revision=revision, sentence=sentence, **run)


def _recorded(journal: Journal, revision: int) -> Record:
    """The event of a revision that another event names."""
    records = journal.read(revision, revision)
    if not records:
        raise CorruptRecord(f"Revision {revision} is missing.", revision=revision)
    return records[0]


def _of(record: Record, event: v1.Event) -> dict[str, str]:
    """The run that an event is about, as a field of Cause; none for events that are not about runs."""
    what = event.WhichOneof("what")
    if what in ("flow_run_created", "task_run_created"):
        return {what.replace("created", "id"): text_of(record.stream)}
    if what in ("state_proposed", "run_updated"):
        return {getattr(event, what).command.WhichOneof("run"): text_of(record.stream)}
    if what in ("slots_granted", "slots_refused"):
        return {"task_run_id" if getattr(event, what).task_run else "flow_run_id": text_of(record.stream)}
    return {}


def _summary(journal: Journal, explained: v1.ExplainRunResponse, status: v1.RunStatus, run_id: bytes) -> str:
    """What the run is and why; what was refused since."""
    at = explained.meta.revision
    what = str(explained.WhichOneof("run")).replace("_", " ")
    summary = f'As of revision {at} the {what} "{status.name}" is {state_text(status.state)}'
    since = status.state.revision
    if since:
        record = _recorded(journal, since)
        summary += f", since revision {since}: {sentence_of(record, event_of(record))}"
    else:
        summary += "."
    last = journal.read(1, at, stream=run_id, backwards=True, limit=1)[0]
    refused = last.stream_version - status.version
    if refused:
        refusals = "a proposal was refused" if refused == 1 else f"{refused} proposals were refused, the last one so"
        summary += f" Since then {refusals}: {sentence_of(last, event_of(last))}"
    return summary
