"""Names of runs: random ones, templates over the parameters, and functions."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

_ADJECTIVES = """
    amber azure brave bright brisk calm candid careful cheerful clever cosmic crimson curious daring dapper deft
    eager early electric elegant fabled fast fearless gentle gifted glad golden graceful grand hardy hasty
    honest humble idle jolly keen kind large lively loyal lucid lucky lunar mellow merry mighty misty modest
    nimble noble olive patient placid polite proud quick quiet rapid red robust rustic sage scarlet sharp shiny
    silent silver sincere smart snappy solar solid spry steady stellar sturdy sunny swift tidy topaz tranquil
    trusty upbeat valiant velvet vivid warm whimsical wise witty young zealous
""".split()  # noqa: SIM905  # words read better than 100 quoted strings
_NOUNS = """
    albatross alpaca antelope armadillo badger barracuda beaver bison bobcat buffalo camel caribou cheetah
    chickadee cobra condor cougar coyote crane cricket dolphin dove dragon eagle egret elk falcon ferret finch
    firefly flamingo fox gazelle gecko gibbon goose gopher grouse gull hare harrier hawk heron hornet ibex ibis
    iguana impala jackal jaguar kestrel kiwi koala lark lemur leopard lion llama lobster loon lynx macaw magpie
    manatee marmot marten mole moose narwhal newt ocelot octopus orca oriole osprey otter owl panda panther
    pelican penguin pigeon puffin puma python quail rabbit raccoon raven robin salmon seal shark sloth sparrow
    squid stork swan tapir tiger toucan turtle viper vole walrus weasel whale wolf wombat wren yak zebra
""".split()  # noqa: SIM905  # words read better than 100 quoted strings

_random = random.Random()


def random_name() -> str:
    """Three words, "calm-silver-otter", of a million. Names need not be unique: a thousand runs seldom share one."""
    return "-".join([*_random.sample(_ADJECTIVES, 2), _random.choice(_NOUNS)])


def resolve_name(source: str | Callable[..., str], parameters: dict[str, Any], option: str) -> str:
    """The name that a template or function gives. `option` names it in the TypeError when it is not a string.

    A function may take `parameters`. Raises ValueError for a template that can not be filled in, which says what there
    is, and what a function raises.
    """
    if isinstance(source, str):
        try:
            return source.format(**parameters)
        except Exception as error:  # what formats of the user's values raise
            why = f"there is no {{{error.args[0]}}}" if isinstance(error, KeyError) else repr(error)
            there = ", ".join(f"{{{name}}}" for name in parameters) or "none"
            raise ValueError(
                f"The {option} {source!r} can not be filled in: {why}. Its placeholders: {there}."
            ) from error
    name = source(parameters=parameters) if _takes_parameters(source) else source()
    if not isinstance(name, str):
        raise TypeError(
            f"Callable {source!r} for '{option}' returned type {type(name).__name__} but a string is required."
        )
    return name


def _takes_parameters(function: Callable[..., str]) -> bool:
    try:
        return "parameters" in inspect.signature(function).parameters
    except ValueError:  # written in C, and says nothing of its arguments
        return False
