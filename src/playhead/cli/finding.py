"""Which run is meant: by its id, by its name, or by the beginning of its id."""

from __future__ import annotations

import re
from typing import Any

from playhead import v1
from playhead.cli.session import Session
from playhead.client.interface import LIST_FLOW_RUNS, LIST_TASK_RUNS
from playhead.exceptions import BadRequest, NotFound
from playhead.replay.diff import Kind

NEWEST_MAX = 1_000
"""Runs among which the beginning of an id, or a name, is looked for."""

SHOWN_MAX = 5
ID_LENGTH = 36

_ID_BEGINNING = re.compile(r"[0-9a-f]{4,8}(-[0-9a-f-]*)?")


def find_run(session: Session, kind: Kind, text: str, read_at: v1.ReadAt | None = None) -> str:
    """The id of a run, by default as of the session's moment. A full id is taken as it is.

    The beginning of an id, at least 4 characters, must be that of one of the newest 1,000 runs, a name the whole name
    of exactly one run. Raises NotFound when there is none, BadRequest when there are several.
    """
    if len(text) == ID_LENGTH and text.count("-") == 4:
        return text.lower()
    read_at = session.read_at if read_at is None else read_at
    found: list[str] = []
    if _ID_BEGINNING.fullmatch(text.lower()):
        found = [run.spec.id for run in _newest(session, kind, read_at) if run.spec.id.startswith(text.lower())]
    if not found:
        like = _newest(session, kind, read_at, name_like=text)
        found = [run.spec.id for run in like if run.status.name == text]
    what = kind.replace("_", " ")
    if not found:
        raise NotFound(
            f"No {what} is named {text!r}, and no id of the newest {NEWEST_MAX:,} begins so (4 or more characters)."
        )
    if len(found) > 1:
        ids = ", ".join(found[:SHOWN_MAX]) + (", …" if len(found) > SHOWN_MAX else "")
        raise BadRequest(f"{text!r} can be each of {len(found)}: {ids}. Give the whole id", field=what)
    return found[0]


def _newest(session: Session, kind: Kind, read_at: v1.ReadAt, **filter: Any) -> Any:
    if kind == "flow_run":
        flow_runs = v1.ListFlowRunsRequest(filter=v1.FlowRunFilter(**filter), read_at=read_at, page_size=NEWEST_MAX)
        return session.call(LIST_FLOW_RUNS, flow_runs).flow_runs
    task_runs = v1.ListTaskRunsRequest(filter=v1.TaskRunFilter(**filter), read_at=read_at, page_size=NEWEST_MAX)
    return session.call(LIST_TASK_RUNS, task_runs).task_runs
