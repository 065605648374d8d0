"""`playhead.runtime`: facts of the run that the code is in, and what the environment says in their place."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task
from playhead.runtime import deployment, flow_run, task_run
from tests.sdk.conftest import Service

FLOW_RUN = {
    "id",
    "name",
    "flow_name",
    "flow_version",
    "tags",
    "parameters",
    "run_count",
    "scheduled_start_time",
    "parent_flow_run_id",
    "root_flow_run_id",
    "parent_deployment_id",
    "job_variables",
    "api_url",
    "ui_url",
}
TASK_RUN = {"id", "name", "task_name", "tags", "parameters", "run_count", "api_url", "ui_url"}
DEPLOYMENT = {"id", "flow_run_id", "name", "version", "parameters"}


def facts(module: Any) -> dict[str, Any]:
    """All facts of a module."""
    return {name: getattr(module, name) for name in dir(module)}


def test_outside_of_runs_there_are_no_facts() -> None:
    before = datetime.now(UTC)
    of_flow_run = facts(flow_run)
    assert of_flow_run.pop("scheduled_start_time") >= before
    empty: dict[str, Any] = {"tags": [], "parameters": {}, "job_variables": {}, "run_count": 0}
    assert set(of_flow_run) == FLOW_RUN - {"scheduled_start_time"}
    assert of_flow_run == {name: empty.get(name) for name in of_flow_run}
    assert facts(task_run) == {name: empty.get(name) for name in TASK_RUN}
    assert facts(deployment) == {name: empty.get(name) for name in DEPLOYMENT}


def test_facts_of_subflows_name_the_flow_runs_around(service: Service) -> None:
    @task
    def innermost() -> tuple[Any, ...]:
        return flow_run.id, flow_run.parent_flow_run_id, flow_run.root_flow_run_id

    @flow
    def inner() -> Any:
        return innermost()

    @flow
    def middle() -> Any:
        return flow_run.id, inner()

    @flow(version="7")
    def outer() -> Any:
        return facts(flow_run), middle()

    of_outer, (middle_id, (inner_id, parent, root)) = outer()
    assert (of_outer["parent_flow_run_id"], of_outer["root_flow_run_id"]) == (None, of_outer["id"])
    assert (parent, root) == (middle_id, of_outer["id"])
    assert inner_id == service.flow_runs("inner")[-1].spec.id
    assert of_outer["flow_version"] == "7"
    assert of_outer["api_url"] == os.environ.get("PLAYHEAD_API_URL")


def test_a_process_is_told_of_the_run_that_its_environment_names(service: Service) -> None:
    @flow
    def inner(x: int) -> None:
        pass

    @flow
    def outer() -> None:
        inner(3)

    outer()
    inside, around = service.flow_runs("inner")[-1].spec.id, service.flow_runs("outer")[-1].spec.id
    program = (
        "from playhead.runtime import flow_run as r, deployment as d\n"
        "print(r.id, r.flow_name, r.parameters, r.run_count, r.parent_flow_run_id, r.root_flow_run_id, d.flow_run_id)"
    )
    environment = {**os.environ, "PLAYHEAD__FLOW_RUN_ID": inside}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [inside, "inner", "{'x':", "3}", "1", around, around, inside]


def test_a_run_that_another_process_executes_again_knows_its_facts(service: Service, tmp_path: Path) -> None:
    script = tmp_path / "facts_again.py"
    script.write_text(
        "from playhead import flow\n"
        "from playhead.runtime import flow_run as r\n"
        "import os, pathlib\n"
        "@flow\n"
        "def inner():\n"
        "    if not pathlib.Path('told').exists():\n"
        "        pathlib.Path('told').touch(); os._exit(9)\n"
        "    pathlib.Path('told').write_text(f'{r.parent_flow_run_id} {r.root_flow_run_id} {r.scheduled_start_time}')\n"
        "@flow\n"
        "def outer():\n"
        "    inner()\n"
        "if __name__ == '__main__':\n"
        "    outer()\n"
    )
    environment = {**os.environ, "PLAYHEAD_LEASE_TTL_S": "1"}
    assert subprocess.run([sys.executable, script.name], cwd=tmp_path, env=environment).returncode == 9
    inside, around = service.flow_runs("inner")[-1], service.flow_runs("outer")[-1].spec.id
    command = [sys.executable, "-m", "playhead.engine", inside.spec.id]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    expected = inside.status.expected_start_time.ToDatetime(UTC)
    assert (tmp_path / "told").read_text() == f"{around} {around} {expected}"


@pytest.mark.parametrize(
    ("module", "name", "text", "value"),
    [
        ("FLOW_RUN", "name", "marvin", "marvin"),
        ("FLOW_RUN", "id", "not-even-a-uuid", "not-even-a-uuid"),
        ("FLOW_RUN", "run_count", "7", 7),
        ("FLOW_RUN", "scheduled_start_time", "2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("FLOW_RUN", "scheduled_start_time", "2026-01-02T03:00:00+02:00", datetime(2026, 1, 2, 1, tzinfo=UTC)),
        ("FLOW_RUN", "invented", "by a test", "by a test"),
        ("TASK_RUN", "task_name", "cleaning", "cleaning"),
        ("TASK_RUN", "run_count", "2", 2),
        ("DEPLOYMENT", "name", "nightly", "nightly"),
        ("DEPLOYMENT", "version", "3", "3"),
    ],
)
def test_the_environment_stands_in_for_facts(
    module: str, name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PLAYHEAD__RUNTIME__{module}__{name.upper()}", text)
    assert getattr({"FLOW_RUN": flow_run, "TASK_RUN": task_run, "DEPLOYMENT": deployment}[module], name) == value


def test_what_stands_in_has_the_type_of_the_fact_in_a_run(embedded: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD__RUNTIME__TASK_RUN__RUN_COUNT", "many")

    @task
    def counting() -> str:
        with pytest.raises(ValueError, match=r"PLAYHEAD__RUNTIME__TASK_RUN__RUN_COUNT must be a int, not 'many'"):
            _ = task_run.run_count
        with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
            _ = task_run.nosuch
        return task_run.name or ""

    assert counting().startswith("counting-")


@pytest.mark.parametrize(
    ("module", "name"), [("FLOW_RUN", "tags"), ("FLOW_RUN", "parameters"), ("DEPLOYMENT", "parameters")]
)
def test_lists_and_dicts_can_not_be_set(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"PLAYHEAD__RUNTIME__{module}__{name.upper()}"
    monkeypatch.setenv(variable, "[]")
    with pytest.raises(ValueError, match=f"{variable} can not be set"):
        getattr(flow_run if module == "FLOW_RUN" else deployment, name)
