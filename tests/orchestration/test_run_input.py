"""Schemas and inputs as they arrive: what is refused before anything is decided, and with which words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from playhead.engine.orchestration import patterns
from playhead.engine.orchestration.json_schema import DIALECT, PATTERNS_WEIGHT_MAX
from playhead.engine.orchestration.misfits import WORDS
from playhead.engine.orchestration.run_input import check_input, check_schema, misfits
from playhead.exceptions import BadRequest, TooLarge


def nested(levels: int) -> object:
    """Lists inside each other."""
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff{}", "not JSON"),
        ("{}".encode("utf-16"), "not JSON"),
        (b"[1, NaN]", "NaN is no number of JSON"),
        (b"-Infinity", "Infinity is no number of JSON"),
        (b"1e999", "1e999 is no number of JSON"),
        (b"1" * 301, "more than 300 digits"),
        (rb'"\ud800"', "surrogates"),
        (rb'{"\ud800": 1}', "surrogates"),
        (json.dumps(nested(33)).encode(), "nested more than 32 deep"),
        (b"[" * 30_000 + b"]" * 30_000, "nested more than 32 deep"),
    ],
)
def test_what_is_no_json_is_refused(data: bytes, said: str) -> None:
    for check in (check_input, check_schema):
        with pytest.raises(BadRequest, match=said) as caught:
            check(data, "run_input")
        assert caught.value.field == "run_input"


def test_what_is_json_is_taken_up_to_the_bounds() -> None:
    for value in (None, True, 0, -1.5e300, "é\u0000", nested(32), {"a": {"b": []}}, 10**299):
        check_input(json.dumps(value).encode(), "run_input")
    check_input(b'"' + b"x" * 65_534 + b'"', "run_input")
    with pytest.raises(TooLarge):
        check_input(b'"' + b"x" * 65_535 + b'"', "run_input")


SCHEMAS = [
    ([], "a JSON object"),
    (True, "a JSON object"),
    (
        {"type": "intt"},
        r'against: type: "intt" is not one of \["array", .*"string"\], and is not of type "array"$',
    ),
    ({"type": "integer", "minimum": "1"}, 'minimum: "1" is not of type "number"'),
    ({"properties": {"age": {"type": 5}}}, r"properties\.age\.type: 5 is not one of"),
    ({"items": {"enum": 3}}, r'items\.enum: 3 is not of type "array"'),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, "must be https://json-schema.org/draft/2020-12/schema"),
    ({"properties": {"a": {"$schema": DIALECT}}}, r"properties\.a\.\$schema: is for the top of a schema only"),
    ({"items": {"$id": "other"}}, r"items\.\$id: is for the top of a schema only"),
    ({"$ref": "#/a/0/b", "a": [{"b": {"$id": "x"}}]}, r"#/a/0/b\.\$id: is for the top of a schema only"),
    ({"contentSchema": {"$id": "other"}}, "top of a schema only"),
    ({"$ref": "https://example.com/schema.json"}, "points out of the schema"),
    ({"$ref": "other.json#/a"}, "points out of the schema"),
    ({"$ref": DIALECT}, "points out of the schema"),
    ({"items": {"$dynamicRef": "file:///etc/passwd"}}, r"items\.\$dynamicRef: points out of the schema"),
    ({"properties": {"a b": {"$ref": "#/$defs/none"}}}, r'properties\["a b"\]\.\$ref: points nowhere: "#/\$defs/none"'),
    ({"$ref": "#"}, "at its top: refers to itself for ever"),
    ({"$ref": "#/a", "a": {"anyOf": [{"type": "null"}, {"$ref": "#/a"}]}}, "refers to itself for ever"),
    ({"items": {"not": {"$ref": "#here", "$anchor": "here"}}}, r"items\.not: refers to itself for ever"),
    ({"$ref": "#/enum/0", "enum": [{"pattern": "("}]}, r'#/enum/0\.pattern: the pattern "\(": unclosed group'),
    ({"$ref": "#none"}, "points nowhere"),
    ({"$ref": "#/enum/x", "enum": [1]}, "points nowhere"),
    ({"$ref": "#/title/x", "title": "t"}, "points nowhere"),
    ({"$ref": "#/enum/0", "enum": [{"type": "intt"}]}, '#/enum/0.type: "intt" is not one of'),
    ({"$ref": "#/enum/0", "enum": ["string"]}, '#/enum/0: "string" is not of type "object" or "boolean"'),
    ({"$ref": "#/$defs/a%2Fenum%2F0", "$defs": {"a": {"enum": [{"type": 5}]}}}, "type: 5 is not one of"),
    ({"unevaluatedProperties": False}, "not supported"),
    ({"items": {"unevaluatedItems": False}}, r"items\.unevaluatedItems: is not supported"),
    ({"maxItems": None}, 'maxItems: null is not of type "integer"'),
    ({"multipleOf": 0}, "multipleOf: 0 is not greater than 0"),
    ({"required": ["a", "a"]}, r'required: \["a", "a"\] has equal items'),
    ({"pattern": "(a"}, "unclosed group"),
    ({"pattern": "(?=a)"}, "lookaround"),
    ({"pattern": "(?<!a)b"}, "lookaround"),
    ({"pattern": "(?i)a"}, "flags"),
    ({"pattern": r"(a)\1"}, "backreferences"),
    ({"pattern": "[a[b]]"}, "bracket within a class"),
    ({"pattern": "[]a]"}, "bracket within a class"),
    ({"patternProperties": {"(?=a)": {}}}, "lookaround"),
    ({"pattern": "(a{1000}){1000}"}, "too large"),
    ({"properties": {f"p{n}": {"pattern": f"a{{{900 + n}}}"} for n in range(60)}}, "too large"),
    ({"properties": {f"p{n}": {"items": {"type": "string"}} for n in range(1_500)}}, "too much work"),
]


@pytest.mark.parametrize(("schema", "said"), SCHEMAS, ids=[f"{schema!s:.40}" for schema, _ in SCHEMAS])
def test_a_schema_that_nothing_can_be_checked_against_is_refused(schema: object, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        check_schema(json.dumps(schema).encode(), "run_input_schema")
    assert caught.value.field == "run_input_schema"
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({}, 1, None),
        ({"$schema": DIALECT, "$id": "https://example.com/mine", "type": "null"}, None, 1),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, 1, "1"),
        ({"$ref": "#here", "$defs": {"n": {"$anchor": "here", "type": "integer"}}}, 1, "1"),
        ({"$ref": "#/properties/a", "properties": {"a": {"maxProperties": 1}}}, {"b": 1}, {"b": 1, "c": 2}),
        ({"properties": {"rows": {"items": {"$ref": "#"}}}, "required": ["rows"]}, {"rows": [{"rows": []}]}, {}),
        ({"patternProperties": {"^x_": {"type": "integer"}}}, {"x_a": 1, "a": "b"}, {"x_a": "b"}),
        (
            {"properties": {"a": {}}, "patternProperties": {"^x_": {}}, "additionalProperties": False},
            {"a": 1, "x_": 1},
            {"b": 1},
        ),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "1"}),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": 1}], [{"a": [1]}, {"a": [1.0]}]),
        ({"uniqueItems": False}, [1, 1], None),
        ({"pattern": r"^\d{4}-\d\d$"}, "2026-01", "٢026-01"),
        ({"pattern": r"^[\w.]+@\w+$"}, "a.b@c", "a b@c"),
        ({"pattern": r"^\p{Lu}"}, "Éa", "éa"),
        ({"pattern": "b"}, 5, "a"),
        ({"format": "date"}, "no date, and nobody says so", None),
        ({"properties": {"pattern": {"const": "("}, "$ref": {"const": 1}}}, {"pattern": "("}, {"pattern": ")"}),
        ({"enum": [{"pattern": "("}, {"$ref": "#/none"}, {"$id": "x"}]}, {"pattern": "("}, {"pattern": ")"}),
        ({"$defs": {"list": {"items": {"$ref": "#/$defs/list"}}}, "$ref": "#/$defs/list"}, [[[]]], None),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1, "b": 2}, {"a": 1}),
    ],
)
def test_a_schema_decides_as_the_standard_has_it(schema: object, fits: object, does_not: object) -> None:
    data = json.dumps(schema).encode()
    check_schema(data, "run_input_schema")
    assert misfits(data, json.dumps(fits).encode()) == []
    if does_not is not None:
        assert misfits(data, json.dumps(does_not).encode()) != []


def test_places_are_written_as_they_would_be_in_javascript() -> None:
    schema = {"additionalProperties": {"items": {"additionalProperties": {"type": "null"}}}}
    told = misfits(json.dumps(schema).encode(), b'{"rows": [{}, {"a b": 1}], "x": [{"y": 2}]}')
    assert told == [
        'run_input.rows[1]["a b"]: 1 is not of type "null"',
        'run_input.x[0].y: 2 is not of type "null"',
    ]


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"type": "object"}, None, 'null is not of type "object"'),
        ({"type": ["integer", "null"]}, True, 'true is not of type "integer" or "null"'),
        ({"const": None}, "a", '"a" is not null'),
        ({"enum": [None, True, "b"]}, {"é": False}, '{"é": false} is not one of [null, true, "b"]'),
        ({"not": {"const": True}}, True, 'true fits the schema that it must not fit: {"const": true}'),
        ({"anyOf": [{"type": "null"}, {"items": False}]}, [1], '[1] is not of type "null", and has more items than 0'),
        (
            {"anyOf": [{"type": "null"}, {"items": {"type": "null"}}, {"anyOf": [False]}]},
            [1],
            '[1] is not of type "null", and [0] is not of type "null", and does not fit "anyOf"',
        ),
        (
            {"oneOf": [{"type": "null"}, {"minLength": 2}]},
            "x",
            '"x" is not of type "null", and has fewer characters than 2',
        ),
        ({"oneOf": [{}, {}]}, None, 'null fits more than one of the schemas of "oneOf"'),
        ({"required": ["a", "b"]}, {"a": None}, '"b" is a required property'),
        ({"dependentRequired": {"a": ["b"]}}, {"a": None}, '"b" is required beside "a"'),
        ({"additionalProperties": False}, {"a": None}, '"a" is not a property of it'),
        ({"pattern": "a'b"}, 'c"', r'''"c\"" does not match "a'b"'''),
        ({"uniqueItems": True}, [True, True], "[true, true] has equal items"),
        ({"minimum": 1.5}, 1, "1 is less than 1.5"),
        ({"maximum": 1}, 2, "2 is greater than 1"),
        ({"exclusiveMinimum": 1}, 1, "1 is not greater than 1"),
        ({"exclusiveMaximum": 1}, 1, "1 is not less than 1"),
        ({"multipleOf": 2}, 3, "3 is not a multiple of 2"),
        ({"minLength": 2}, "a", '"a" has fewer characters than 2'),
        ({"maxLength": 1}, "ab", '"ab" has more characters than 1'),
        ({"minItems": 1}, [], "[] has fewer items than 1"),
        ({"maxItems": 0}, [None], "[null] has more items than 0"),
        ({"minProperties": 1}, {}, "{} has fewer properties than 1"),
        ({"maxProperties": 0}, {"a": None}, '{"a": null} has more properties than 0'),
        ({"prefixItems": [{}], "items": False}, [1, None], "[1, null] has more items than 1"),
        ({"contains": {"type": "null"}}, [1], '[1] has no item that fits {"type": "null"}'),
        ({"contains": {}, "minContains": 2}, [1], '[1] has fewer items that fit "contains" than 2'),
        ({"contains": {}, "maxContains": 1}, [1, 2], '[1, 2] has more items that fit "contains" than 1'),
        ({"properties": {"a": False}}, {"a": None}, "null is not allowed here"),
    ],
)
def test_a_misfit_is_told_in_jsons_words(schema: dict[str, object], value: object, said: str) -> None:
    (told,) = misfits(json.dumps(schema).encode(), json.dumps(value).encode())
    _, _, words = told.partition(": ")
    assert words == said


def test_every_keyword_that_a_value_can_miss_has_words() -> None:
    own = {"required", "dependentRequired", "additionalProperties"}
    leads_elsewhere = {"$ref", "$dynamicRef", "allOf", "dependentSchemas", "if", "patternProperties", "prefixItems"}
    leads_elsewhere |= {"properties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "format"}
    known = set(Draft202012Validator.VALIDATORS) | {"minContains", "maxContains"}
    assert set(WORDS) == known - own - leads_elsewhere


def test_a_long_value_is_not_told_whole() -> None:
    (told,) = misfits(b'{"type": "integer"}', json.dumps("x" * 60_000).encode())
    assert told.endswith('" is not of type "integer"')
    assert len(told) < 250


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|aa)+$", "(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_a_pattern_that_makes_pythons_engine_go_back_for_ever_is_answered(pattern: str) -> None:
    """Each of these takes Python's `re` longer than anybody waits."""
    assert not patterns.matches(pattern, "a" * 50_000 + "!")


def test_counted_repetition_is_written_out_in_the_weight() -> None:
    weight = patterns.weight
    assert weight("a{100}") - weight("a") == 99
    assert weight("(ab{10}){20}") - weight("") == 220
    assert weight("(ab{10})?{20}") >= 200
    assert weight("[a-z]{9}") - weight("") == 45
    assert weight(r"\p{L}{10}") - weight("") > 10 * patterns.CATEGORY_WEIGHT
    assert weight(r"\{100}") - weight("") < 10
    assert weight("a{1,}{3,50}") - weight("") == 50
    assert weight("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$") < PATTERNS_WEIGHT_MAX / 100


patterns_of_any_kind = st.text(st.sampled_from(r"ab()[]{}^$|*+?.\-,:<=!0123456789 pPLdDwWsSbB'é"), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-9, 9) | st.text("ab\\$#/", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=3),
    max_leaves=8,
)
keywords = {
    "type": st.sampled_from(["object", "array", "string", "integer", "number", "null", "nope", ["array", "null"]]),
    "$ref": st.sampled_from(["#", "#/$defs/a", "#/properties/a", "#/enum/0", "#/a/b/c", "#a", "x", "#/allOf/1", "#/%"]),
    "enum": st.lists(values, max_size=3),
    "const": values,
    "pattern": patterns_of_any_kind,
    "required": st.lists(st.sampled_from("ab"), max_size=2),
    "multipleOf": st.sampled_from([1, 0.1, 1e-300, 0, -1]),
    "minimum": st.integers(-5, 5),
    "uniqueItems": st.booleans(),
    "minContains": st.integers(0, 2),
    "$anchor": st.sampled_from(["a", "1"]),
    "$dynamicAnchor": st.sampled_from(["a", "b"]),
    "default": values,
}
one = ("items", "contains", "not", "if", "then", "else", "additionalProperties", "propertyNames")
several = ("allOf", "anyOf", "oneOf", "prefixItems")
named = ("properties", "$defs", "patternProperties", "dependentSchemas")
schemas: st.SearchStrategy[object] = st.recursive(
    st.fixed_dictionaries({}, optional=keywords) | st.booleans(),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            **keywords,
            **dict.fromkeys(one, inner),
            **dict.fromkeys(several, st.lists(inner, min_size=1, max_size=2)),
            **dict.fromkeys(named, st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
        },
    ),
    max_leaves=6,
)


@given(schemas, st.lists(values, max_size=4))
def test_whatever_passes_as_a_schema_can_be_checked_against(schema: object, instances: list[object]) -> None:
    data = json.dumps(schema).encode()
    try:
        check_schema(data, "run_input_schema")
    except BadRequest:
        return
    for instance in instances:
        told = misfits(data, json.dumps(instance).encode())
        assert all(text.startswith("run_input") or re.fullmatch(r"and \d+ more", text) for text in told)


@given(patterns_of_any_kind, st.text("ab0-é ", max_size=10))
def test_any_pattern_is_taken_or_refused(pattern: str, text: str) -> None:
    with suppress(ValueError):
        assert patterns.weight(pattern) >= patterns.LEAST_WEIGHT
        assert patterns.matches(pattern, text) in (True, False)


def test_what_a_decision_needs_is_loaded_when_the_input_arrives() -> None:
    program = (
        "import sys; from playhead.engine.orchestration.run_input import check_input, misfits;"
        "assert 'jsonschema' not in sys.modules; check_input(b'1', 'run_input'); before = set(sys.modules);"
        'misfits(b\'{"type": "string", "pattern": "a"}\', b\'"a"\'); print(sorted(set(sys.modules) - before))'
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert told == "[]\n"


def test_failures_come_in_the_same_order_in_every_process() -> None:
    program = (
        "from playhead.engine.orchestration.run_input import misfits;"
        'print(misfits(b\'{"additionalProperties": {"type": "null"}, "required": ["z"]}\','
        ' b\'{"b": 1, "a": 2, "d": 3, "c": 4}\'))'
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1
