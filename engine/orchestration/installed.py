"""Policies by name: "module:attribute", or the name under which a package has installed one.

A package installs a policy by an entry point of the group "playhead.policies":

    [project.entry-points."playhead.policies"]
    night-shift = "acme.policies:night_shift"

What it names is a Policy, or a function without arguments that makes one. "core" is always Playhead's own. A "module"
is looked for in the working directory too, as by `python -m`.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from dataclasses import dataclass
from importlib.metadata import entry_points

from playhead import settings
from playhead.engine.orchestration.guard import without_addresses
from playhead.engine.orchestration.policy import Policy, core_policy
from playhead.engine.orchestration.rules.rule import Rule
from playhead.exceptions import BadRequest

VARIABLE = "PLAYHEAD_POLICY"
GROUP = "playhead.policies"
CORE = "core"


@dataclass(frozen=True, order=True)
class Installed:
    """A policy that a package has installed: `value` is "module:attribute", `package` the distribution's name."""

    name: str
    value: str
    package: str


def installed_policies() -> list[Installed]:
    """All of them, by name, none of them loaded."""
    found = {
        Installed(entry.name, entry.value, entry.dist.name if entry.dist else "")
        for entry in entry_points(group=GROUP)
        if entry.name != CORE
    }
    return sorted({*found, Installed(CORE, "playhead.engine.orchestration.policy:core_policy", "playhead")})


def policy_name() -> str:
    """The name of the policy that applies when none is given: that of PLAYHEAD_POLICY, else "core"."""
    return settings.value(VARIABLE) or CORE


def chosen_policy(name: str | None = None) -> Policy:
    """The policy of a name; without one, that of PLAYHEAD_POLICY, else the core policy.

    Raises BadRequest, with what is wrong with it, when there is no such policy or it can not be loaded.
    """
    chosen = name or policy_name()
    try:
        return load_policy(chosen)
    except (Exception, SystemExit) as error:  # Loading runs whatever the policy's module does.
        raise BadRequest(
            f"{chosen!r} can not be loaded: {_described(error)}", field="policy" if name else VARIABLE
        ) from error


def load_policy(name: str) -> Policy:
    """The policy of a name, either kind of name.

    Raises ImportError or AttributeError when there is no such thing, ValueError when no one policy has that name or its
    id would differ from process to process, and TypeError when what it names is no policy.
    """
    if name == CORE:
        return core_policy()  # without a look at what is installed, which takes a while
    module, colon, attribute = (name if ":" in name else _value_of(name)).partition(":")
    if not (module and colon and attribute):
        raise ValueError('A policy is named as "module:attribute".')
    _look_here_too()
    found: object = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    policy = found() if callable(found) else found
    if not isinstance(policy, Policy):
        raise TypeError(f"it is of the type {type(policy).__name__}, not a Policy.")
    _check_rules(policy)
    _check_parameters(policy)
    return policy


def _check_rules(policy: Policy) -> None:
    """Refuse what is no rule, and the class of one, which takes none of the calls that its rules do."""
    for name, rules in policy.lists().items():
        for index, rule in enumerate(rules):
            if isinstance(rule, type) and issubclass(rule, Rule):
                raise TypeError(f"{name}[{index}] is the class {rule.__name__}, not a rule made of it: call it.")
            if not isinstance(rule, Rule):
                raise TypeError(f"{name}[{index}] is {rule!r:.100}, which is no Rule.")


def _check_parameters(policy: Policy) -> None:
    """Refuse parameters that would make the policy's id another one in each process."""
    for rule in (rule for rules in policy.lists().values() for rule in rules):
        for name, value in vars(rule).items():
            if without_addresses(repr(value)) != repr(value):
                raise ValueError(
                    f"the repr of parameter {name!r} of rule {rule.name} is an address in memory, so that the policy's "
                    "id would be another in each process. Give the parameter's class a repr of its own."
                )


def _described(error: BaseException) -> str:
    """An error and, when it comes of the policy's own code, where that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    foreign = [frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<frozen")]
    place = f" ({foreign[-1].filename}:{foreign[-1].lineno})" if foreign else ""
    return f"{type(error).__name__}: {error}{place}"


def _look_here_too() -> None:
    """Have modules looked for in the working directory, after all other places, so that nothing there hides what is
    installed; unless PYTHONSAFEPATH says not to.
    """
    here = os.getcwd()
    if not sys.flags.safe_path and here not in sys.path:
        sys.path.append(here)


def _value_of(name: str) -> str:
    """Where the installed policy of a name is."""
    installed = installed_policies()
    values = [policy.value for policy in installed if policy.name == name]
    if len(values) > 1:
        raise ValueError(f"Several packages have installed a policy of this name: {', '.join(values)}. Name one so.")
    if not values:
        names = ", ".join(sorted({policy.name for policy in installed}))
        raise ValueError(f'No policy of this name is installed. There are: {names}; or name it as "module:attribute".')
    return values[0]
