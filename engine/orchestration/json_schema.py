"""JSON Schema (2020-12), for schemas and values that other people wrote.

The library jsonschema decides. Around it stands what a schema must not do to the thread that checks:

    hang        work is counted, in keywords and in what each of them looks at, and ends at a bound: a count and not a
                clock, so that a decision is the same whenever and wherever it is made again
    go deep     keywords inside keywords end at `DEPTH_MAX`, far below the interpreter's own limit; a schema that refers
                to itself for ever is refused
    reach out   "$ref" points within the schema, and nothing is ever fetched
    backtrack   patterns are not those of Python's `re`: see `patterns`

Left out of the standard are "unevaluatedItems" and "unevaluatedProperties", "$id" and "$schema" but at the top, and
patterns with lookaround or backreferences. "format" is a remark, as it is by default.

jsonschema is loaded when the first schema is met, or the first input for one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Any

from playhead.engine.orchestration import patterns
from playhead.engine.orchestration.misfits import place_of, short, shown, told

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
    """Raise ValueError, with the keyword's place and what is wrong there, unless values can be checked against it."""
    _work.set(Work(SCHEMA_WORK_MAX))
    if schema.get("$schema", DIALECT) != DIALECT:
        raise ValueError(f"$schema: must be {DIALECT}")
    _check_standard(schema, "")
    parts = _Parts(_nameless(schema))
    _check_patterns(parts)
    _check_ends(parts)


def failures(schema: dict[str, Any], value: Any, root: str) -> list[str]:
    """Why a value does not fit a schema that was checked, each with its place below `root`; none when it fits.

    At most `FAILURES_MAX`, and then how many more there are: always the same in the same order.
    """
    from referencing.jsonschema import EMPTY_REGISTRY

    _work.set(Work(VALUE_WORK_MAX))
    try:
        errors = list(_validator()(_nameless(schema), registry=EMPTY_REGISTRY).iter_errors(value))
    except TooMuchWork as error:
        return [f"{root}: {error} against its schema"]
    found = [f"{place_of(root, error.absolute_path)}: {told(error)}" for error in errors[:FAILURES_MAX]]
    more = len(errors) - FAILURES_MAX
    return found if more <= 0 else [*found, f"and {more} more"]


class _Parts:
    """All schemas that a schema is made of: those within it, and what its references lead to, wherever that stands.

    Each was checked by the standard. Raises ValueError for a name, and for a reference that leads to no schema.
    """

    def __init__(self, root: dict[str, Any]) -> None:
        self.places: dict[int, str] = {}
        self.schemas: dict[int, dict[str, Any]] = {}
        self.targets: dict[str, Any] = {}
        self._references: list[tuple[str, str, str]] = []
        self._lookup = _resolver_of(root).lookup
        self._walk(root, "")
        for reference in self._references:  # which grow in number as they are followed
            self._follow(*reference)

    def _walk(self, part: Any, place: str) -> None:
        if not isinstance(part, dict) or id(part) in self.schemas:
            return
        _work.get().spend(1)
        self.schemas[id(part)], self.places[id(part)] = part, place
        for name in sorted(_TOP_ONLY.intersection(part)):
            raise ValueError(f"{place_of(place, [name])}: is for the top of a schema only")
        for name in sorted(_NOT_SUPPORTED.intersection(part)):
            raise ValueError(f"{place_of(place, [name])}: is not supported")
        self._references += ((place, name, part[name]) for name in _REFERENCES if name in part)
        for steps, inner in _within(part):
            self._walk(inner, place_of(place, steps))

    def _follow(self, place: str, name: str, reference: str) -> None:
        from referencing.exceptions import Unresolvable

        place = place_of(place, [name])
        if not reference.startswith("#"):
            raise ValueError(f"{place}: points out of the schema: {short(shown(reference))}")
        if reference in self.targets:
            return
        _work.get().spend(1)
        try:
            target = self._lookup(reference).contents
        except (Unresolvable, ValueError, TypeError, LookupError):
            raise ValueError(f"{place}: points nowhere: {short(shown(reference))}") from None
        self.targets[reference] = target
        if id(target) not in self.schemas:
            # What is not at a place for schemas has not been looked at yet.
            _check_standard(target, short(reference))
            self._walk(target, short(reference))


def _check_patterns(parts: _Parts) -> None:
    room, seen = PATTERNS_WEIGHT_MAX, set[str]()
    for number, part in parts.schemas.items():
        for name, pattern in _patterns_of(part):
            if pattern in seen:
                continue
            seen.add(pattern)
            try:
                room -= patterns.weight(pattern)
                if room < 0:
                    raise ValueError("it is too large, or all patterns together are")
                patterns.matches(pattern, "")
            except ValueError as error:
                place = place_of(parts.places[number], [name])
                raise ValueError(f"{place}: the pattern {short(shown(pattern))}: {error}") from None


def _patterns_of(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "pattern" in part:
        yield "pattern", part["pattern"]
    for pattern in part.get("patternProperties", ()):
        yield "patternProperties", pattern


def _check_ends(parts: _Parts) -> None:
    """Refuse a schema that asks of a value what it asks of the same value: nothing could ever be checked against it."""
    asks: dict[int, list[int]] = {}
    for number, part in parts.schemas.items():
        same = [inner for steps, inner in _within(part) if steps[0] in _OF_THE_SAME_VALUE]
        same += [parts.targets[part[name]] for name in _REFERENCES if name in part]
        asks[number] = [id(inner) for inner in same if isinstance(inner, dict)]
    try:
        TopologicalSorter(asks).prepare()
    except CycleError as error:
        raise ValueError(f"{parts.places[error.args[1][0]] or 'at its top'}: refers to itself for ever") from None


_ONE = ("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_REFERENCES = ("$ref", "$dynamicRef")

_OF_THE_SAME_VALUE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
"""Keywords that hold schemas of the value itself, not of what is in it."""

_TOP_ONLY = frozenset({"$id", "$schema"})

_NOT_SUPPORTED = frozenset({"unevaluatedItems", "unevaluatedProperties"})
"""jsonschema answers these with searches of its own, whose work could not be counted."""


def _within(schema: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The schemas directly within one, and the way to each."""
    for name in _ONE:
        if name in schema:
            yield (name,), schema[name]
    for name in _SEVERAL:
        for index, inner in enumerate(schema.get(name, ())):
            yield (name, index), inner
    for name in _NAMED:
        for key, inner in schema.get(name, {}).items():
            yield (name, key), inner


def _nameless(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without a name that others could know it by, jsonschema included: nothing outside refers to it."""
    return {name: value for name, value in schema.items() if name not in _TOP_ONLY}


def _check_standard(schema: Any, place: str) -> None:
    """Refuse what the metaschema refuses."""
    registry = _metaschemas()
    for error in _validator()(registry.contents(_OWN_NAME + "schema"), registry=registry).iter_errors(schema):
        raise ValueError(f"{place_of(place, error.absolute_path) or 'at its top'}: {told(error)}")


def _resolver_of(schema: dict[str, Any]) -> Any:
    """What finds the target of a reference within a schema."""
    from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY

    return EMPTY_REGISTRY.resolver_with_root(DRAFT202012.create_resource(schema))


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
        "required": _required,
        "dependentRequired": _dependent_required,
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
        yield _error("pattern")


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
            yield _error(f"{short(shown(name))} is not a property of it")
        else:
            yield from validator.descend(value, subschema, path=name)


def _unique_items(validator: Any, unique: bool, instance: Any, schema: Any) -> Iterator[Any]:
    if unique and isinstance(instance, list) and len(set(map(_hashable, instance))) < len(instance):
        yield _error("uniqueItems")


def _required(validator: Any, names: list[str], instance: Any, schema: Any) -> Iterator[Any]:
    for name in names if isinstance(instance, dict) else ():
        if name not in instance:
            yield _error(f"{short(shown(name))} is a required property")


def _dependent_required(validator: Any, of: dict[str, list[str]], instance: Any, schema: Any) -> Iterator[Any]:
    for name in instance if isinstance(instance, dict) else ():
        for needed in of.get(name, ()):
            if needed not in instance:
                yield _error(f"{short(shown(needed))} is required beside {short(shown(name))}")


def _matches(pattern: str, text: str) -> bool:
    _work.get().spend(1 + patterns.weight(pattern) * len(text) // MATCHING_PER_STEP)
    return patterns.matches(pattern, text)


def _error(message: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message)


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
