"""JSON Schema (2020-12), for schemas and values that other people wrote.

The library jsonschema decides. Around it stands what a schema must not do to the thread that checks:

    hang        work is counted, in keywords and in what each of them looks at, and ends at a bound: a count and not a
                clock, so that a decision is the same whenever and wherever it is made again
    go deep     keywords inside keywords end at `DEPTH_MAX`, far below the interpreter's own limit; so does a schema
                that refers to itself for ever
    reach out   "$ref" points within the schema, and nothing is ever fetched
    backtrack   patterns are not those of Python's `re`: see `patterns`

Left out of the standard are "unevaluatedItems" and "unevaluatedProperties", "$id" and "$schema" but at the top, and
patterns with lookaround or backreferences. "format" is a remark, as it is by default.

jsonschema is loaded when the first schema is met, or the first input for one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any

from playhead.engine.orchestration import patterns

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SCHEMA_WORK_MAX = 150_000
"""Steps, of a few microseconds each, that checking a schema may take."""

VALUE_WORK_MAX = 50_000
"""Steps that checking a value may take: this is done on the write thread."""

PATTERNS_WEIGHT_MAX = 50_000
"""Weight of all patterns of a schema together: making them ready takes about a tenth of a second at most."""

DEPTH_MAX = 100
"""Keywords inside keywords."""

FAILURES_MAX = 10
"""Failures that are told one by one."""

MESSAGE_LENGTH_MAX = 200
"""Characters of one failure's message."""

MATCHING_PER_STEP = 500
"""How far a pattern gets in one step: states of its automaton times characters of the text."""

TEXT_PER_STEP = 1_000
"""Characters of messages, which show the value at fault, that one step makes."""

Keyword = Callable[[Any, Any, Any, Any], Iterable[Any] | None]
"""A keyword as jsonschema calls it: (validator, the keyword's value, the instance, the schema around it) -> errors."""


class TooMuchWork(ValueError):
    """A check takes more work, or goes deeper, than is allowed."""

    def __init__(self) -> None:
        super().__init__("it takes too much work to check")


class Work:
    """What is left to be done in one check."""

    def __init__(self, steps_max: int) -> None:
        self.left = steps_max
        self.depth = 0

    def spend(self, steps: int) -> None:
        """Do so much. Raises TooMuchWork."""
        self.left -= steps
        if self.left < 0 or self.depth > DEPTH_MAX:
            raise TooMuchWork


_work: ContextVar[Work] = ContextVar("work")


def load() -> None:
    """Load what checking needs."""
    _validator()
    patterns.matches("", "")


def check_schema(schema: dict[str, Any]) -> None:
    """Raise ValueError, with the place and what is wrong there, unless values can be checked against the schema."""
    _work.set(Work(SCHEMA_WORK_MAX))
    members = list(_members(schema))
    _check_names(schema, members)
    _check_standard(schema, "")
    _check_refs(schema, members)
    _check_patterns(members)


def failures(schema: dict[str, Any], value: Any, root: str) -> list[str]:
    """Why a value does not fit a schema that was checked, each with its place below `root`; none when it fits.

    At most `FAILURES_MAX`, and then how many more there are: always the same in the same order.
    """
    from referencing.jsonschema import EMPTY_REGISTRY

    _work.set(Work(VALUE_WORK_MAX))
    try:
        errors = _validator()(_nameless(schema), registry=EMPTY_REGISTRY).iter_errors(value)
        found = [f"{_place(root, error)}: {_short(error.message)}" for error in errors]
    except TooMuchWork as error:
        return [f"{root}: {error} against its schema"]
    more = len(found) - FAILURES_MAX
    return found if more <= 0 else [*found[:FAILURES_MAX], f"and {more} more"]


def _check_names(schema: dict[str, Any], members: list[tuple[str, Any]]) -> None:
    """Refuse what the standard has and this does not."""
    if schema.get("$schema", DIALECT) != DIALECT:
        raise ValueError(f'"$schema" must be {DIALECT}')
    for name in ("$id", "$schema"):
        if sum(name == other and isinstance(value, str) for other, value in members) > (name in schema):
            raise ValueError(f'"{name}" is for the top of a schema only')
    # jsonschema answers these with searches of its own, whose work could not be counted.
    for name in sorted({"unevaluatedItems", "unevaluatedProperties"}.intersection(name for name, _ in members)):
        raise ValueError(f'"{name}" is not supported')


def _nameless(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without a name that others could know it by, jsonschema included: nothing outside refers to it."""
    return {name: value for name, value in schema.items() if name not in ("$id", "$schema")}


def _check_standard(schema: Any, place: str) -> None:
    """Refuse what the metaschema refuses."""
    registry = _metaschemas()
    for error in _validator()(registry.contents(_OWN_NAME + "schema"), registry=registry).iter_errors(schema):
        raise ValueError(f"{_place(place, error) or 'at its top'}: {_short(error.message)}")


def _check_refs(schema: dict[str, Any], members: list[tuple[str, Any]]) -> None:
    """Every reference leads to a schema within this one."""
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY

    resolver = EMPTY_REGISTRY.resolver_with_root(DRAFT202012.create_resource(_nameless(schema)))
    refs = {value for name, value in members if name in ("$ref", "$dynamicRef") and isinstance(value, str)}
    for ref in sorted(refs):
        if not ref.startswith("#"):
            raise ValueError(f'"$ref" points out of the schema: {_short(repr(ref))}')
        _work.get().spend(1)
        try:
            target = resolver.lookup(ref).contents
        except (Unresolvable, ValueError, TypeError, LookupError):
            raise ValueError(f'"$ref" points nowhere: {_short(repr(ref))}') from None
        if not _OWN_DEFINITION.fullmatch(ref):
            # What is not at a place for schemas has not been looked at yet.
            _check_standard(target, ref)


def _check_patterns(members: Iterable[tuple[str, Any]]) -> None:
    written = {value for name, value in members if name == "pattern" and isinstance(value, str)}
    for name, value in members:
        if name == "patternProperties" and isinstance(value, dict):
            written.update(value)
    room = PATTERNS_WEIGHT_MAX
    for pattern in sorted(written):
        try:
            room -= patterns.weight(pattern)
            if room < 0:
                raise ValueError("it is too large, or all patterns together are")
            patterns.matches(pattern, "")
        except ValueError as error:
            raise ValueError(f"the pattern {_short(repr(pattern))}: {error}") from None


_OWN_DEFINITION = re.compile(r"#(/(\$defs|definitions)/[^/%]*)?")

_OWN_NAME = "https://metaschema.invalid/"


@cache
def _metaschemas() -> Any:
    """The metaschemas, under names of our own: one that jsonschema knows by its name is checked by a class of its own,
    which counts no work.
    """
    from jsonschema_specifications import REGISTRY
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    known = DIALECT.removesuffix("schema")
    renamed = (
        (uri.replace(known, _OWN_NAME), json.loads(json.dumps(REGISTRY.contents(uri)).replace(known, _OWN_NAME)))
        for uri in REGISTRY
        if uri.startswith(known)
    )
    return Registry().with_resources((uri, DRAFT202012.create_resource(contents)) for uri, contents in renamed)


@cache
def _validator() -> Any:
    """jsonschema's class for 2020-12, with keywords that count their work."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    keywords: dict[str, Keyword] = {
        **Draft202012Validator.VALIDATORS,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    return extend(Draft202012Validator, {name: _counted(name, keyword) for name, keyword in keywords.items()})


def _counted(name: str, keyword: Keyword) -> Keyword:
    size = _size if name in ("const", "enum", "uniqueItems") else _breadth

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        work = _work.get()
        work.depth += 1
        try:
            work.spend(1 + size(value) + size(instance))
            for error in keyword(validator, value, instance, schema) or ():
                work.spend(len(error.message) // TEXT_PER_STEP)
                yield error
        finally:
            work.depth -= 1

    return counted


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield _error(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, of: dict[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
    for pattern, subschema in of.items() if isinstance(instance, dict) else ():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, subschema: Any, instance: Any, schema: Any) -> Iterator[Any]:
    for name, value in instance.items() if isinstance(instance, dict) else ():
        expected = name in schema.get("properties", ())
        if expected or any(_matches(pattern, name) for pattern in schema.get("patternProperties", ())):
            continue
        if subschema is False:
            yield _error(f"{name!r} is not a property of it")
        else:
            yield from validator.descend(value, subschema, path=name)


def _unique_items(validator: Any, unique: bool, instance: Any, schema: Any) -> Iterator[Any]:
    if unique and isinstance(instance, list) and len(set(map(_hashable, instance))) < len(instance):
        yield _error(f"{instance!r} has non-unique elements")


def _matches(pattern: str, text: str) -> bool:
    _work.get().spend(1 + patterns.weight(pattern) * len(text) // MATCHING_PER_STEP)
    return patterns.matches(pattern, text)


def _error(message: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message)


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of all objects within a value."""
    if isinstance(value, dict):
        yield from value.items()
    for inner in _inner(value):
        yield from _members(inner)


def _inner(value: Any) -> Iterable[Any]:
    """What a list or an object holds."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _breadth(value: Any) -> int:
    return len(value) if isinstance(value, (dict, list)) else 0


def _size(value: Any) -> int:
    """How many values a value is made of."""
    return 1 + sum(map(_size, _inner(value)))


def _hashable(value: Any) -> Any:
    """Equal for equal JSON values: 1 is 1.0, but not true."""
    if isinstance(value, dict):
        return frozenset((name, _hashable(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return (bool, value) if isinstance(value, bool) else value


def _place(root: str, error: Any) -> str:
    """Where an error is: "run_input.rows[2]['the name']"."""
    steps = (
        f"[{step}]" if isinstance(step, int) else f".{step}" if step.isidentifier() else f"[{_short(repr(step))}]"
        for step in error.absolute_path
    )
    return (root + "".join(steps)).removeprefix(".")


def _short(text: str) -> str:
    """A text without its middle when it is long: both ends of a message say what it is about."""
    half = MESSAGE_LENGTH_MAX // 2
    return text if len(text) <= 2 * half else f"{text[:half]} … {text[-half:]}"
