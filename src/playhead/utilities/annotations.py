"""Annotations: how an argument of a task or flow call is to be treated.

unmapped        the same value for every call of a `.map`
allow_failure   a failed upstream run is passed on as its exception instead of holding the call back; around plain
                values of a `.map` or `.submit`, the failures of the calls themselves are passed on in this way
quote           looked into by nobody: futures inside are not waited for
opaque          resolved, but collections inside are not looked through
freeze          a parameter of a deployment that people should not change; calls get the plain value
"""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class BaseAnnotation(Generic[T]):
    """A value with a mark. `value` and `unwrap()` give the value, `rewrap(other)` marks another one in the same way."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def unwrap(self) -> T:
        """The value without its mark."""
        return self.value

    def rewrap(self, value: Any) -> Self:
        """Another value with the same mark."""
        return type(self)(value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((type(self), self.value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class unmapped(BaseAnnotation[T]):
    """The same value for every call of a `.map`."""

    __slots__ = ()

    def __getitem__(self, _: object) -> T:
        return self.value


class allow_failure(BaseAnnotation[T]):
    """Pass a failed upstream run on as its exception, instead of not running the call at all.

    Around values that come from no run, as in `risky.map(allow_failure([1, 2]))`, it is for what comes after: calls
    that get these futures run, with the exception of one that failed, and the flow does not fail for it.
    """

    __slots__ = ()


class quote(BaseAnnotation[T]):
    """Pass the value as it is: futures and states inside are neither waited for nor resolved."""

    __slots__ = ()

    def unquote(self) -> T:
        """The value without its mark."""
        return self.value


class opaque(BaseAnnotation[T]):
    """Resolve the value itself, but do not look through the collections inside it, which may be large."""

    __slots__ = ()


class freeze(BaseAnnotation[T]):
    """A parameter of a deployment that people should not change when they start runs."""

    __slots__ = ()

    def unfreeze(self) -> T:
        """The value without its mark."""
        return self.value


Quote = quote
"""The same, by its older name."""


class NotSet:
    """Marks an option that was not given, where None is a choice."""
