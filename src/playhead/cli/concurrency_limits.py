"""`playhead concurrency-limit`: how many runs may run at the same time, and who does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from playhead.cli.listing import All, Limit, all_pages, note
from playhead.cli.options import connected, reading
from playhead.cli.session import Session

if TYPE_CHECKING:
    from playhead import v1
    from playhead.cli.output import Cell

app = typer.Typer(no_args_is_help=True)

LIMIT_COLUMNS = ("limit", "slots", "held", "waiting", "when full", "set at")
USER_COLUMNS = ("name", "flow run", "kind", "state", "slots", "since", "revision")

Key = Annotated[
    str,
    typer.Argument(
        metavar="LIMIT", help='Whose limit: "tag:etl", "deployment:<id>" or "name:database".', show_default=False
    ),
]


@app.callback()
def concurrency_limit() -> None:
    """Concurrency limits, now or in the past."""


@app.command("set")
@connected
def set_(
    session: Session,
    key: Key,
    slots: Annotated[
        int,
        typer.Argument(
            metavar="SLOTS",
            min=0,
            max=1_000_000,
            help="How many there are. 0: whoever needs one is refused.",
            show_default=False,
        ),
    ],
    cancel_new: Annotated[
        bool, typer.Option("--cancel-new", help="Cancel runs that find it full. Without: they wait in line.")
    ] = False,
) -> None:
    """Set how many runs may hold slots of a limit. Who holds some keeps them; who waits gets what is free now.

    Task runs hold slots of their tags' limits while they are RUNNING; flow runs those of their deployment from PENDING
    on.

    Example: playhead concurrency-limit set tag:database 5
    """
    from playhead import v1

    on_full = v1.CANCEL_NEW if cancel_new else v1.ENQUEUE
    _set(session, v1.SetConcurrencyLimitRequest(limit=key, slots=slots, on_full=on_full))


@app.command("rm")
@connected
def rm(session: Session, key: Key) -> None:
    """Remove a limit. Who waits for its slots goes on.

    Example: playhead concurrency-limit rm tag:database
    """
    from playhead import v1

    _set(session, v1.SetConcurrencyLimitRequest(limit=key))


@app.command("ls")
@reading
def ls(session: Session, limit: Limit = 100, all: All = False) -> None:
    """List limits in the order in which they were set, with what of them is in use.

    Example: playhead concurrency-limit ls --as-of '10m ago'
    """
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_json, print_table
    from playhead.client.interface import LIST_CONCURRENCY_LIMITS

    request = v1.ListConcurrencyLimitsRequest(read_at=session.read_at)
    response = all_pages(
        lambda page: session.call(LIST_CONCURRENCY_LIMITS, page), request, "limits", None if all else limit
    )
    if session.as_json:
        print_json(document_of(response))
        return
    rows = (
        [
            use.limit.limit,
            str(use.limit.slots),
            str(use.held),
            str(use.waiting),
            v1.OnFull.Name(use.limit.on_full),
            str(use.set_revision),
        ]
        for use in response.limits
    )
    print_table(LIMIT_COLUMNS, rows, note(response, len(response.limits), "limits"))


@app.command("show")
@reading
def show(session: Session, key: Key, limit: Limit = 100, all: All = False) -> None:
    """Show who holds slots of a limit, and who waits for them.

    Those who came first are shown first: each run's place, name, the flow run it is in, its state, how many slots,
    and since when.

    Example: playhead concurrency-limit show tag:database
    """
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_json, print_table

    holding = _users(session, v1.ListSlotUsersRequest(limit=key, read_at=session.read_at), None if all else limit)
    moment = v1.ReadAt(revision=holding.meta.revision)
    waiting = _users(session, v1.ListSlotUsersRequest(limit=key, read_at=moment, waiting=True), None if all else limit)
    if session.as_json:
        print_json({"holding": document_of(holding), "waiting": document_of(waiting)})
        return
    for title, response in (("holding", holding), ("waiting", waiting)):
        rows = map(_user_row, response.users)
        print_table((title, "id", *USER_COLUMNS), rows, note(response, len(response.users), f"{title} runs"))


def _user_row(user: v1.SlotUser) -> list[Cell]:
    from playhead import v1
    from playhead.cli.formats import age, state_text

    return [
        str(user.place),
        user.task_run_id or user.flow_run_id,
        user.run_name,
        user.parent_flow_run_name,
        "task run" if user.task_run_id else "flow run",
        state_text(v1.State(type=user.state_type, name=user.state_name)) if user.state_type else "none yet",
        str(user.count),
        age(user.since_time),
        str(user.since),
    ]


def _users(session: Session, request: v1.ListSlotUsersRequest, limit: int | None) -> v1.ListSlotUsersResponse:
    from playhead.client.interface import LIST_SLOT_USERS

    users: v1.ListSlotUsersResponse = all_pages(
        lambda page: session.call(LIST_SLOT_USERS, page), request, "users", limit
    )
    return users


def _set(session: Session, request: v1.SetConcurrencyLimitRequest) -> None:
    from uuid_utils import uuid7

    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.output import print_fields, print_json
    from playhead.client.interface import SET_CONCURRENCY_LIMIT

    request.request_id = str(uuid7())
    answer = session.call(SET_CONCURRENCY_LIMIT, request)
    if session.as_json:
        print_json(document_of(answer))
        return
    fields = [("limit", request.limit), ("slots", "no limit")]
    if answer.HasField("limit"):
        fields = [
            ("limit", answer.limit.limit),
            ("slots", str(answer.limit.slots)),
            ("when full", v1.OnFull.Name(answer.limit.on_full)),
        ]
    print_fields([*fields, ("revision", str(answer.meta.revision))])
