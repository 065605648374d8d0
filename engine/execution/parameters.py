"""Parameters of flows and tasks: bound to a signature, validated, and kept with the run.

Kept with the run, a parameter is JSON where its annotation makes the same value of that JSON again; else an envelope,
{"__playhead__": "cloudpickle", "data": base64}, so that the run can be executed again in another process.
"""

from __future__ import annotations

import base64
import functools
import inspect
import json
import logging
import typing
from collections.abc import Callable, Mapping
from typing import Any

from playhead.engine.execution.references import FunctionReference
from playhead.exceptions import (
    CorruptResult,
    ParameterBindError,
    ParameterTypeError,
    ReservedArgumentError,
    SerializationError,
)
from playhead.serialization import JSON_DEPTH_MAX, is_json_exact, nested_deeper

ENVELOPE = "__playhead__"
RESERVED = frozenset({"return_state", "wait_for"})
PARAMETERS_BYTES_MAX = 524_288
CARRIED_BYTES_MAX = 4_096
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

logger = logging.getLogger("playhead.engine")


class Signature:
    """How a function is called, looked at once.

    Raises `ReservedArgumentError` when it has a parameter that calls need themselves.
    """

    def __init__(self, function: Callable[..., Any], kind: str) -> None:
        self.function = function
        self.inspected = inspect.signature(function)
        parameters = self.inspected.parameters
        for name in parameters:
            if name in RESERVED:
                raise ReservedArgumentError(
                    f"{name!r} is a reserved argument name and cannot be used in {kind} functions."
                )
        self.defaults = {n: p.default for n, p in parameters.items() if p.default is not inspect.Parameter.empty}
        kinds = {parameter.kind for parameter in parameters.values()}
        self._simple = kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        self._by_name = kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        self._names = tuple(parameters)
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_model": None, "function": FunctionReference(self.function)}

    @property
    def variadic_keyword(self) -> str | None:
        """The name of its **parameter."""
        for parameter in self.inspected.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                return parameter.name
        return None

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a call, defaults included. Raises `ParameterBindError`."""
        if self._simple and not kwargs and len(args) == len(self._names):
            return dict(zip(self._names, args, strict=True))
        try:
            bound = self.inspected.bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(self.function, "__name__", self.function)
            raise ParameterBindError(f"Error binding parameters for function {name!r}: {error}.") from error
        bound.apply_defaults()
        return dict(bound.arguments)

    def arguments(self, parameters: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The positional and the named arguments of a call with these parameters."""
        if self._by_name:
            return (), parameters
        bound = inspect.BoundArguments(self.inspected, parameters)  # type: ignore[arg-type]  # only read from
        return bound.args, bound.kwargs

    def validate(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters as their annotations want them. Raises `ParameterTypeError`."""
        if not self._has_annotations():
            return parameters
        return self._validated(parameters)

    def _has_annotations(self) -> bool:
        return any(p.annotation is not inspect.Parameter.empty for p in self.inspected.parameters.values())

    def _validated(self, parameters: dict[str, Any]) -> dict[str, Any]:
        import pydantic

        model = self._model = self._model or self._build_model()
        try:
            validated = model.model_validate(parameters)
        except pydantic.ValidationError as error:
            lines = [f" - {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            raise ParameterTypeError("\n".join(["Flow run received invalid parameters:", *lines])) from error
        values = {name: getattr(validated, f"p{index}") for index, name in enumerate(self._names)}
        return {name: values.get(name, value) for name, value in parameters.items()}

    def _build_model(self) -> Any:
        """A pydantic model with a field for each parameter.

        Its own names are p0, p1, …, so that any name is allowed.
        """
        import pydantic

        hints = type_hints(self.function)
        fields: dict[str, Any] = {}
        for index, (name, parameter) in enumerate(self.inspected.parameters.items()):
            annotation = hints.get(name, Any)
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                annotation = tuple[annotation, ...]  # type: ignore[valid-type]  # made at run time
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                annotation = dict[str, annotation]  # type: ignore[valid-type]  # made at run time
            fields[f"p{index}"] = (annotation, pydantic.Field(default=None, alias=name))
        config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        return pydantic.create_model("Parameters", __config__=config, **fields)


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, resolved; those of a function whose names can not be resolved are left out."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    function = inspect.unwrap(getattr(function, "__func__", function))
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        logger.warning("The annotations of %r can not be resolved: it is not validated. %s", function, error)
        return {}


def parameters_to_json(parameters: Mapping[str, Any], signature: Signature) -> bytes:
    """The JSON object that is kept with the run. What can not be serialized at all is left out, with a warning."""
    kept = {}
    for name, value in parameters.items():
        try:
            kept[name] = value if _is_plain(value) else _envelope(name, value, signature)
        except SerializationError as error:
            logger.warning("Parameter %r is not kept with the run, which can not be executed again: %s", name, error)
    data = json.dumps(kept, separators=(",", ":")).encode()
    if len(data) <= PARAMETERS_BYTES_MAX or not kept:
        return data
    return json.dumps({name: _outside(value) for name, value in kept.items()}).encode()


def jsonable(parameters: Mapping[str, Any], flow_name: str) -> dict[str, Any]:
    """The parameters as values that JSON knows, for people and other programs. Others are left out, and logged."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    plain = {}
    for name, value in parameters.items():
        try:
            plain[name] = to_jsonable_python(value)
        except (PydanticSerializationError, ValueError):
            logger.debug(
                "Parameter %r for flow %r is of unserializable type %r and is left out.",
                name,
                flow_name,
                type(value).__name__,
            )
    return plain


def parameters_from_json(data: bytes) -> dict[str, Any]:
    """The parameters kept with a run. Raises `CorruptResult` for what is no JSON object, as older journals may hold,
    and for an envelope that can not be opened.
    """
    try:
        parameters = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise CorruptResult(f"The parameters that were recorded with the run can not be read: {error}") from None
    if not isinstance(parameters, dict):
        raise CorruptResult("The parameters that were recorded with the run are no JSON object.")
    return opened(parameters)


def exact_json(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as JSON values of which `opened` makes the same again, with no annotations at hand.

    Together they take little more than 4 KiB: what is larger is kept in result storage. Raises `SerializationError`.
    """
    kept = {name: value if _is_plain(value) else _pickled(value) for name, value in parameters.items()}
    if len(json.dumps(kept)) <= CARRIED_BYTES_MAX:
        return kept
    return {name: _outside(value) for name, value in kept.items()}


def opened(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters out of their envelopes. Raises `CorruptResult` for one that can not be opened."""
    return {name: _open(value) for name, value in parameters.items()}


def _is_plain(value: Any) -> bool:
    return is_json_exact(value) and not (isinstance(value, dict) and ENVELOPE in value)


def _envelope(name: str, value: Any, signature: Signature) -> Any:
    plain = _as_annotated_json(name, value, signature)
    return _pickled(value) if plain is None else plain


def _pickled(value: Any) -> dict[str, Any]:
    from playhead.serialization import PICKLE, pickle_dumps

    return {ENVELOPE: PICKLE, "data": base64.b64encode(pickle_dumps(value)).decode()}


def _as_annotated_json(name: str, value: Any, signature: Signature) -> Any:
    """JSON of which the annotation makes an equal value of the same type; None when there is none."""
    annotation = type_hints(signature.function).get(name)
    parameter = signature.inspected.parameters.get(name)
    if annotation is None or annotation is Any or parameter is None or parameter.kind in _VARIADIC:
        return None
    import pydantic

    try:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(annotation)
        plain = adapter.dump_python(value, mode="json", warnings="error")
        if nested_deeper(plain, JSON_DEPTH_MAX):
            return None
        again = adapter.validate_python(json.loads(json.dumps(plain, allow_nan=False)))
        return plain if type(again) is type(value) and bool(again == value) else None
    except Exception:  # whatever a user's type says to this: it is then pickled
        return None


def _outside(value: Any) -> Any:
    """A parameter too large for the run's record, kept in result storage."""
    data = json.dumps(value)
    if len(data) < 1_024:
        return value
    from playhead.results import ResultStore

    return {ENVELOPE: "result", "data": base64.b64encode(ResultStore().store(value).SerializeToString()).decode()}


def _open(value: Any) -> Any:
    if not isinstance(value, dict) or ENVELOPE not in value:
        return value
    from playhead import v1
    from playhead.serializers import loads
    from playhead.stored_results import read_bytes

    data = base64.b64decode(value["data"])
    if value[ENVELOPE] != "result":
        return loads(data, value[ENVELOPE])
    result = v1.Result.FromString(data)
    return _open(loads(read_bytes(result), result.media_type))
