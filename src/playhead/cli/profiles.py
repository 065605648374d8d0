"""`playhead profile`: sets of settings with a name."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli.options import Json

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The profile.")]


@app.command("ls")
def ls(ctx: typer.Context, json: Json = False) -> None:
    """List the profiles; a star marks the active one.

    Example: playhead profile ls
    """
    from playhead.cli.output import print_json, print_table
    from playhead.profiles import active_profile, load_profiles

    active = active_profile().name
    profiles = load_profiles().profiles
    if json or ctx.obj.json:
        print_json([{"profile": name, "active": name == active} for name in profiles])
        return
    print_table(("profile", ""), [(name, "*" if name == active else "") for name in profiles])


@app.command("use")
def use(name: Name) -> None:
    """Make a profile the active one.

    Example: playhead profile use default
    """
    import os

    from playhead.profiles import load_profiles, save_profiles

    profiles = load_profiles()
    profiles.active = profiles[name].name
    save_profiles(profiles)
    typer.echo(f"Profile {name!r} is active.")
    other = os.environ.get("PLAYHEAD_PROFILE")
    if other and other != name:
        typer.echo(f"Here, PLAYHEAD_PROFILE={other} is stronger.", err=True)


@app.command("create")
def create(
    name: Name,
    like: Annotated[str | None, typer.Option("--from", metavar="PROFILE", help="Begin with its settings.")] = None,
) -> None:
    """Create a profile. It is not active yet.

    Example: playhead profile create staging --from default
    """
    from playhead.profiles import Profile, load_profiles, profiles_path, save_profiles

    profiles = load_profiles()
    if name in profiles.profiles and profiles_path().exists():
        raise typer.BadParameter(f"There is a profile {name!r}: playhead profile inspect {name}")
    profiles.profiles[name] = Profile(name, dict(profiles[like].settings) if like else {})
    save_profiles(profiles)
    typer.echo(f"Profile {name!r} is there. To use it: playhead profile use {name}")


@app.command("inspect")
def inspect(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The profile; by default the active one.")] = "",
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Passwords in addresses too.")] = False,
    json: Json = False,
) -> None:
    """Show the settings of a profile.

    Example: playhead profile inspect default
    """
    from playhead.cli.output import print_fields, print_json
    from playhead.profiles import active_profile, load_profiles
    from playhead.settings import without_passwords

    profile = load_profiles()[name] if name else active_profile()
    shown = {key: value if show_secrets else without_passwords(value) for key, value in profile.settings.items()}
    if json or ctx.obj.json:
        print_json({"profile": profile.name, "settings": shown})
        return
    print_fields([("profile", profile.name), *shown.items()])
