"""All commands, put together. Each module loads what it needs when its command runs, so that `--help` is quick."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from playhead.cli import (
    audit,
    concurrency_limits,
    config,
    errors,
    flow_runs,
    flows,
    inputs,
    journal,
    policies,
    profiles,
    server,
    steering,
    task_runs,
    views,
)
from playhead.cli.options import ApiUrl, Database, Json, Options


class Root(TyperGroup):
    """The outermost command: where an error of a command becomes one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as error:
            errors.report(error, as_json=isinstance(ctx.obj, Options) and ctx.obj.json)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Playhead: an orchestration service whose memory is a journal. The commands work on the server that is named, "
    "else on the database that flows on this machine use.",
    epilog="Try: playhead flow-run ls --as-of '10m ago'",
)

flow_runs.app.command("cancel")(steering.cancel)
flow_runs.app.command("pause")(steering.pause)
flow_runs.app.command("resume")(steering.resume)
flow_runs.app.command("inputs")(inputs.inputs)
flow_runs.app.command("send-input")(inputs.send_input)

app.add_typer(server.app, name="server", help="Serve a database, to flows here or elsewhere.")
app.add_typer(flows.app, name="flow", help="Flows that were registered: each by its first run.")
app.add_typer(flow_runs.app, name="flow-run", help="Flow runs: look at them, now or in the past, and steer them.")
app.add_typer(task_runs.app, name="task-run", help="Task runs, now or in the past.")
app.add_typer(
    concurrency_limits.app, name="concurrency-limit", help="Concurrency limits: how many runs may run at the same time."
)
app.add_typer(audit.app, name="audit", help="What was decided, across all runs.")
app.add_typer(journal.app, name="journal", help="The journal itself: what happened, in order.")
app.add_typer(policies.app, name="policy", help="Policies: the rules that decide.")
app.add_typer(config.app, name="config", help="Settings, and where each was found.")
app.add_typer(profiles.app, name="profile", help="Profiles: sets of settings with a name.")
app.add_typer(views.app, name="views", help="The views: tables that are made of the journal.")


def show_version(wanted: bool) -> None:
    """Print the version, and that is all."""
    if wanted:
        from importlib.metadata import version

        typer.echo(version("playhead"))
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    api_url: ApiUrl = None,
    database: Database = None,
    json: Json = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that every command takes, here or after its own name."""
    ctx.obj = Options(api_url, database, json)
