"""`playhead flow-run inputs | send-input`: what is sent to a flow run while it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from playhead.cli.flow_runs import Run
from playhead.cli.listing import All, all_pages, note
from playhead.cli.options import connected, not_empty, reading
from playhead.cli.session import Session
from playhead.cli.steering import given

if TYPE_CHECKING:
    from playhead import v1

COLUMNS = ("key", "sender", "sent", "revision", "value")

Limit = Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many, the first that were sent.")]
Prefix = Annotated[str, typer.Option("--key-prefix", help="Those whose key begins so.")]


@reading
def inputs(session: Session, run: Run, key_prefix: Prefix = "", limit: Limit = 100, all: All = False) -> None:
    """List the inputs of a flow run in the order in which they were sent.

    Example: playhead flow-run inputs blue-heron --key-prefix approval
    """
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_json, print_table
    from playhead.client.interface import LIST_INPUTS

    request = v1.ListInputsRequest(
        flow_run_id=session.find_run("flow_run", run), key_prefix=key_prefix, read_at=session.read_at
    )
    response = all_pages(lambda page: session.call(LIST_INPUTS, page), request, "inputs", None if all else limit)
    if session.as_json:
        print_json(document_of(response))
    else:
        print_table(COLUMNS, map(_row, response.inputs), note(response, len(response.inputs), "inputs"))


@connected
def send_input(
    session: Session,
    run: Run,
    value: Annotated[str, typer.Argument(metavar="JSON|@FILE", help="The input: JSON, or @ and a file of it.")],
    key: Annotated[
        str | None, typer.Option("--key", callback=not_empty, help="The whole key. Unset: a new one of the prefix.")
    ] = None,
    key_prefix: Annotated[
        str | None,
        typer.Option(
            "--key-prefix",
            callback=not_empty,
            help='How its key begins. Unset: as for a Python value, "dict-auto".',
        ),
    ] = None,
    sender: Annotated[str, typer.Option("--sender", help="Who sends it.")] = "",
) -> None:
    """Send an input to a flow run, which gets it from receive_input.

    Example: playhead flow-run send-input blue-heron '{"decision": "approved"}' --key-prefix approval
    """
    from uuid_utils import uuid7

    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_fields, print_json
    from playhead.client.interface import SEND_INPUT

    if key is not None and key_prefix is not None:
        raise typer.BadParameter("--key is the whole key, which has no other prefix: give one of the two.")
    data = given(value, "JSON|@FILE")
    request = v1.SendInputRequest(
        request_id=str(uuid7()), flow_run_id=session.find_run("flow_run", run), value=data, sender=sender
    )
    request.key = key or f"{key_prefix or _prefix_of(data)}-{request.request_id}"
    answer = session.call(SEND_INPUT, request)
    if session.as_json:
        print_json(document_of(answer))
    else:
        print_fields([("flow run", request.flow_run_id), *zip(COLUMNS, _row(answer.input), strict=True)])


def _row(sent: v1.RunInput) -> list[str]:
    from playhead.cli.formats import age
    from playhead.cli.output import one_line

    return [sent.key, sent.sender, age(sent.sent), str(sent.sent_revision), one_line(sent.value.decode())]


def _prefix_of(data: bytes) -> str:
    """How the keys begin that `playhead.input.send_input` gives such a value. What is no JSON the service refuses."""
    try:
        value = json.loads(data)
    except ValueError:
        return "input"
    return f"{type(value).__name__}-auto".lower()
