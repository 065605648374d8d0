"""Which run is meant: by its id, by its name, or by the beginning of its id."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from typing import Any

from playhead import v1
from playhead.client.interface import LIST_FLOW_RUNS, LIST_TASK_RUNS, Client
from playhead.exceptions import BadRequest, NotFound, TooLarge
from playhead.replay.diff import Kind

NEWEST_MAX = 1_000
"""Runs among which the beginning of an id, or a name, is looked for."""

SHOWN_MAX = 5
SHOWN_CHARS_MAX = 100
ID_LENGTH = 36

_ID_BEGINNING = re.compile(r"[0-9a-f]{4,8}(-[0-9a-f-]*)?")


def find_run(
    client: Client, kind: Kind, text: str, read_at: v1.ReadAt | None = None, timeout_s: float | None = None
) -> str:
    """The id of a run, by default of those that are there now. A full id is taken as it is.

    The beginning of an id, at least 4 characters, must be that of one of the newest 1,000 runs, a name the whole name
    of exactly one run. Raises NotFound when there is none, BadRequest, which names them, when there are several.
    """
    if len(text) == ID_LENGTH and text.count("-") == 4:
        return text.lower()
    newest = partial(_newest, client, kind, read_at or v1.ReadAt(), timeout_s)
    found: list[Any] = []
    if _ID_BEGINNING.fullmatch(text.lower()):
        found = [run for run in newest() if run.spec.id.startswith(text.lower())]
    if not found:
        with suppress(TooLarge):  # longer than any name
            found = [run for run in newest(name_like=text) if run.status.name == text]
    what = kind.replace("_", " ")
    if not found:
        raise NotFound(
            f"No {what} is named {_shortened(text)!r}{_then(read_at)}, and no id of the newest {NEWEST_MAX:,} begins "
            "so (4 or more characters)."
        )
    if len(found) > 1:
        runs = ", ".join(map(_described, found[:SHOWN_MAX])) + (", …" if len(found) > SHOWN_MAX else "")
        raise BadRequest(f"{text!r} can be each of {len(found)}: {runs}. Give the whole id", field=what)
    run_id: str = found[0].spec.id
    return run_id


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"


def _then(read_at: v1.ReadAt | None) -> str:
    """The moment at which was looked, unless it is now."""
    at = read_at.WhichOneof("at") if read_at is not None else None
    if read_at is None or at is None:
        return ""
    return f" at {read_at.time.ToJsonString()}" if at == "time" else f" at revision {read_at.revision}"


def _described(run: v1.FlowRun | v1.TaskRun) -> str:
    of = run.flow_name if isinstance(run, v1.FlowRun) else f"in flow run {run.spec.flow_run_id or 'none'}"
    created = run.created.ToDatetime().isoformat(" ", "seconds")
    return f"{run.spec.id} ({run.status.name}, {of}, {run.status.state.name or 'no state'}, created {created} UTC)"


def _newest(client: Client, kind: Kind, read_at: v1.ReadAt, timeout_s: float | None, **filter: Any) -> Any:
    if kind == "flow_run":
        flow_runs = v1.ListFlowRunsRequest(filter=v1.FlowRunFilter(**filter), read_at=read_at, page_size=NEWEST_MAX)
        return client.unary(LIST_FLOW_RUNS, flow_runs, timeout_s=timeout_s).flow_runs
    task_runs = v1.ListTaskRunsRequest(filter=v1.TaskRunFilter(**filter), read_at=read_at, page_size=NEWEST_MAX)
    return client.unary(LIST_TASK_RUNS, task_runs, timeout_s=timeout_s).task_runs
