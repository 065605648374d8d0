"""Annotations: marks on arguments, alone and in calls."""

from __future__ import annotations

from typing import Any

import pytest

from playhead import allow_failure, flow, opaque, quote, task, unmapped
from playhead.exceptions import UpstreamTaskError
from playhead.utilities.annotations import BaseAnnotation, NotSet, Quote, freeze
from tests.sdk.conftest import Service

ALL: list[type[BaseAnnotation[Any]]] = [unmapped, allow_failure, quote, opaque, freeze]


@pytest.mark.parametrize("mark", ALL)
def test_a_mark_is_put_on_and_taken_off(mark: type[BaseAnnotation[Any]]) -> None:
    marked = mark([1])
    assert marked.value == marked.unwrap() == [1]
    assert type(marked.rewrap(2)) is mark
    assert marked.rewrap(2).value == 2
    assert marked == mark([1]) != mark([2])
    assert repr(marked) == f"{mark.__name__}([1])"
    assert mark(1) in {mark(1)}
    assert marked != [1]


def test_marks_of_their_own_kind() -> None:
    assert unmapped("x")[7] == "x"
    assert quote("x").unquote() == freeze("x").unfreeze() == "x"
    assert Quote is quote
    assert NotSet is not None


@pytest.mark.parametrize("mark", [allow_failure, quote, opaque, freeze])
def test_functions_get_their_arguments_without_marks(service: Service, mark: type[BaseAnnotation[Any]]) -> None:
    @task
    def kind(value: object) -> str:
        return type(value).__name__

    @flow
    def inner(value: object) -> str:
        return type(value).__name__

    @flow
    def around() -> Any:
        return kind(mark([1])), kind.submit(mark([1])).result(), inner(mark([1]))

    assert around() == ("list", "list", "list")


def test_what_is_quoted_or_opaque_is_not_looked_into(service: Service) -> None:
    @task
    def one() -> int:
        return 1

    @task
    def look(value: Any) -> str:
        return type(value[0]).__name__

    @flow
    def around() -> Any:
        future = one.submit()
        future.wait()
        return look([future]), look(quote([future])), look(opaque([future]))

    assert around() == ("int", "PlayheadFuture", "PlayheadFuture")


def test_only_failures_of_what_is_upstream_are_allowed(service: Service) -> None:
    """`allow_failure` around a future is for that future, not for the call that gets it."""

    @task
    def fails(value: object) -> None:
        raise ValueError(f"with {type(value).__name__}")

    @task
    def after(value: object) -> str:
        return repr(value)

    @flow
    def around() -> Any:
        first = fails.submit(1)
        allowed = after.submit(allow_failure(first)).result()
        second = fails.submit(allow_failure(first))
        held_back = after.submit(second).wait()
        assert held_back is not None
        mapped = after.map(allow_failure([first, first])).result()
        with pytest.raises(UpstreamTaskError):
            after.map(second)
        return allowed, held_back.name, mapped

    state = around(return_state=True)
    told = "ValueError('with int')"
    assert state.result() == (told, "NotReady", [told, told])


def test_a_call_may_fail_when_its_plain_argument_says_so(service: Service) -> None:
    @task
    def fails(value: int) -> None:
        raise ValueError(value)

    @task
    def after(value: object) -> str:
        return repr(value)

    @flow
    def around() -> None:
        assert after.submit(fails.submit(allow_failure(1))).result() == "ValueError(1)"

    assert around(return_state=True).is_completed()


def test_a_list_that_contains_itself_is_refused_with_the_way_out(embedded: Service) -> None:
    ring: list[Any] = [1]
    ring.append(ring)

    @task
    def length(items: Any) -> int:
        return len(items)

    @flow
    def ringing(kept: bool) -> int:
        return int(length(quote(ring) if kept else ring))

    with pytest.raises(ValueError, match=r"A list contains itself, .* pass it as quote"):
        ringing(False)
    assert ringing(True) == 2
