"""Values to bytes and back.

application/json             values that JSON gives back exactly: None, str, bool, int, finite float, lists and dicts of
                             these
application/x-cloudpickle    everything else
application/vnd.playhead.exception+json   an exception: its type, message and traceback as text, and its pickle

How stored bytes are read again is said by their media type: see `playhead.serializers`.
"""

from __future__ import annotations

import base64
import json
import math
import traceback

from playhead.exceptions import SerializationError, UnreadableException

JSON = "application/json"
PICKLE = "application/x-cloudpickle"
EXCEPTION = "application/vnd.playhead.exception+json"
JSON_ITEMS_MAX = 10_000
JSON_DEPTH_MAX = 50
TRACEBACK_CHARACTERS_MAX = 20_000

_CONSTANTS: dict[object, bytes] = {None: b"null", True: b"true", False: b"false"}
_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def dump_exact(value: object) -> tuple[bytes, str]:
    """The bytes of a value, and their media type. Raises `SerializationError` when it can not be pickled."""
    if value is None or value is True or value is False:
        return _CONSTANTS[value], JSON
    if is_json_exact(value):
        try:
            return _encode_json(value).encode(), JSON
        except ValueError:
            # An int of more digits than Python writes, half a surrogate pair: a pickle holds them.
            return pickle_dumps(value), PICKLE
    return pickle_dumps(value), PICKLE


def is_json_exact(value: object) -> bool:
    """Whether JSON gives the value back exactly. Very large or deep values are not examined and answer False."""
    return _count_json(value, JSON_ITEMS_MAX, 0) > 0


def _count_json(value: object, budget: int, depth: int) -> int:
    """The budget of items that is left, or 0 when the value is not exact or the budget is spent."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return budget - 1
    if kind is float:
        return budget - 1 if math.isfinite(value) else 0  # type: ignore[arg-type]  # its type is float
    if depth >= JSON_DEPTH_MAX:
        return 0
    if kind is dict:
        if not all(type(key) is str for key in value):  # type: ignore[attr-defined]  # its type is dict
            return 0
        items = value.values()  # type: ignore[attr-defined]  # its type is dict
    elif kind is list:
        items = value
    else:
        return 0
    budget -= 1
    for item in items:
        budget = _count_json(item, budget, depth + 1)
        if budget <= 0:
            return 0
    return budget


def nested_deeper(value: object, levels: int) -> bool:
    """Whether more lists and objects of JSON than `levels` are inside each other."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(nested_deeper(each, levels - 1) for each in inner)


def pickle_dumps(value: object) -> bytes:
    """The pickle of a value. Raises `SerializationError`."""
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(value)
    except Exception as error:
        raise SerializationError(f"A value of type {type(value).__name__} can not be pickled: {error}") from error
    return data


def text_of_exception(error: BaseException) -> str:
    """What an exception says of itself, even when its own code for that fails."""
    try:
        return str(error)
    except Exception as failure:
        return f"(its message can not be told: {type(failure).__name__})"


def dump_exception(error: BaseException) -> bytes:
    """An exception as text and, if it can be, as a pickle."""
    text = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS_MAX:]
    fields = {"type": type(error).__name__, "message": text_of_exception(error), "traceback": text}
    try:
        fields["pickle"] = base64.b64encode(pickle_dumps(error)).decode()
    except SerializationError as refusal:
        fields["not_pickled"] = str(refusal)
    return json.dumps(fields).encode()


def load_exception(data: bytes) -> BaseException:
    """The exception, or, when it can not be made again, one that tells what it was."""
    fields: dict[str, str] = json.loads(data)
    if "pickle" in fields:
        import cloudpickle

        try:
            error = cloudpickle.loads(base64.b64decode(fields["pickle"]))
        except Exception:  # its class is gone or takes other arguments now: the text still tells what it was
            error = None
        if isinstance(error, BaseException):
            return error
    return UnreadableException(f"{fields['type']}: {fields['message']}", fields["type"], fields["traceback"])
