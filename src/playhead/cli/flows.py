"""`playhead flow`."""

from __future__ import annotations

import typer

from playhead.cli.listing import All, Limit, all_pages, note
from playhead.cli.options import reading
from playhead.cli.session import Session

app = typer.Typer(no_args_is_help=True)

FLOW_COLUMNS = ("id", "name", "registered", "revision")


@app.callback()
def flow() -> None:
    """Flows."""


@app.command("ls")
@reading
def ls(session: Session, limit: Limit = 100, all: All = False) -> None:
    """List flows in the order of their registration.

    Example: playhead flow ls --json
    """
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.formats import age
    from playhead.cli.output import print_json, print_table
    from playhead.client.interface import LIST_FLOWS

    request = v1.ListFlowsRequest(read_at=session.read_at)
    response = all_pages(lambda page: session.call(LIST_FLOWS, page), request, "flows", None if all else limit)
    if session.as_json:
        print_json(document_of(response))
        return
    rows = ([flow.id, flow.name, age(flow.created), str(flow.created_revision)] for flow in response.flows)
    print_table(FLOW_COLUMNS, rows, note(response, len(response.flows), "flows"))
