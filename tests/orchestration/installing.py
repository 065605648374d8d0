"""A package with policies, installed as an installer leaves it: modules, and a dist-info beside them."""

from __future__ import annotations

from pathlib import Path

MODULE = """
import sys
from dataclasses import replace

from playhead.engine.orchestration.policy import core_policy
from playhead.engine.orchestration.rules.effects import reject
from playhead.engine.orchestration.rules.rule import Rule


class Closed(Rule):
    def __init__(self, reason):
        self.reason = reason

    def before(self, facts, command, proposed):
        return reject(self.reason)


class Rules:
    @staticmethod
    def closed():
        core = core_policy()
        return replace(core, core_flow=(Closed("closed"), *core.core_flow))


def broken():
    raise RuntimeError("no such file")


def fleeting():
    core = core_policy()
    return replace(core, core_flow=(Closed(object()),))


def ending():
    sys.exit(4)


def misnamed():
    return replace(core_policy(), core_flow=("Closed",))


def uncalled():
    return replace(core_policy(), minimal_task=(Closed("closed"), Closed))
"""


def install(folder: Path, package: str, **policies: str) -> Path:
    """Install a package whose policies are {name: "module:attribute"}; its module is `package` with underscores."""
    folder.mkdir(exist_ok=True)
    folder.joinpath(f"{package.replace('-', '_')}.py").write_text(MODULE)
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name.replace('_', '-')} = {value}" for name, value in policies.items()]
    info.joinpath("entry_points.txt").write_text("\n".join(["[playhead.policies]", *lines]) + "\n")
    return folder
