"""The help teaches: every command says what it does, and shows an example that its parser takes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from playhead.cli.app import app
from playhead.grpc_server.server import DEFAULT_PORT


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""
    root: Any = typer.main.get_command(app)
    for group_name, group in root.commands.items():
        for name, command in group.commands.items():
            yield f"{group_name} {name}", command


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_that_can_be_parsed(name: str) -> None:
    command = COMMANDS[name]
    example = re.search(r"Example: playhead (.+)", command.help)
    assert example is not None
    words = shlex.split(example[1])
    assert " ".join(words[:2]) == name
    command.make_context(name, words[2:], resilient_parsing=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name: str) -> None:
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    assert result.exit_code == 0
    options = [parameter for parameter in COMMANDS[name].params if parameter.param_type_name == "option"]
    assert [option.name for option in options if not getattr(option, "help", None)] == []


HERE = ("server", "policy", "config", "profile")
"""Groups of commands about this process, which ask no journal."""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.split()[0] not in HERE])
def test_every_command_takes_a_connection_and_json(name: str) -> None:
    assert {"api_url", "database", "json"} <= {parameter.name for parameter in COMMANDS[name].params}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in COMMANDS
        if name.split()[0] not in HERE
        and name.split()[1] in ("ls", "inspect", "history", "decisions", "explain", "head", "tail")
    ],
)
def test_every_read_takes_a_moment(name: str) -> None:
    assert "as_of" in {parameter.name for parameter in COMMANDS[name].params}


def test_the_default_port_is_the_one_in_the_help() -> None:
    assert f"Default: {DEFAULT_PORT}." in next(p.help for p in COMMANDS["server start"].params if p.name == "port")


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == version("playhead")


def test_help_loads_neither_database_nor_grpc() -> None:
    program = (
        "import sys; from playhead.cli.app import app\n"
        "try: app(['flow-run', 'ls', '--help'], prog_name='playhead')\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'sqlalchemy', 'grpc', 'google.protobuf', 'playhead.journal'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0
