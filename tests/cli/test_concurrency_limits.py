"""Concurrency limits from the command line: set, looked at, removed; now and as of any moment."""

from __future__ import annotations

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import PROPOSE_STATE
from playhead.engine.execution.ids import new_id
from tests.cli.conftest import Shell
from tests.replay.history import History


def run_two(shell: Shell) -> tuple[str, str]:
    """Two task runs that need the slot of a tag; the first gets it."""
    client = EmbeddedClient(shell.database)
    ids = []
    for name in ("load-0", "load-1"):
        spec = v1.TaskRunSpec(id=new_id(), task_key="load", tags=["db"], name=name)
        request = v1.ProposeStateRequest(request_id=new_id(), create_task_run=spec, state=v1.State(type=v1.RUNNING))
        ids.append(client.unary(PROPOSE_STATE, request).run_id)
    client.close()
    return ids[0], ids[1]


def test_a_limit_is_set_listed_shown_and_removed(shell: Shell) -> None:
    answer = shell.run("concurrency-limit", "set", "tag:db", "1")
    assert "tag:db" in answer
    assert "ENQUEUE" in answer
    holder, waiter = run_two(shell)
    listed = shell.run("concurrency-limit", "ls")
    assert listed.splitlines()[1].split()[:4] == ["tag:db", "1", "1", "1"]
    shown = shell.document("concurrency-limit", "show", "tag:db")
    assert [user["task_run_id"] for user in shown["holding"]["users"]] == [holder]
    assert [user["task_run_id"] for user in shown["waiting"]["users"]] == [waiter]
    table = shell.run("concurrency-limit", "show", "tag:db")
    assert [line.split()[:7] for line in table.splitlines() if " load-" in line] == [
        ["1", holder, "load-0", "task", "run", "Running", "1"],
        ["1", waiter, "load-1", "task", "run", "none", "yet"],
    ]
    assert "1 waiting run as of revision" in table
    (holding,), (waiting,) = shown["holding"]["users"], shown["waiting"]["users"]
    assert [user[field] for user in (holding, waiting) for field in ("run_name", "state_name", "place")] == [
        *("load-0", "Running", 1),
        *("load-1", "", 1),
    ]
    assert holding["since_time"] <= waiting["since_time"]
    events = shell.run("journal", "tail", "--kind", "concurrency_limit_set")
    assert "tag:db" in events
    assert "no limit" in shell.run("concurrency-limit", "rm", "tag:db")
    assert shell.document("concurrency-limit", "ls").get("limits", []) == []
    granted = shell.run("journal", "tail", "--kind", "slots_granted")
    assert "tag:db" in granted


def test_whose_a_holder_is_is_shown(shell: Shell) -> None:
    shell.run("concurrency-limit", "set", "name:lic", "1")
    history = History(shell.database)
    runs = {name: history.flow_run(name) for name in ("red-fox", "old-owl")}
    for flow_run_id in runs.values():
        spec = v1.TaskRunSpec(flow_run_id=flow_run_id, task_key="lic", dynamic_key="0", name="lic-0", slots={"lic": 1})
        history.propose(v1.State(type=v1.RUNNING), create_task_run=spec)
    history.rename(runs["old-owl"], "new-owl")
    history.close()
    lines = [line.split() for line in shell.run("concurrency-limit", "show", "name:lic").splitlines()]
    assert [line[2:4] for line in lines if "lic-0" in line] == [["lic-0", "red-fox"], ["lic-0", "new-owl"]]
    (holder,) = shell.document("concurrency-limit", "show", "name:lic")["holding"]["users"]
    assert (holder["parent_flow_run_id"], holder["parent_flow_run_name"]) == (runs["red-fox"], "red-fox")


def test_the_past_of_a_limit_can_be_listed(shell: Shell) -> None:
    revision = shell.document("concurrency-limit", "set", "name:db", "3", "--cancel-new")["meta"]["revision"]
    shell.run("concurrency-limit", "set", "name:db", "5")
    (limit,) = shell.document("concurrency-limit", "ls", "--as-of", str(revision))["limits"]
    assert (limit["limit"]["slots"], limit["limit"]["on_full"]) == (3, "CANCEL_NEW")


def test_what_is_no_limit_is_refused_with_what_would_be_one(shell: Shell) -> None:
    assert 'must be "tag:…"' in shell.error("concurrency-limit", "set", "db", "1")
    assert "no concurrency limit" in shell.error("concurrency-limit", "rm", "tag:nobody")
    assert "No concurrency limit" in shell.error("concurrency-limit", "show", "tag:nobody")
    assert "-1" in shell.error("concurrency-limit", "set", "tag:db", "-1", status=2)
