"""Inputs of flow runs: sending, reading, deleting and receiving them, as loops.

What a run sends or deletes is known by the run, by what it is and by how often the same was asked for before. So a run
that is executed again asks for the same again, and gets the answer on record: nobody receives anything twice for it.
"""

from __future__ import annotations

from hashlib import sha256

from playhead import v1
from playhead.client.interface import DELETE_INPUT, LIST_INPUTS, READ_INPUT, SEND_INPUT
from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution.effects import Ask, Loop
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.proposals import answer_to
from playhead.exceptions import NotFound
from playhead.journal.encoding import bytes_of, id_from, text_of

PAGE_SIZE_MAX = 1_000


def this_flow_run(flow_run_id: object = None) -> str:
    """The id that is given, else that of the flow run the code is in. Raises RuntimeError when there is neither."""
    here = flow_run_id or flow_run_here()
    if not here:
        raise RuntimeError("Must either provide a flow run ID or be within a flow run.")
    return str(here)


def flow_run_here() -> str:
    """The id of the flow run that the code is in; "" outside of one."""
    flow_run, task_run = FlowRunContext.get(), TaskRunContext.get()
    if flow_run is not None:
        return flow_run.flow_run.run_id
    return task_run.task_run.parent_run_id if task_run is not None else ""


def send(flow_run_id: str, key: str, value: bytes, sender: str | None, *, is_prefix: bool = False) -> Loop[v1.RunInput]:
    """Send an input under a key, or under a new one that begins so."""
    request = v1.SendInputRequest(flow_run_id=flow_run_id, key=key, value=value, sender=sender or "")
    request.request_id = _request_id(request)
    if is_prefix:
        request.key = f"{key}-{request.request_id}"
    response = yield from answer_to(SEND_INPUT, request)
    return response.input


def delete(flow_run_id: str, key: str) -> Loop[None]:
    """Delete an input. Raises NotFound when there is none."""
    request = v1.DeleteInputRequest(flow_run_id=flow_run_id, key=key)
    request.request_id = _request_id(request)
    yield from answer_to(DELETE_INPUT, request)


def read(flow_run_id: str, key: str) -> Loop[bytes | None]:
    """An input's JSON; None when there is none of this key."""
    try:
        answer: v1.ReadInputResponse = yield Ask(READ_INPUT, v1.ReadInputRequest(flow_run_id=flow_run_id, key=key))
    except NotFound as error:
        if error.facts.get("field") != "key":
            raise
        return None
    return answer.input.value


def listed(flow_run_id: str, prefix: str, limit: int, excluded: set[str]) -> Loop[list[v1.RunInput]]:
    """The first inputs whose key begins so, in the order in which they were sent."""
    request = v1.ListInputsRequest(flow_run_id=flow_run_id, key_prefix=prefix, exclude_keys=sorted(excluded))
    found: list[v1.RunInput] = []
    while len(found) < limit:
        request.page_size = min(limit - len(found), PAGE_SIZE_MAX)
        page: v1.ListInputsResponse = yield Ask(LIST_INPUTS, request)
        found += page.inputs
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    return found


def _request_id(request: v1.SendInputRequest | v1.DeleteInputRequest) -> str:
    """The id of a request: from a run, the same each time that the run is executed."""
    context = TaskRunContext.get() or FlowRunContext.get()
    if context is None:
        return new_id()
    run = context.task_run if isinstance(context, TaskRunContext) else context.flow_run
    asked = type(request).__name__.encode() + request.SerializeToString(deterministic=True)
    number = context.next_call(f"input:{sha256(asked).hexdigest()}")
    return text_of(id_from(b"run input", bytes_of(run.run_id), asked, number.encode()))
