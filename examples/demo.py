"""`make demo`: the weather pipeline against a real server; what is left of it in the journal; every figure checked.

Three runs: a plain one; one that finds the yearly summaries in the cache; one whose worker is killed half way and which
goes on where it stopped. Then the past is read: the history of the third run, a refused proposal with the rule that
refused it, the list of runs as it was at the moment of the kill. Everything is in `demo-output/` afterwards.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uuid_utils
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from playhead import v1
from playhead.client.interface import (
    COUNT_TASK_RUNS,
    GET_HEAD,
    LIST_DECISIONS,
    LIST_FLOW_RUNS,
    LIST_TASK_RUNS,
    PROPOSE_STATE,
    Client,
)
from playhead.client.remote import RemoteClient

HERE = Path(__file__).parent
OUTPUT = HERE.parent / "demo-output"
MONTHS, YEARS = 48, 4
TASKS = 1 + 2 * MONTHS + YEARS + 1  # ingest, clean and summarise each month, summarise each year, write the result
KILLED_AFTER_MONTHS = 20
SOURCE_LATENCY_S = 0.2  # in the third run, so that there is a half way, long enough for the kill to fall into it
LEASE_TTL_S = 2  # how soon a killed worker's run may be taken over; the default is 60
START_S_MAX = 30.0
POLL_S = 0.02

console = Console(width=None if sys.stdout.isatty() else 120)
failures: list[str] = []


def main() -> int:
    """Tell the story. Exit status 1 when a figure is wrong."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    heading("A server on a new journal")
    with server() as address:
        console.print(f"playhead server start --port 0 → {address}")
        os.environ["PLAYHEAD_API_URL"] = f"grpc://{address}"
        client = RemoteClient(os.environ["PLAYHEAD_API_URL"])
        first = plain_run(client)
        cached_run(client)
        third, killed_at = killed_run(client)
        show_history(client, third)
        show_refusal(client, first)
        show_lists(client, killed_at)
        client.close()
    verify()
    for failure in failures:
        console.print(f"[red]wrong: {failure}")
    console.print("[red]Some figures are wrong." if failures else "[green]All figures are right.")
    console.print("Look around: .venv/bin/playhead flow-run ls --database demo-output/journal.db")
    return int(bool(failures))


def plain_run(client: Client) -> str:
    """Everything is computed; the month whose source fails once is tried again."""
    heading("First run: 102 tasks, one of which fails at first and is tried again")
    run_id = run_to_end(client, "run-1")
    check("state of the run", flow_run(client, run_id).status.state.name, "Completed")
    check("tasks completed", count_tasks(client, run_id, v1.COMPLETED), TASKS)
    check("attempts at the unreliable month", task_runs(client, run_id, "clean 2013-07")[0].status.run_count, 2)
    check("executions of the monthly code", sum(executions("run-1").values()), MONTHS + 1)
    check_figures("run-1")
    return run_id


def cached_run(client: Client) -> None:
    """The same inputs: the yearly summaries are in the cache."""
    heading("Second run: the yearly summaries come from the cache")
    run_id = run_to_end(client, "run-2")
    states = Counter(task.status.state.name for task in task_runs(client, run_id))
    check("tasks answered from the cache", states["Cached"], YEARS)
    check("tasks that ran", states["Completed"], TASKS - YEARS)
    check("result file", result("run-2") == result("run-1"), True)


def killed_run(client: Client) -> tuple[str, int]:
    """The worker is killed half way; another one goes on. Answers the run's id and the revision of the kill."""
    heading(f"Third run: the worker is killed after {KILLED_AFTER_MONTHS} months, another goes on")
    worker, run_id = start_worker(client, "run-3", "--source-latency-s", str(SOURCE_LATENCY_S))
    with bar("until the kill", KILLED_AFTER_MONTHS) as advance_to:
        while (done := count_tasks(client, run_id, v1.COMPLETED, "clean ")) < KILLED_AFTER_MONTHS:
            expect_alive(worker)
            advance_to(done)
            time.sleep(POLL_S)
        advance_to(done)
    worker.kill()
    worker.wait()
    killed_at = client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision
    begun = [task.status for task in task_runs(client, run_id, "clean ", killed_at) if task.status.run_count]
    finished = {status.name.split()[1] for status in begun if status.state.type == v1.COMPLETED}
    cut_short = {status.name.split()[1] for status in begun} - finished
    console.print(
        f"SIGKILL at revision {killed_at}: {len(finished)} of {MONTHS} months were done, {len(cut_short)} under way"
    )
    console.print(f"python -m playhead.engine {run_id}")
    finish(client, worker_process("resumed", "-m", "playhead.engine", run_id), run_id, "resumed")
    executed = executions("run-3")
    again = {month for month, times in executed.items() if times > attempts_needed(month)}
    check("state of the run", flow_run(client, run_id).status.state.name, "Completed")
    check("months that ran", len(executed), MONTHS)
    check("finished months that ran again", sorted(again & finished), [])
    check("the others that ran again were under way at the kill", again - finished <= cut_short, True)
    check("result file", result("run-3") == result("run-1"), True)
    return run_id, killed_at


def show_history(client: Client, run_id: str) -> None:
    """Every proposal that was made for a run and what came of it, oldest first."""
    heading("The history of the third run")
    table = Table("revision", "time", "proposed", "decision", "state then", "rule", "by")
    for record in decisions(client, run_id):
        time_of_day = f"{record.recorded_at.ToDatetime():%H:%M:%S.%f}"[:-3]
        decision = v1.Decision.Name(record.decision)
        table.add_row(
            str(record.revision),
            time_of_day,
            state_name(record.proposed),
            decision,
            record.after.name,
            record.rule,
            record.actor,
        )
    console.print(table)
    accepted = [record for record in decisions(client, run_id) if record.decision == v1.ACCEPT]
    check("another process finished what the first began", accepted[0].actor != accepted[-1].actor, True)
    check("last accepted proposal", accepted[-1].after.name, "Completed")


def show_refusal(client: Client, run_id: str) -> None:
    """A proposal that the rules refuse; its decision record; the same request again."""
    heading("A proposal that is refused: RUNNING for the first run, which is completed")
    running = v1.State(type=v1.RUNNING)
    request = v1.ProposeStateRequest(request_id=str(uuid_utils.uuid7()), flow_run_id=run_id, state=running)
    answer = client.unary(PROPOSE_STATE, request)
    record = next(each for each in decisions(client, run_id) if each.request_id == request.request_id)
    table = Table(show_header=False)
    table.add_row("revision", str(record.revision))
    table.add_row("proposed", state_name(record.proposed))
    table.add_row("by", record.actor)
    table.add_row("decision", v1.Decision.Name(record.decision))
    table.add_row("rule", record.rule)
    table.add_row("reason", record.reason)
    console.print(table)
    check("refused", record.decision in (v1.REJECT, v1.ABORT), True)
    check("rule on record", record.rule, answer.rule)
    check("state of the run", flow_run(client, run_id).status.state.name, "Completed")
    check("same request again, same answer", client.unary(PROPOSE_STATE, request), answer)


def show_lists(client: Client, revision: int) -> None:
    """The list of runs now and as it was, side by side."""
    now = client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest())
    then = client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest(read_at=v1.ReadAt(revision=revision)))
    heading(f"The list of runs, now (revision {now.meta.revision}) and as of the kill (revision {revision})")
    before = {run.spec.id: run for run in then.flow_runs}
    table = Table("run", "flow", "state now", f"state at {revision}")
    for run in now.flow_runs:
        table.add_row(run.status.name, run.flow_name, run.status.state.name, before[run.spec.id].status.state.name)
    console.print(table)
    check("states now", [run.status.state.type for run in now.flow_runs], [v1.COMPLETED] * 3)
    check("states then", [run.status.state.type for run in then.flow_runs], [v1.RUNNING, v1.COMPLETED, v1.COMPLETED])


def verify() -> None:
    """Compare the views with the journal; then compute every leaf and the root of the journal again."""
    for command in (["views", "rebuild", "--check"], ["journal", "verify"]):
        heading(" ".join(["playhead", *command]))
        verified = subprocess.run([playhead(), *command, "--database", str(OUTPUT / "journal.db")])
        check("exit status", verified.returncode, 0)


# Running things


@contextmanager
def server() -> Iterator[str]:
    """A server process on a free loopback port; its address. Ended politely, as systemd would."""
    log = OUTPUT / "server.log"
    command = [playhead(), "server", "start", "--port", "0", "--database", str(OUTPUT / "journal.db")]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield address_in(log, process)
        finally:
            process.terminate()
            check("exit status of the server", process.wait(), 0)


def address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait until the server says where it listens."""
    deadline = time.monotonic() + START_S_MAX
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(POLL_S)
    sys.exit(f"The server did not start:\n{log.read_text()}")


def run_to_end(client: Client, name: str) -> str:
    """Run the pipeline in a worker process of its own; answer the run's id."""
    worker, run_id = start_worker(client, name)
    finish(client, worker, run_id, name)
    return run_id


def start_worker(client: Client, name: str, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start the pipeline and wait for its run to appear."""
    known = {run.spec.id for run in client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest()).flow_runs}
    worker = worker_process(name, str(HERE / "weather.py"), "--output", str(OUTPUT / name), *options)
    while True:
        runs = client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest()).flow_runs
        if new := [run.spec.id for run in runs if run.spec.id not in known]:
            return worker, new[0]
        expect_alive(worker)
        time.sleep(POLL_S)


def worker_process(name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A Python process that knows the server; what it says goes into a log file."""
    environment = {**os.environ, "PLAYHEAD_HOME": str(OUTPUT / "home"), "PLAYHEAD_LEASE_TTL_S": str(LEASE_TTL_S)}
    with (OUTPUT / f"{name}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log, env=environment)


def finish(client: Client, worker: subprocess.Popen[bytes], run_id: str, name: str) -> None:
    """Show the tasks as they complete until the worker ends."""
    with bar(name, TASKS) as advance_to:
        while worker.poll() is None:
            advance_to(count_tasks(client, run_id, v1.COMPLETED))
            time.sleep(POLL_S)
        advance_to(count_tasks(client, run_id, v1.COMPLETED))
    if worker.returncode:
        console.print((OUTPUT / f"{name}.log").read_text())
    check("exit status of the worker", worker.returncode, 0)


def expect_alive(worker: subprocess.Popen[bytes]) -> None:
    """End the demo when a worker ended too soon."""
    if worker.poll() is not None:
        logs = "\n".join(log.read_text() for log in OUTPUT.glob("*.log"))
        sys.exit(f"The worker ended with status {worker.returncode}:\n{logs}")


@contextmanager
def bar(what: str, total: int) -> Iterator[Any]:
    """A progress bar; yields a function that sets how much is done."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=min(done, total))


# Asking the server


def flow_run(client: Client, run_id: str) -> v1.FlowRun:
    """One flow run as it is now."""
    return client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest(filter=v1.FlowRunFilter(ids=[run_id]))).flow_runs[0]


def decisions(client: Client, run_id: str) -> list[v1.DecisionRecord]:
    """Every proposal made for a flow run."""
    return list(client.unary(LIST_DECISIONS, v1.ListDecisionsRequest(flow_run_id=run_id)).decisions)


def state_name(state: v1.State) -> str:
    """A state for people."""
    return state.name or v1.StateType.Name(state.type).capitalize()


def task_runs(client: Client, run_id: str, name_like: str = "", revision: int = 0) -> list[v1.TaskRun]:
    """The task runs of a flow run, now or as of a revision."""
    read_at = v1.ReadAt(revision=revision) if revision else None
    request = v1.ListTaskRunsRequest(filter=task_filter(run_id, name_like), page_size=1000, read_at=read_at)
    return list(client.unary(LIST_TASK_RUNS, request).task_runs)


def count_tasks(client: Client, run_id: str, type_: v1.StateType.ValueType, name_like: str = "") -> int:
    """How many task runs of a flow run are in a state of this type."""
    return client.unary(COUNT_TASK_RUNS, v1.CountTaskRunsRequest(filter=task_filter(run_id, name_like, type_))).total


def task_filter(run_id: str, name_like: str, *types: v1.StateType.ValueType) -> v1.TaskRunFilter:
    """Task runs of one flow run whose name has this in it."""
    return v1.TaskRunFilter(flow_run_ids=[run_id], name_like=name_like, state=v1.StateFilter(types=types))


# Checking


def check(what: str, actual: object, expected: object) -> None:
    """Say what is right, remember what is wrong."""
    if actual == expected:
        shown = f": {actual}" if isinstance(actual, (int, str)) and actual is not True else ""
        console.print(f"  [green]✓[/] {what}{shown}")
    else:
        console.print(f"  [red]✗ {what}: {actual!r}, expected {expected!r}")
        failures.append(what)


def check_figures(name: str) -> None:
    """Compare the result with figures computed from the file by other means."""
    with (HERE / "seattle_weather.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    years = {year["period"]: year for year in json.loads(result(name))["years"]}
    check("days", sum(year["days"] for year in years.values()), len(rows))
    for year, summary in sorted(years.items()):
        of_year = [row for row in rows if row["date"].startswith(year)]
        mean = sum(float(row["temp_max"]) + float(row["temp_min"]) for row in of_year) / 2 / len(of_year)
        rain = sum(float(row["precipitation"]) for row in of_year)
        check(f"{year}, mean temperature in °C", f"{summary['mean_temp']:.6f}", f"{mean:.6f}")
        check(f"{year}, precipitation in mm", f"{summary['precipitation']:.3f}", f"{rain:.3f}")
        check(f"{year}, kinds of weather", summary["weather"], dict(Counter(row["weather"] for row in of_year)))


def result(name: str) -> str:
    """The result file of a run."""
    return (OUTPUT / name / "weather.json").read_text()


def executions(name: str) -> Counter[str]:
    """How often each month's code ran."""
    return Counter((OUTPUT / name / "executed.txt").read_text().split())


def attempts_needed(month: str) -> int:
    """How often a month's code runs in a run that nobody kills."""
    return 2 if month == "2013-07" else 1


def playhead() -> str:
    """The command of this environment."""
    return str(Path(sys.executable).with_name("playhead"))


def heading(text: str) -> None:
    """A line across the terminal."""
    console.rule(f"[bold]{text}", align="left")


if __name__ == "__main__":
    sys.exit(main())
