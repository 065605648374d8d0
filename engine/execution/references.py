"""How flows and tasks are pickled: by their module's name and their own, or else with their functions.

A function that a decorator has replaced in its module is found through what replaced it. What is in `__main__`, inside
of a function, made by `with_options`, or in a module that cloudpickle was told to take by value is pickled as a whole.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import MethodType
from typing import Any

Place = tuple[str, str]


def place_of(found: Any) -> Place | None:
    """The module and the name in it where another process finds this flow or task; None when there is none."""
    place = _place(found)
    return place if place is not None and _look_up(*place) is found else None


def reduced(decorated: Any) -> tuple[Any, ...]:
    """What `__reduce__` of a flow or task gives."""
    place = place_of(decorated)
    if place is not None:
        return at, place
    state = {**vars(decorated), "fn": FunctionReference(decorated.fn), "__wrapped__": FunctionReference(decorated.fn)}
    return _new, (type(decorated),), state


def copied(decorated: Any) -> Any:
    """What `__copy__` of a flow or task gives: another one, wherever the first is found."""
    new = _new(type(decorated))
    new.__dict__.update(vars(decorated))
    return new


def at(module: str, name: str) -> Any:
    """What is at a place."""
    import_module(module)
    found = _look_up(module, name)
    if found is None:
        raise AttributeError(f"The module {module!r} has no {name!r} in this process.")
    return found


class FunctionReference:
    """A function, pickled by the place of the flow or task that was made of it, if it has one."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        place = _place(self.function)
        if place is not None and getattr(_look_up(*place), "fn", None) is self.function:
            return _function_at, place
        if isinstance(self.function, MethodType):
            return MethodType, (FunctionReference(self.function.__func__), self.function.__self__)
        return _itself, (self.function,)


def _place(found: Any) -> Place | None:
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if not module or not name or module == "__main__" or "<" in name or _is_taken_by_value(module):
        return None
    return module, name


def _is_taken_by_value(module: str) -> bool:
    import cloudpickle

    parts = module.split(".")
    names = cloudpickle.list_registry_pickle_by_value()
    return any(".".join(parts[: length + 1]) in names for length in range(len(parts)))


def _look_up(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _function_at(module: str, name: str) -> Any:
    return at(module, name).fn


def _new(kind: Any) -> Any:
    return kind.__new__(kind)


def _itself(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
