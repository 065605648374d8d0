"""`playhead config`: settings as they are here, and those of the active profile."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli.options import Json

app = typer.Typer(no_args_is_help=True)

COLUMNS = ("setting", "value", "from")


@app.command("view")
def view(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Also those that have their defaults.")] = False,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Passwords in addresses too.")] = False,
    json: Json = False,
) -> None:
    """Show the settings that hold here, each with the place where it was found.

    Example: playhead config view --all
    """
    from playhead import settings
    from playhead.cli.output import print_json, print_table

    rows = []
    for name, (_, default) in settings.KNOWN.items():
        found = settings.said(name)
        if found is not None:
            rows.append((name, found[0] if show_secrets else settings.without_passwords(found[0]), found[1]))
        elif all_:
            rows.append((name, default, "default"))
    if json or ctx.obj.json:
        print_json([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    else:
        print_table(COLUMNS, rows, note="" if rows else "All settings have their defaults: playhead config view --all")


@app.command("set")
def set_(
    assignments: Annotated[list[str], typer.Argument(metavar="NAME=VALUE", help="Settings and their values.")],
) -> None:
    """Set settings in the active profile.

    Example: playhead config set PLAYHEAD_API_URL=grpc://127.0.0.1:4200
    """
    from playhead import settings
    from playhead.exceptions import ConfigurationError
    from playhead.profiles import change_profile

    chosen = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise typer.BadParameter(f"{assignment!r} must be NAME=VALUE.")
        try:
            settings.checked(known(name), value)
        except ConfigurationError as error:
            raise typer.BadParameter(f"{error}.") from None
        chosen[name] = value
    profile = change_profile(chosen, [])
    for name, value in chosen.items():
        typer.echo(f"{name} is {settings.without_passwords(value)!r} in profile {profile.name!r}.")
        found = settings.said(name)
        if found is not None and found[0] != value:
            typer.echo(f"Here, {found[1]} says otherwise, and that is stronger.", err=True)


@app.command("unset")
def unset(names: Annotated[list[str], typer.Argument(metavar="NAME", help="Settings.")]) -> None:
    """Remove settings from the active profile.

    Example: playhead config unset PLAYHEAD_API_URL
    """
    from playhead.profiles import change_profile

    profile = change_profile({}, [known(name) for name in names])
    for name in names:
        typer.echo(f"{name} is not set in profile {profile.name!r}.")


def known(name: str) -> str:
    """The name of a setting that a profile can have, or an error of the command line."""
    from difflib import get_close_matches

    from playhead import settings

    if name in settings.ENVIRONMENT_ONLY:
        raise typer.BadParameter(f"{name} is read from the environment only.")
    if name not in settings.KNOWN:
        like = get_close_matches(name, settings.KNOWN, 1)
        hint = f"Did you mean {like[0]}?" if like else "All names: playhead config view --all"
        raise typer.BadParameter(f"There is no setting {name}. {hint}")
    return name
