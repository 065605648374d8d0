"""Parameters kept with a run make the same call again in another process."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from playhead.engine.execution.parameters import (
    ENVELOPE,
    PARAMETERS_BYTES_MAX,
    Signature,
    parameters_from_json,
    parameters_to_json,
)
from playhead.exceptions import CorruptResult


class Model(pydantic.BaseModel):
    n: int
    day: dt.date


@dataclasses.dataclass
class Point:
    x: int
    y: int


def typed(day: dt.date, model: Model, path: Path, pair: tuple[int, int], untyped, n: int = 1) -> None:  # type: ignore[no-untyped-def]  # meant
    """A function of all kinds of parameters."""


def restored(function: Callable[..., Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """What another process calls the function with."""
    signature = Signature(function, "flow")
    return signature.validate(parameters_from_json(parameters_to_json(parameters, signature)))


def test_values_come_back_equal_and_of_the_same_type() -> None:
    parameters = {
        "day": dt.date(2024, 2, 29),
        "model": Model(n=1, day=dt.date(2024, 2, 29)),
        "path": Path("/tmp/x"),
        "pair": (1, 2),
        "untyped": {"a": (1, 2), 3: {4}},
        "n": 5,
    }
    again = restored(typed, parameters)
    assert again == parameters
    assert {name: type(value) for name, value in again.items()} == {n: type(v) for n, v in parameters.items()}


def test_what_the_annotation_understands_is_readable_json() -> None:
    signature = Signature(typed, "flow")
    kept = json.loads(parameters_to_json({"day": dt.date(2024, 2, 29), "pair": (1, 2), "untyped": (1,)}, signature))
    assert kept["day"] == "2024-02-29"
    assert kept["pair"] == [1, 2]
    assert kept["untyped"][ENVELOPE] == "application/x-cloudpickle"


@pytest.mark.parametrize("value", [{ENVELOPE: "mine"}, Point(1, 2), float("inf"), b"bytes", [1, [None]]], ids=repr)
def test_untyped_values_come_back_too(value: Any) -> None:
    assert restored(lambda untyped: None, {"untyped": value}) == {"untyped": value}


def test_values_that_are_nested_deep_come_back_whatever_their_annotation() -> None:
    def takes(tree: list[Any]) -> None:
        """A function."""

    tree: list[Any] = []
    for _ in range(80):
        tree = [tree]
    assert restored(takes, {"tree": tree}) == {"tree": tree}
    kept = json.loads(parameters_to_json({"tree": tree}, Signature(takes, "flow")))
    assert kept["tree"][ENVELOPE] == "application/x-cloudpickle"


def test_large_parameters_are_kept_in_result_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path))
    parameters = {"text": "x" * (PARAMETERS_BYTES_MAX + 1), "n": 1}
    signature = Signature(lambda text, n: None, "flow")
    data = parameters_to_json(parameters, signature)
    assert len(data) < 1_000
    assert parameters_from_json(data) == parameters


def test_what_can_not_be_serialized_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    import threading

    signature = Signature(lambda lock, n: None, "flow")
    data = parameters_to_json({"lock": threading.Lock(), "n": 1}, signature)
    assert parameters_from_json(data) == {"n": 1}
    assert "'lock' is not kept" in caplog.text


def test_binding_and_calling() -> None:
    def mixed(a: int, /, b: int, *more: int, c: int = 3, **rest: int) -> tuple[Any, ...]:
        return a, b, more, c, rest

    signature = Signature(mixed, "task")
    parameters = signature.bind((1, 2, 9, 8), {"d": 4})
    assert parameters == {"a": 1, "b": 2, "more": (9, 8), "c": 3, "rest": {"d": 4}}
    args, kwargs = signature.arguments(parameters)
    assert mixed(*args, **kwargs) == (1, 2, (9, 8), 3, {"d": 4})
    assert signature.validate({**parameters, "more": ("7",)})["more"] == (7,)


@pytest.mark.parametrize("data", [b"{", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_parameters_that_an_older_journal_holds_and_no_call_can_be_made_with_are_told(data: bytes) -> None:
    with pytest.raises(CorruptResult, match="The parameters that were recorded with the run"):
        parameters_from_json(data)
