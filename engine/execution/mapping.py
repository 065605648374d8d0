"""`.map`: from iterables of arguments to the arguments of each call.

future                       waited for; its result is looked at
unmapped, str, bytes, files  the same for every call
allow_failure, quote         mapped if what they wrap is iterable; every element is wrapped again
other iterables              one element for each call, all of the same length
defaults                     never mapped
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from playhead import v1
from playhead.engine.execution.inputs import lineage, result_of
from playhead.engine.execution.parameters import Signature
from playhead.exceptions import MappingLengthMismatch, MappingMissingIterable
from playhead.futures import PlayheadFuture
from playhead.states import State
from playhead.utilities.annotations import BaseAnnotation, allow_failure, quote, unmapped


def expand(
    signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, list[v1.TaskInput]]]:
    """The parameters of each call, and the runs that the mapped arguments came from.

    Waits for futures among the arguments. Raises `MappingMissingIterable`, `MappingLengthMismatch`, and
    `UpstreamTaskError` for a future that did not complete.
    """
    given = _without_defaults(signature, args, kwargs)
    inputs = {name: found for name, value in given.items() if (found := _origin(value))}
    values = {name: _resolved(value) for name, value in given.items()}
    iterable, static, annotations = _sort(values)
    length = _common_length(iterable, values)
    calls = []
    for index in range(length):
        parameters = {**static, **{name: items[index] for name, items in iterable.items()}}
        for name, annotation in annotations.items():
            parameters[name] = annotation.rewrap(parameters[name])
        calls.append(_as_call(signature, parameters))
    return calls, inputs


def is_iterable(value: object) -> bool:
    """Whether `.map` maps over it: not str, bytes, files."""
    if isinstance(value, (str, bytes, io.IOBase)):
        return False
    try:
        iter(value)  # type: ignore[call-overload]  # that is the question
    except TypeError:
        return False
    return True


def _sort(
    values: dict[str, Any],
) -> tuple[dict[str, list[Any]], dict[str, Any], dict[str, BaseAnnotation[Any]]]:
    iterable: dict[str, list[Any]] = {}
    static: dict[str, Any] = {}
    annotations: dict[str, BaseAnnotation[Any]] = {}
    for name, value in values.items():
        if isinstance(value, (allow_failure, quote)):
            annotations[name] = value
            value = value.unwrap()
        if isinstance(value, unmapped):
            static[name] = value.value
        elif is_iterable(value):
            iterable[name] = list(value)
        else:
            static[name] = value
    return iterable, static, annotations


def _common_length(iterable: Mapping[str, list[Any]], values: Mapping[str, Any]) -> int:
    if not iterable:
        raise MappingMissingIterable(
            "No iterable parameters were received. Parameters for map must include at least one iterable. "
            f"Parameters: {dict(values)}"
        )
    lengths = {name: len(items) for name, items in iterable.items()}
    if len(set(lengths.values())) > 1:
        raise MappingLengthMismatch(
            "Received iterable parameters with different lengths. Parameters for map must all be the same length. "
            f"Got lengths: {lengths}"
        )
    return next(iter(lengths.values()))


def _without_defaults(signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, by name, those of a **parameter among them."""
    given = signature.bind(args, kwargs)
    bound = set(signature.inspected.bind(*args, **kwargs).arguments)
    given = {name: value for name, value in given.items() if name in bound}
    variadic = signature.variadic_keyword
    if variadic and variadic in given:
        given.update(given.pop(variadic))
    return given


def _as_call(signature: Signature, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of one call: defaults added, those of a **parameter put back into it."""
    names = signature.inspected.parameters
    variadic = signature.variadic_keyword
    call = {name: parameters.get(name, signature.defaults.get(name)) for name in names if name != variadic}
    if variadic:
        call[variadic] = {name: value for name, value in parameters.items() if name not in names}
    return {name: call[name] for name in names if name in parameters or name in signature.defaults or name == variadic}


def _origin(value: Any) -> list[v1.TaskInput]:
    inner = value.unwrap() if isinstance(value, BaseAnnotation) else value
    return lineage(inner, lambda _: None) if isinstance(inner, (PlayheadFuture, State)) else []


def _resolved(value: Any) -> Any:
    inner = value.unwrap() if isinstance(value, BaseAnnotation) else value
    if isinstance(value, quote) or not isinstance(inner, (PlayheadFuture, State)):
        return value
    if isinstance(inner, PlayheadFuture):
        inner.wait()
    result = result_of(inner, isinstance(value, allow_failure))
    return value.rewrap(result) if isinstance(value, BaseAnnotation) else result
