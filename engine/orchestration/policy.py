"""Policies: which rules are asked, in which order.

    rules_of(subject, force)   asked one after another, until one refuses or puts another type of state in place
    bookkeeping_of(subject)    applied whenever the run's state changes

Order matters. Conditions of the caller's own (leases) come first; a cached result comes before anything that waits;
terminal rules come before those that move a run; slots are taken last, by runs that nothing else keeps from running.

Some rules of Prefect's are not needed here. Differs: there is no PreventDuplicateTransitions, since a request that is
sent again is answered from the record by its request id, for task runs too and whatever has happened since. Differs:
there is no EnsureFlowRunStateTimestampIsUnique, since the journal's revision orders states and their times are left as
they are. Differs: there is no InstrumentFlowRunStateTransitions, since every decision is an event, refusals included.
Differs: there is no policy for background tasks, since there are none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from playhead.engine.orchestration.guard import After, Before, Guard, is_own
from playhead.engine.orchestration.rules import bookkeeping as keep
from playhead.engine.orchestration.rules.caching import CacheRetrieval, LimitCacheKeys
from playhead.engine.orchestration.rules.cancelling import (
    BypassCancellingFlowRunsWithNoInfra,
    EnforceCancellingToCancelledTransition,
)
from playhead.engine.orchestration.rules.lease import FenceLateReports, OnlyLapsedLeases, WaitForLiveLease
from playhead.engine.orchestration.rules.pausing import (
    HandlePausingFlows,
    HandleResumingPausedFlows,
    ValidateRunInput,
)
from playhead.engine.orchestration.rules.pending import PreventPendingTransitions
from playhead.engine.orchestration.rules.retrying import (
    RenameReruns,
    RetryCrashedFlows,
    RetryCrashedTasks,
    RetryFailedFlows,
    RetryFailedTasks,
)
from playhead.engine.orchestration.rules.rule import Rule, StateType, Subject
from playhead.engine.orchestration.rules.scheduling import (
    CopyScheduledTime,
    EnsureOnlyScheduledFlowsMarkedLate,
    WaitForScheduledTime,
)
from playhead.engine.orchestration.rules.slots import (
    EnforceDeploymentConcurrencyOnLate,
    KeepFlowSlots,
    KeepTaskSlots,
    SecureFlowConcurrencySlots,
    SecureTaskConcurrencySlots,
)
from playhead.engine.orchestration.rules.stopping import PreventRunningTasksFromStoppedFlows
from playhead.engine.orchestration.rules.subflows import UpdateSubflowParentTask
from playhead.engine.orchestration.rules.terminal import (
    HandleFlowTerminalStateTransitions,
    HandleTaskTerminalStateTransitions,
    PreventResultDataLoss,
)

ID_DIGITS = 32

Asked: TypeAlias = tuple[Rule, Before, After]
"""A rule and how to call it: by itself when it is Playhead's own, else under guard."""

__all__ = ["After", "Asked", "Before", "Policy", "Subject", "core_policy", "describe_rule"]


@dataclass(frozen=True)
class Policy:
    """Ordered rules. Make another with `dataclasses.replace(core_policy(), core_task=(*core_policy().core_task,
    MyRule()))`.

    The minimal lists are what remains under force. The bookkeeping lists should keep the rules of `core_policy()`:
    views and later decisions count on them. `guard` calls the rules that are not Playhead's own.
    """

    core_flow: tuple[Rule, ...]
    core_task: tuple[Rule, ...]
    minimal_flow: tuple[Rule, ...]
    minimal_task: tuple[Rule, ...]
    flow_bookkeeping: tuple[Rule, ...]
    task_bookkeeping: tuple[Rule, ...]
    guard: Guard = field(default_factory=Guard, repr=False, compare=False)
    _asked: dict[tuple[int, bool, int, int], tuple[Asked, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _kept: dict[tuple[int, int, int], tuple[tuple[Rule, After], ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def id(self) -> str:
        """A digest of all rules' names, versions, parameters and order: equal for equal policies, on any machine."""
        return hashlib.sha256(self.describe().encode()).hexdigest()[:ID_DIGITS]

    def describe(self) -> str:
        """The policy as text, a list and its rules a line: what `id` is the digest of."""
        return "\n".join(f"{name}: {' '.join(map(describe_rule, rules))}" for name, rules in self.lists().items())

    def lists(self) -> dict[str, tuple[Rule, ...]]:
        """The lists of rules by their names."""
        return {
            "core_flow": self.core_flow,
            "core_task": self.core_task,
            "minimal_flow": self.minimal_flow,
            "minimal_task": self.minimal_task,
            "flow_bookkeeping": self.flow_bookkeeping,
            "task_bookkeeping": self.task_bookkeeping,
        }

    def rules_for(self, subject: Subject, force: bool, from_type: StateType, to_type: StateType) -> tuple[Asked, ...]:
        """The rules to ask about a transition, in order, each with its `before` and its `after`."""
        key = (subject, force, from_type, to_type)
        asked = self._asked.get(key)
        if asked is None:
            rules = applicable(self.rules_of(subject, force), from_type, to_type)
            asked = self._asked[key] = tuple((rule, self._before(rule), self._after(rule)) for rule in rules)
        return asked

    def bookkeeping_for(
        self, subject: Subject, from_type: StateType, to_type: StateType
    ) -> tuple[tuple[Rule, After], ...]:
        """The bookkeeping of a change of state, in order, each rule with its `after`."""
        key = (subject, from_type, to_type)
        kept = self._kept.get(key)
        if kept is None:
            rules = applicable(self.bookkeeping_of(subject), from_type, to_type)
            kept = self._kept[key] = tuple((rule, self._after(rule)) for rule in rules)
        return kept

    def _before(self, rule: Rule) -> Before:
        return rule.before if is_own(rule) else self.guard.before(rule)

    def _after(self, rule: Rule) -> After:
        return rule.after if is_own(rule) else self.guard.after(rule)

    def rules_of(self, subject: Subject, force: bool) -> tuple[Rule, ...]:
        """All rules that can be asked about such a run."""
        if subject is Subject.FLOW_RUN:
            return self.minimal_flow if force else self.core_flow
        return self.minimal_task if force else self.core_task

    def bookkeeping_of(self, subject: Subject) -> tuple[Rule, ...]:
        """All bookkeeping of such a run."""
        return self.flow_bookkeeping if subject is Subject.FLOW_RUN else self.task_bookkeeping


def core_policy() -> Policy:
    """The policy that applies when no other is chosen."""
    return Policy(
        core_flow=(
            FenceLateReports(),
            OnlyLapsedLeases(),
            HandleFlowTerminalStateTransitions(),
            EnforceCancellingToCancelledTransition(),
            BypassCancellingFlowRunsWithNoInfra(),
            PreventPendingTransitions(),
            EnsureOnlyScheduledFlowsMarkedLate(),
            EnforceDeploymentConcurrencyOnLate(),
            HandlePausingFlows(),
            HandleResumingPausedFlows(),
            ValidateRunInput(),
            WaitForLiveLease(),
            CopyScheduledTime(),
            WaitForScheduledTime(),
            SecureFlowConcurrencySlots(),
            RetryFailedFlows(),
            RetryCrashedFlows(),
        ),
        core_task=(
            FenceLateReports(),
            OnlyLapsedLeases(),
            LimitCacheKeys(),
            CacheRetrieval(),
            HandleTaskTerminalStateTransitions(),
            PreventRunningTasksFromStoppedFlows(),
            WaitForLiveLease(),
            CopyScheduledTime(),
            WaitForScheduledTime(),
            SecureTaskConcurrencySlots(),
            RetryFailedTasks(),
            RetryCrashedTasks(),
            RenameReruns(),
        ),
        minimal_flow=(
            FenceLateReports(),
            OnlyLapsedLeases(),
            PreventResultDataLoss(),
            BypassCancellingFlowRunsWithNoInfra(),
        ),
        minimal_task=(FenceLateReports(), OnlyLapsedLeases(), LimitCacheKeys(), UpdateSubflowParentTask()),
        flow_bookkeeping=(
            *common_bookkeeping(),
            keep.CountFlowRuns(),
            keep.StartResuming(),
            keep.EndResuming(),
            keep.ForgetPauseKeys(),
            keep.KeepPauseKeys(),
            KeepFlowSlots(),
        ),
        task_bookkeeping=(*common_bookkeeping(), keep.CountTaskRuns(), KeepTaskSlots()),
    )


def common_bookkeeping() -> tuple[Rule, ...]:
    """What is kept about flow runs and task runs alike."""
    return (
        keep.StampState(),
        keep.SetStartTime(),
        keep.SetEndTime(),
        keep.ClearEndTime(),
        keep.AddRunTime(),
        keep.SetExpectedStartTime(),
        keep.SetNextScheduledStartTime(),
        keep.ClearNextScheduledStartTime(),
        keep.GrantLease(),
        keep.EndLease(),
    )


def applicable(rules: tuple[Rule, ...], from_type: StateType, to_type: StateType) -> list[Rule]:
    """The rules that speak about a transition."""
    return [rule for rule in rules if from_type in rule.from_states and to_type in rule.to_states]


def describe_rule(rule: Rule) -> str:
    """A rule as text: "LimitCacheKeys/1(key_bytes_max=2000)"."""
    parameters = ", ".join(f"{name}={value!r}" for name, value in sorted(vars(rule).items()))
    return f"{rule.name}/{rule.version}({parameters})"
