"""The tree: what is shown of flow runs, in as many lines as there is room for.

etl 'red-orca', running, 12 s
├── extract: 1 done
├── clean: 3,412 of 10,000 done, 64 running, 312/s
└── load 'blue-fox', running, 3 s
    └── insert: 5 done, 1 running
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.text import Text
from rich.tree import Tree

from playhead.engine.execution.live.tally import UNFINISHED, FlowTally, Row, Stage
from playhead.state import StateType

RATE_FROM = 10
"""Calls of a task for which a rate is shown."""

_STYLES = {
    Stage.DONE: "green",
    Stage.CACHED: "green",
    Stage.RUNNING: "cyan",
    Stage.RETRYING: "yellow",
    Stage.WAITING: "dim",
    Stage.PAUSED: "yellow",
}
_BAD = "bold red"
_STATE_STYLES = {StateType.RUNNING: "cyan", StateType.COMPLETED: "green", StateType.FAILED: _BAD}
_STATE_STYLES |= {StateType.CRASHED: _BAD, StateType.CANCELLED: "yellow", StateType.PAUSED: "yellow"}


@dataclass
class Branch:
    """A line and those below it. `settled`: nothing more will happen there."""

    label: Text
    settled: bool
    below: list[Branch] = field(default_factory=list)

    def size(self) -> int:
        """Its lines."""
        return 1 + sum(branch.size() for branch in self.below)


def trees(roots: Iterable[FlowTally], lines_max: int) -> list[Tree]:
    """The trees of flow runs, in at most so many lines: what is settled gives way first."""
    branches = [branch_of(root) for root in roots]
    if len(branches) == 1:
        return [_tree_of(fitted(branches[0], lines_max))]
    return [_tree_of(branch) for branch in fitted(Branch(Text(), False, branches), lines_max + 1).below]


def branch_of(tally: FlowTally) -> Branch:
    """A flow run with its tasks and subflows."""
    rows, subflows = tally.snapshot()
    now = tally.clock()
    below = [_branch_of_row(row, now) for row in rows]
    below += [branch_of(subflow) for subflow in subflows]
    return Branch(_flow_label(tally, now), tally.ended is not None, below)


def _branch_of_row(row: Row, now: float) -> Branch:
    label = Text(f"{row.name} ({row.kind}): " if row.kind else f"{row.name}: ")
    parts = []
    goes_on = row.ended < row.total
    for stage, count in row.counts.items():
        if count or (stage is Stage.DONE and goes_on and row.total >= RATE_FROM):
            of = f" of {row.total:,}" if stage is Stage.DONE and goes_on else ""
            parts.append(Text(f"{count:,}{of} {stage.value}", style=_STYLES.get(stage, _BAD)))
    rate = row.rate(now) if row.total >= RATE_FROM else 0.0
    if rate >= 0.1 and goes_on:
        parts.append(Text(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s", style="dim"))
    label.append_text(Text(", ").join(parts))
    return Branch(label, not any(row.counts[stage] for stage in UNFINISHED))


def _flow_label(tally: FlowTally, now: float) -> Text:
    state = tally.run.state
    label = Text(f"{tally.flow_name} ", style="bold")
    label.append(f"{tally.run.name!r}", style="not bold")
    label.append(f", {state.name.lower()}", style=f"not bold {_STATE_STYLES.get(state.type, 'dim')}")
    label.append(f", {duration((tally.ended or now) - tally.began)}", style="not bold dim")
    return label


def duration(seconds: float) -> str:
    """A length of time as people say it: "0.4 s", "12 s", "3 min 5 s", "2 h 4 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3_600} h {whole // 60 % 60} min"


def fitted(branch: Branch, lines_max: int) -> Branch:
    """The branch in at most so many lines."""
    if branch.size() <= lines_max:
        return branch
    if lines_max <= 1:
        return Branch(branch.label, True)
    below = [Branch(each.label, True) if each.settled else each for each in branch.below]
    over = 1 + sum(each.size() for each in below) - lines_max
    settled = [each for each in below if each.settled]
    hidden = settled[: over + 1] if over > 0 else []
    kept = [_more(len(hidden), "ended")] if hidden else []
    left = lines_max - 1 - len(kept)
    shown = [each for each in below if not any(each is other for other in hidden)]
    for number, each in enumerate(shown):
        following = len(shown) - number - 1
        if left < (2 if following else 1):
            if left:
                kept.append(_more(following + 1, "not shown"))
            break
        kept.append(fitted(each, left - (1 if following else 0)))
        left -= kept[-1].size()
    return Branch(branch.label, branch.settled, kept)


def _more(count: int, what: str) -> Branch:
    return Branch(Text(f"… {count:,} more, {what}", style="dim"), True)


def _tree_of(branch: Branch) -> Tree:
    branch.label.no_wrap, branch.label.overflow = True, "ellipsis"
    tree = Tree(branch.label, guide_style="dim")
    for each in branch.below:
        tree.children.append(_tree_of(each))
    return tree
