"""`playhead server`."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli.options import Database, Json, Options, not_empty

app = typer.Typer(no_args_is_help=True)


@app.callback()
def server() -> None:
    """The server."""


@app.command("start")
def start(
    ctx: typer.Context,
    host: Annotated[
        str | None,
        typer.Option(
            callback=not_empty, help="Where to listen; default: this machine alone. There is no authentication."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; 0 for a free one. Default: 4200.")
    ] = None,
    uds: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", callback=not_empty, help="Listen on this Unix socket, of this user, instead of a port."
        ),
    ] = None,
    database: Database = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=not_empty,
            help="The rules: an installed policy, or module:attribute. Or PLAYHEAD_POLICY.",
        ),
    ] = None,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = "warning",
    json: Json = False,
) -> None:
    """Serve a database until SIGTERM or SIGINT; calls in flight are finished first.

    Once calls are taken, one line on standard output says where: "Listening on grpc://127.0.0.1:4200", or with --json
    {"address": "grpc://127.0.0.1:4200"}. Clients take the address as PLAYHEAD_API_URL or --api-url.

    Example: playhead server start --port 0 --database journal.db
    """
    import json as json_format
    import logging

    from playhead import settings
    from playhead.engine.orchestration.installed import chosen_policy
    from playhead.grpc_server.server import DEFAULT_HOST, DEFAULT_PORT, run

    if uds and (host is not None or port is not None):
        raise typer.BadParameter("listens on a socket and not on a port: give one of the two.", param_hint="--uds")
    said: Options = ctx.obj
    as_json = json or said.json

    def ready(address: str) -> None:
        print(json_format.dumps({"address": address}) if as_json else f"Listening on {address}", flush=True)

    logging.basicConfig(level=_level(log_level), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    chosen_port = DEFAULT_PORT if port is None else port
    chosen_database = database or said.database or settings.database()
    run(host or DEFAULT_HOST, chosen_port, uds, chosen_database, ready, policy=chosen_policy(policy))


def _level(name: str) -> int:
    import logging

    level = logging.getLevelNamesMapping().get(name.upper())
    if level is None:
        raise typer.BadParameter(f"{name!r} is none of debug, info, warning, error.", param_hint="--log-level")
    return level
