"""What is promised: every figure, its unit and its bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Line:
    """One figure. `at_least` and `at_most` bound it; `at_most_of` also bounds it by a multiple of another figure."""

    key: str
    what: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    at_most_of: tuple[float, str] | None = None

    def bound(self, figures: Figures) -> float | None:
        """The number that the figure is held against; None when it is only told."""
        if self.at_most_of is None:
            return self.at_most if self.at_least is None else self.at_least
        factor, other = self.at_most_of
        return min(self.at_most or float("inf"), factor * figures[other])

    def met(self, figures: Figures) -> bool | None:
        """Whether the figure keeps its bound; None when it has none."""
        bound = self.bound(figures)
        if bound is None:
            return None
        return figures[self.key] >= bound if self.at_least is not None else figures[self.key] <= bound

    def budget(self) -> str:
        """The bound in words."""
        words = [] if self.at_least is None else [f"≥ {_number(self.at_least)}"]
        words += [] if self.at_most is None else [f"≤ {_number(self.at_most)}"]
        words += [] if self.at_most_of is None else [f"≤ {_number(self.at_most_of[0])} × {self.at_most_of[1]}"]
        return ", ".join(words)


LINES = (
    Line("echo_unary_rps", "bare grpc.aio echo of a proposal, 32 in flight", "/s"),
    Line("unary_rps", "ProposeState, 32 in flight", "/s"),
    Line("unary_ratio", "… as a share of the echo's rate", "×", at_least=0.60),
    Line("p50_ratio", "ProposeState, one at a time: median, to the echo's", "×", at_most=2.0),
    Line("stream_pps", "ProposeStates, batches of 100", "proposals/s"),
    Line("stream_ratio", "… to the unary echo's rate", "×", at_least=2.5),
    Line("ten_rules_rps", "ProposeState, 32 in flight, ten more rules of the user's firing", "/s"),
    Line("slot_handover_ms", "a slot is freed until its next holder knows, another process", "ms", at_most=50),
    Line("input_here_ms", "an input is sent until a run that waits has it, same process: median", "ms", at_most=50),
    Line("input_here_max_ms", "… the longest", "ms"),
    Line("input_process_ms", "… sent by another process with the same SQLite file: median", "ms", at_most=50),
    Line("input_process_max_ms", "… the longest", "ms"),
    Line("input_server_ms", "… sent and received through a server: median", "ms", at_most=50),
    Line("input_server_max_ms", "… the longest", "ms"),
    Line("task_serial_ms", "embedded flow, tasks one after another", "ms/task", at_most=1.2),
    Line("task_map_ms", "embedded flow, .map of 1,000 tasks", "ms/task", at_most=0.6),
    Line("task_submit_ms", "… tasks submitted, each with the future of the one before", "ms/task"),
    Line("task_async_ms", "… async tasks, each awaited before the next", "ms/task"),
    Line("task_gather_ms", "… 1,000 async tasks gathered", "ms/task"),
    Line("task_process_ms", "… .map on two worker processes", "ms/task"),
    Line("many_rss_mb", "peak memory of a flow with 10,000 mapped tasks, results of 20 KiB", "MB", at_most=300),
    Line("empty_flow_ms", "empty flow run", "ms", at_most=5),
    Line("subflow_ms", "empty subflow", "ms"),
    Line("import_s", "from playhead import flow, task", "s", at_most=0.30),
    Line("cold_start_s", "python hello.py: a flow, a task, the whole process", "s", at_most=0.9),
    Line("cold_rss_mb", "… its peak memory", "MB", at_most=60),
    Line("rebuild_eps", "rebuild of the views", "events/s", at_least=15_000),
    Line("asof_now_ms", "list 100 runs now", "ms"),
    Line("asof_past_ms", "list 100 runs as of a random past revision", "ms", at_most=50, at_most_of=(2, "asof_now_ms")),
    Line("server_rss_mb", "server memory after it took all events", "MB", at_most=200),
)


def table(figures: Figures) -> Table:
    """The measured figures beside their budget. The ratio is figure to bound: above 1 is good for ≥, bad for ≤."""
    rows = Table("what", "key", "budget", "measured", "ratio", "met")
    for column in rows.columns[2:]:
        column.justify = "right"
    for line in (line for line in LINES if line.key in figures):
        bound, met = line.bound(figures), line.met(figures)
        ratio = "" if bound is None else f"{figures[line.key] / bound:.2f}"
        verdict = {None: "", True: "[green]met[/]", False: "[red]not met[/]"}[met]
        rows.add_row(line.what, line.key, line.budget(), f"{_number(figures[line.key])} {line.unit}", ratio, verdict)
    return rows


def _number(value: float) -> str:
    """Three significant digits, thousands grouped."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
