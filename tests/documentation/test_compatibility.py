"""docs/compatibility.md: what it lists is there, and every name that flows come with is listed."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "compatibility.md"
SECTION = re.compile(r"^## [^`\n]*`(playhead[\w.]*)`\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (?!name \|)(.+?) \| (.+) \|$", re.MULTILINE)
NAME = re.compile(r"`(playhead[\w.]*|[A-Za-z]\w*(?:\.\w+)*)(?:\(.*?\))?`")

NAMES = {
    "playhead": (
        "Flow State Task Transaction allow_failure flow get_client get_run_logger pause_flow_run resume_flow_run "
        "suspend_flow_run tags task unmapped"
    ),
    "playhead.cache_policies": (
        "CachePolicy CacheKeyFnPolicy DEFAULT FLOW_PARAMETERS INPUTS NO_CACHE RUN_ID TASK_SOURCE"
    ),
    "playhead.context": (
        "ContextModel FlowRunContext SettingsContext TagsContext TaskRunContext get_run_context hydrated_context "
        "serialize_context tags use_profile"
    ),
    "playhead.engine": (
        "begin_flow_run begin_task_map begin_task_run capture_sigterm check_api_reachable collect_task_run_inputs "
        "create_and_begin_subflow_run create_task_run create_task_run_future create_task_run_then_submit "
        "create_then_begin_flow_run enter_flow_run_engine_from_flow_call enter_flow_run_engine_from_subprocess "
        "enter_task_run_engine get_state_for_result get_task_call_return_value link_state_to_result "
        "orchestrate_flow_run orchestrate_task_run pause_flow_run propose_state report_flow_run_crashes "
        "report_task_run_crashes resolve_inputs resume_flow_run retrieve_flow_then_begin_flow_run should_log_prints "
        "submit_task_run suspend_flow_run wait_for_task_runs_and_report_crashes"
    ),
    "playhead.flows": (
        "Flow description flow flow_run_name log_prints name on_cancellation on_completion on_crashed on_failure "
        "on_running persist_result result_serializer result_storage retries retry_delay_seconds task_runner "
        "timeout_seconds validate_parameters version"
    ),
    "playhead.futures": "PrefectFuture PrefectFutureList as_completed wait",
    "playhead.input": (
        "GetInputHandler Keyset RunInput RunInputMetadata create_flow_run_input delete_flow_run_input "
        "read_flow_run_input receive_input send_input"
    ),
    "playhead.logging": "LogEavesdropper disable_run_logger get_logger get_run_logger",
    "playhead.results": "ResultStore",
    "playhead.runtime": "deployment flow_run task_run",
    "playhead.serializers": "CompressedSerializer JSONSerializer PickleSerializer",
    "playhead.states": (
        "AwaitingConcurrencySlot AwaitingRetry Cancelled Cancelling Completed Crashed Failed Late Paused Pending "
        "Retrying Running Scheduled State Suspended exception_to_crashed_state exception_to_failed_state "
        "get_state_exception is_state return_value_to_state"
    ),
    "playhead.task_runners": (
        "ConcurrentTaskRunner ProcessPoolTaskRunner SequentialTaskRunner ThreadPoolTaskRunner dask.DaskTaskRunner "
        "ray.RayTaskRunner"
    ),
    "playhead.tasks": (
        "Task cache_expiration cache_key_fn cache_policy description log_prints name on_commit on_completion "
        "on_failure on_rollback on_running persist_result refresh_cache result_serializer result_storage "
        "result_storage_key retries retry_condition_fn retry_delay_seconds retry_jitter_factor tags task "
        "task_input_hash task_run_name timeout_seconds version"
    ),
    "playhead.transactions": "CommitMode IsolationLevel Transaction TransactionState get_transaction transaction",
    "playhead.utilities.annotations": "BaseAnnotation Quote allow_failure opaque quote unmapped",
}
"""What the guides and references of Prefect 2.13 and 3.4 name, by module."""


def rows() -> Iterator[tuple[str, str, str]]:
    """Module, name and what is said of it, for each name of the page's tables."""
    for module, section in SECTION.findall(PAGE.read_text(encoding="utf-8")):
        for names, said in ROW.findall(section):
            for name in NAME.findall(names):
                yield module, name, said


@pytest.mark.parametrize(("module", "name", "said"), list(rows()), ids=lambda value: str(value)[:40])
def test_what_is_listed_is_there(module: str, name: str, said: str) -> None:
    assert name.startswith("PLAYHEAD_") or is_there(module, name) != said.startswith("not offered")


@pytest.mark.parametrize("module", NAMES)
def test_every_name_is_listed(module: str) -> None:
    listed = {name.removeprefix("playhead.") for where, name, _ in rows() if where == module}
    assert not set(NAMES[module].split()) - listed


def test_each_area_says_where_it_is_tested_and_every_module_of_the_sdk_is_named() -> None:
    page = PAGE.read_text(encoding="utf-8")
    areas, _, table = page.partition("\n## Where it is tested\n")
    tested = {area: re.findall(r"`([\w/]+)`", modules) for area, modules in ROW.findall(table)}
    assert set(re.findall(r"^## ([^:\n]+)", areas, re.MULTILINE)) <= set(tested)
    named = {TESTS / f"{module}.py" for modules in tested.values() for module in modules}
    assert {path for path in named if not path.is_file()} == set()
    assert set((TESTS / "sdk").glob("test_*.py")) <= named


def is_there(module: str, name: str) -> bool:
    """Whether a name is found in its module, at its own path, or as an attribute or option of what is in the module."""
    if name.startswith("playhead"):
        module, _, name = name.rpartition(".")
    found = importlib.import_module(module)
    public = [getattr(found, each) for each in dir(found) if not each.startswith("_")]
    return _has(found, name) or any(_has(each, name) or name in _options(each) for each in public if callable(each))


def _has(holder: Any, path: str) -> bool:
    missing = object()
    return reduce(lambda part, name: getattr(part, name, missing), path.split("."), holder) is not missing


def _options(what: Any) -> set[str]:
    """What it can be called with; of a class, its instances too."""
    calls = [what, what.__call__] if inspect.isclass(what) and "__call__" in vars(what) else [what]
    try:
        return {name for call in calls for name in inspect.signature(call).parameters}
    except ValueError:  # of some classes that are written in C
        return set()
