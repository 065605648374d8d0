"""Options that many commands take, and the decorators that give them to a command.

A command is written as a function whose first parameter is a `Session`; `@connected` makes of it one that takes
`--api-url`, `--database` and `--json`, `@reading` one that takes `--as-of` as well.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from playhead.cli.session import Session


def not_empty(value: str | None) -> str | None:
    """An option as it was given. One that is empty, as a variable that is not set, is not the same as none."""
    if value is not None and not value.strip():
        raise typer.BadParameter("it is empty. Leave the option out for its default.")
    return value


def none_empty(values: list[str]) -> list[str]:
    """The same of an option that repeats."""
    for value in values:
        not_empty(value)
    return values


ApiUrl = Annotated[
    str | None,
    typer.Option(
        "--api-url",
        metavar="URL",
        callback=not_empty,
        help="The server: grpc://host:port or unix:/path. Or PLAYHEAD_API_URL.",
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="PATH|URL",
        callback=not_empty,
        help="The database, when there is no server: a file or postgresql://…. Or PLAYHEAD_DATABASE. Default: "
        "~/.playhead/journal.db.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="MOMENT",
        help="As it was then: a revision (120), a time (2026-01-31T12:00, or 09:14 for the last time it was that "
        "late; local unless it has an offset), or how long ago ('10m ago'; s, m, h, d, w).",
    ),
]

Command = Callable[..., None]


@dataclass
class Options:
    """What was said before the name of the command."""

    api_url: str | None = None
    database: str | None = None
    json: bool = False


def connected(command: Command) -> Command:
    """Give a command the options of a connection."""
    return _with(command, {"api_url": ApiUrl, "database": Database, "json": Json})


def reading(command: Command) -> Command:
    """Give a command the options of a connection, and `--as-of`."""
    return _with(command, {"as_of": AsOf, "api_url": ApiUrl, "database": Database, "json": Json})


def _with(command: Command, options: dict[str, Any]) -> Command:
    """The command as a function of its own parameters but the session, and the options."""

    @functools.wraps(command)
    def run(ctx: typer.Context, **given: Any) -> None:
        said = ctx.obj
        said.json = given.pop("json") or said.json
        # The one that was named nearest to the command counts.
        api_url, database = given.pop("api_url"), given.pop("database")
        if not api_url and not database:
            api_url, database = said.api_url, said.database
        with Session(api_url, database, said.json, given.pop("as_of", None)) as session:
            command(session, **given)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if option is Json else None, annotation=option
        )
        for name, option in options.items()
    ]
    parameters = [context, *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own), *added]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # inspect's own protocol
    return run
