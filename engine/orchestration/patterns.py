"""Regular expressions that other people wrote, matched in time that is known beforehand.

Python's `re` goes back and tries again: `(a+)+$` against thirty letters takes minutes, and the write thread would stand
still. So patterns are matched by the engine that pydantic brings and uses for its own models, the Rust crate regex,
whose time grows with the automaton times the text. How large the automaton becomes is estimated here before it is made,
so that the caller can pay for it out of a bounded budget. The engine has no lookaround and no backreferences: a pattern
that needs them is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

PATTERNS_KEPT_MAX = 256
"""Patterns that are kept in memory ready for use."""

LEAST_WEIGHT = 20
"""What the shortest pattern costs to make, compared with one more letter in it."""

CATEGORY_WEIGHT = 500
r"""What a Unicode category, \p{L}, costs to make, compared with a letter."""

_TOKENS = re.compile(
    r"\\[pP](?:\{[^}]*\}|.)?|\\.|\[(?:\\.|[^\\\]])*\]|\{\d+(?:,\d*)?\}|\((?:\?(?::|<(?=[A-Za-z])))?|.", re.DOTALL
)
_ESCAPES = re.compile(r"\\.", re.DOTALL)
_ASCII_CLASSES = {r"\d": "[0-9]", r"\D": "[^0-9]", r"\w": "[0-9A-Za-z_]", r"\W": "[^0-9A-Za-z_]"}


@lru_cache(PATTERNS_KEPT_MAX)
def weight(pattern: str) -> int:
    """How many states the automaton of a pattern has, roughly: counted repetition is written out in it.

    Raises ValueError for what would make the estimate wrong.
    """
    totals, last, before = [LEAST_WEIGHT], 0, ""
    for token in _TOKENS.findall(pattern):
        if token[0] == "(":
            totals.append(0)
        elif token == ")" and len(totals) > 1:
            last = totals.pop()
            totals[-1] += last
        elif token[0] == "{" and len(token) > 1:
            times = max(int(re.findall(r"\d+", token)[-1]), 1)
            totals[-1] += last * (times - 1)
            last *= times
        elif token in ("?", "*", "+"):
            if before == "(":
                raise ValueError("groups are (...), (?:...) and (?<name>...): lookaround and flags are not supported")
        else:
            if token[0] == "[":
                _check_class(token)
            last = len(token) + CATEGORY_WEIGHT * len(re.findall(r"\\[pP]", token))
            totals[-1] += last
        before = token
    return sum(totals)


def matches(pattern: str, text: str) -> bool:
    r"""Whether a pattern is found anywhere in a text. \d and \w are those of ASCII, as in ECMA-262.

    Raises ValueError, saying what is wrong, for a pattern that the engine does not take.
    """
    from pydantic_core import ValidationError

    try:
        _compiled(pattern).validate_python(text)
    except ValidationError:
        return False
    return True


def _check_class(token: str) -> None:
    """Brackets within a class mean one thing here and another in ECMA-262."""
    if token.startswith(("[]", "[^]")) or "[" in re.sub(_ESCAPES, "", token[1:]):
        raise ValueError(r"a bracket within a class is written \[ or \]")


@lru_cache(PATTERNS_KEPT_MAX)
def _compiled(pattern: str) -> SchemaValidator:
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    text = _ESCAPES.sub(lambda escape: _ASCII_CLASSES.get(escape[0], escape[0]), pattern)
    try:
        return SchemaValidator(core_schema.str_schema(pattern=text, regex_engine="rust-regex"))
    except SchemaError as error:
        raise ValueError(str(error).splitlines()[-1].strip().removeprefix("error: ")) from None
