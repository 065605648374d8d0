"""The cases of `transition_cases` asked through the public API: runs made by proposals, answers made comparable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from playhead import v1
from playhead.call_ids import call_id
from playhead.engine.orchestration.commands import BATCH_ITEMS_MAX
from playhead.engine.orchestration.policy import Subject
from playhead.journal.encoding import bytes_of, text_of
from tests.orchestration.circumstances import CACHED_KEY, LIMITS, TOKEN, Run
from tests.orchestration.commanding import new_id
from tests.orchestration.given import FLOW, STORED, state
from tests.orchestration.transition_cases import Answer, Case

SendBatch = Callable[[v1.ProposeStatesRequest], v1.ProposeStatesResponse]
SetLimit = Callable[[v1.SetConcurrencyLimitRequest], object]


@dataclass
class MadeRun:
    """A run, which the first thing proposed for it creates, and the token of its lease."""

    subject: Subject
    spec: v1.FlowRunSpec | v1.TaskRunSpec
    exists: bool = False
    lease_token: int = 0

    @property
    def id(self) -> str:
        """The run's id."""
        if isinstance(self.spec, v1.TaskRunSpec) and self.spec.flow_run_id:
            flow_run_id = bytes_of(self.spec.flow_run_id)
            return text_of(call_id(flow_run_id, self.spec.task_key, self.spec.dynamic_key))
        return self.spec.id

    def proposal(self, what: v1.ProposeStateRequest, validate_only: bool = False) -> v1.ProposeStateRequest:
        """A proposal for the run."""
        request = v1.ProposeStateRequest()
        request.CopyFrom(what)
        request.validate_only = validate_only
        kind = "flow_run" if self.subject is FLOW else "task_run"
        if self.exists:
            setattr(request, f"{kind}_id", self.id)
        else:
            getattr(request, f"create_{kind}").CopyFrom(self.spec)
            self.exists = not validate_only
        return request


class World:
    """A journal's runs, made and asked in batches. What is asked of it happens `shift_s` after what the cases say."""

    def __init__(self, send_batch: SendBatch, set_limit: SetLimit, flow_id: str, shift_s: int = 0) -> None:
        self._send_batch = send_batch
        self._flow_id = flow_id
        self._shift_s = shift_s
        cached = v1.TaskRunSpec(id=new_id(), task_key="cached")
        completed = state(v1.COMPLETED, result=STORED, cache_key=CACHED_KEY)
        holder = v1.TaskRunSpec(id=new_id(), task_key="holder")
        for name, limit in LIMITS.items():
            set_limit(
                v1.SetConcurrencyLimitRequest(
                    request_id=new_id(), limit=limit.limit, slots=limit.slots, on_full=limit.on_full
                )
            )
            if limit.slots == 1:
                holder.slots[name] = 1
        completed_request = v1.ProposeStateRequest(create_task_run=cached, state=completed)
        holding_request = v1.ProposeStateRequest(create_task_run=holder, state=state(v1.RUNNING))
        answer, _ = self.send([completed_request, holding_request])
        self._parent_id = answer.run_id

    def send(self, requests: Sequence[v1.ProposeStateRequest]) -> list[v1.ProposeStateResponse]:
        """Propose all of this, in order."""
        answers: list[v1.ProposeStateResponse] = []
        for start in range(0, len(requests), BATCH_ITEMS_MAX):
            batch = v1.ProposeStatesRequest()
            for request in requests[start : start + BATCH_ITEMS_MAX]:
                item = batch.items.add(request=request)
                item.request.request_id = new_id()
                self._shift(item.request.state.details)
            for answer in self._send_batch(batch).answers:
                assert answer.HasField("response"), answer.error
                answers.append(answer.response)
        return answers

    def make(self, runs: Sequence[Run]) -> list[MadeRun]:
        """Runs that have been through their steps."""
        made: list[MadeRun] = []
        requests: list[v1.ProposeStateRequest] = []
        proposers: list[MadeRun] = []
        for run in runs:
            flow_run = MadeRun(FLOW, v1.FlowRunSpec(id=new_id(), flow_id=self._flow_id))
            one = MadeRun(run.subject, self._spec(run, flow_run))
            for step in run.steps:
                proposer = flow_run if step.of_flow_run else one
                requests.append(proposer.proposal(step.request))
                proposers.append(proposer)
            made.append(one)
        for proposer, answer in zip(proposers, self.send(requests), strict=True):
            assert answer.state.revision == answer.meta.revision, f"{answer.rule}: {answer.reason}"
            proposer.lease_token = answer.lease_token or proposer.lease_token
        return made

    def ask(self, asked: Sequence[tuple[Case, MadeRun]], validate_only: bool = False) -> list[v1.ProposeStateResponse]:
        """Propose what the cases propose, each for its run."""
        requests = []
        for case, run in asked:
            request = run.proposal(case.proposal(), validate_only)
            if request.lease_token == TOKEN:
                request.lease_token = run.lease_token
            requests.append(request)
        return self.send(requests)

    def _spec(self, run: Run, flow_run: MadeRun) -> v1.FlowRunSpec | v1.TaskRunSpec:
        spec: v1.FlowRunSpec | v1.TaskRunSpec
        if run.subject is FLOW:
            spec = v1.FlowRunSpec(id=new_id(), flow_id=self._flow_id)
            spec.deployment_id = new_id() if run.deployment else ""
            spec.parent_task_run_id = self._parent_id if run.subflow else ""
        elif run.in_flow_run:
            spec = v1.TaskRunSpec(flow_run_id=flow_run.spec.id, task_key="task", dynamic_key="0")
        else:
            spec = v1.TaskRunSpec(id=new_id(), task_key="task")
        spec.retry.retries, spec.retry.on_crash = run.retries, run.on_crash
        if run.limit:
            spec.slots[run.limit] = 1
        return spec

    def _shift(self, details: v1.StateDetails) -> None:
        for name in ("scheduled_time", "pause_timeout"):
            if details.HasField(name):
                getattr(details, name).seconds += self._shift_s


def differing(
    expected: dict[Case, Answer], answers: Sequence[v1.ProposeStateResponse], delays: bool = True
) -> list[tuple[Case, Answer, Answer]]:
    """The cases that were answered otherwise: what was expected, and what came. `delays`: seconds to wait count too."""
    found = []
    for (case, answer), response in zip(expected.items(), answers, strict=True):
        given = Answer(
            response.decision,
            response.rule,
            tuple((outcome.rule, outcome.effect) for outcome in response.rules),
            response.delay.seconds if delays else answer.delay_s,
            response.state.type,
            response.state.name,
            response.run_count,
        )
        if given != answer:
            found.append((case, answer, given))
    return found
