"""Cache policies: which calls are the same, how policies add up, and that their keys are the same everywhere."""

from __future__ import annotations

import dataclasses
import enum
import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from playhead import task
from playhead.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    CachePolicy,
    CompoundCachePolicy,
    Inputs,
)
from playhead.exceptions import ConfigurationError, HashError
from playhead.locking.filesystem import FileSystemLockManager
from playhead.locking.memory import MemoryLockManager
from playhead.locking.protocol import IsolationLevel
from playhead.utilities.hashing import hash_objects, stable_hash


def context(function: Callable[..., Any] = lambda: None, flow_run: str = "F", task_run: str = "T") -> Any:
    """What a policy is told of a call."""
    return SimpleNamespace(task=task(function), task_run=SimpleNamespace(parent_run_id=flow_run, run_id=task_run))


def key(policy: CachePolicy, inputs: Any = None, parameters: Any = None, **of_context: Any) -> str | None:
    """The key of a call."""
    return policy.compute_key(context(**of_context), inputs, parameters)


def one() -> int:
    return 1


def two() -> int:
    return 2


class TestEachPolicy:
    def test_inputs(self) -> None:
        assert key(INPUTS, {"a": 1, "b": [2]}) == key(INPUTS, {"b": [2], "a": 1}, function=two, flow_run="other")
        assert (
            len({key(INPUTS, {name: value}) for name in "ab" for value in (1, 1.0, True, "1", None, (1,), [1])}) == 14
        )
        assert key(INPUTS, {}) is None is key(INPUTS)

    def test_task_source(self) -> None:
        assert key(TASK_SOURCE, {"a": 1}, function=one) == key(TASK_SOURCE, function=one)
        assert key(TASK_SOURCE, function=one) != key(TASK_SOURCE, function=two)
        assert TASK_SOURCE.compute_key(None, {}, {}) is None

    def test_task_source_without_source_text(self) -> None:
        def made(code: str) -> Any:
            names: dict[str, Any] = {}
            exec(code, names)
            return names["f"]

        sources = ["f = lambda: 1", "f = lambda: 2", "f = lambda: len(x)", "f = lambda: max(x)", "f = lambda: {1, 2}"]
        assert len({key(TASK_SOURCE, function=made(source)) for source in sources}) == len(sources)
        assert key(TASK_SOURCE, function=made(sources[0])) == key(TASK_SOURCE, function=made(sources[0]))

    def test_task_source_of_partials_and_callable_objects(self) -> None:
        class Callable1:
            def __call__(self) -> int:
                return 1

        class Callable2:
            def __call__(self) -> int:
                return 2

        functions = [functools.partial(one), functools.partial(two), Callable1(), Callable2()]
        assert len({key(TASK_SOURCE, function=function) for function in functions}) == 4

    def test_flow_parameters(self) -> None:
        assert key(FLOW_PARAMETERS, {"a": 1}, {"p": 1}) == key(FLOW_PARAMETERS, None, {"p": 1})
        assert key(FLOW_PARAMETERS, None, {"p": 1}) != key(FLOW_PARAMETERS, None, {"p": 2})
        assert key(FLOW_PARAMETERS, {"a": 1}, {}) is None

    def test_run_id(self) -> None:
        assert key(RUN_ID, flow_run="F") == "F"
        assert key(RUN_ID, flow_run="", task_run="T") == "T"
        assert RUN_ID.compute_key(None, {}, {}) is None

    def test_no_cache(self) -> None:
        assert NO_CACHE is NONE
        assert key(NO_CACHE, {"a": 1}, {"p": 1}) is None

    def test_a_key_function(self) -> None:
        policy = CachePolicy.from_cache_key_fn(lambda context, parameters: f"{context.task.name}/{parameters['a']}")
        assert isinstance(policy, CacheKeyFnPolicy)
        assert key(policy, {"a": 1}, function=one) == "one/1"
        assert key(CachePolicy.from_cache_key_fn(lambda context, parameters: None), {"a": 1}) is None

    def test_one_of_ones_own(self) -> None:
        class Monthly(CachePolicy):
            def compute_key(self, task_ctx: Any, inputs: Any, flow_parameters: Any, **kwargs: Any) -> str:
                return str(inputs["day"][:7])

        assert key(Monthly(), {"day": "2024-02-29"}) == "2024-02"
        assert key(Monthly() + INPUTS, {"day": "2024-02-29"}) not in (None, "2024-02")

    def test_a_policy_without_a_key_is_none(self) -> None:
        with pytest.raises(NotImplementedError):
            key(CachePolicy())


class TestArithmetic:
    def test_a_sum_asks_for_the_conditions_of_both(self) -> None:
        both = INPUTS + RUN_ID
        keys = {key(both, {"a": a}, flow_run=run) for a in (1, 2) for run in "FG"}
        assert len(keys) == 4

    def test_sums_are_flat(self) -> None:
        total = (INPUTS + TASK_SOURCE) + (RUN_ID + FLOW_PARAMETERS)
        assert isinstance(total, CompoundCachePolicy)
        assert total.policies == [INPUTS, TASK_SOURCE, RUN_ID, FLOW_PARAMETERS]
        assert DEFAULT == INPUTS + TASK_SOURCE + RUN_ID

    def test_what_gives_no_key_does_not_count(self) -> None:
        assert key(INPUTS + FLOW_PARAMETERS, {}, {}) is None
        assert key(INPUTS + FLOW_PARAMETERS, {"a": 1}, {}) is not None

    def test_no_cache_added_changes_nothing(self) -> None:
        assert INPUTS + NO_CACHE == INPUTS == NO_CACHE + INPUTS

    def test_only_policies_can_be_added(self) -> None:
        with pytest.raises(TypeError):
            INPUTS + "a"  # type: ignore[operator]  # what is refused

    def test_an_argument_can_be_left_out(self) -> None:
        less = INPUTS - "debug" - "verbose"
        assert less == Inputs(exclude=["debug", "verbose"])
        assert key(less, {"a": 1, "debug": 1, "verbose": 0}) == key(less, {"a": 1, "debug": 2})
        assert key(less, {"debug": 1}) is None
        assert Inputs() == INPUTS, "the constant is as it was"

    def test_also_of_a_sum(self) -> None:
        less = DEFAULT - "debug"
        assert key(less, {"a": 1, "debug": 1}) == key(less, {"a": 1, "debug": 2}) != key(less, {"a": 2})

    @pytest.mark.parametrize("policy", [TASK_SOURCE, RUN_ID, FLOW_PARAMETERS, NO_CACHE, TASK_SOURCE + RUN_ID])
    def test_where_there_are_no_inputs_nothing_changes(self, policy: CachePolicy) -> None:
        assert policy - "debug" == policy

    @pytest.mark.parametrize("policy", [INPUTS, RUN_ID, DEFAULT])
    def test_only_names_can_be_left_out(self, policy: CachePolicy) -> None:
        with pytest.raises(TypeError, match="Only names of arguments"):
            policy - 1  # type: ignore[operator]  # what is refused


class TestConfiguration:
    def test_gives_a_configured_copy(self, tmp_path: Path) -> None:
        locks = MemoryLockManager()
        policy = INPUTS.configure(key_storage=tmp_path).configure(
            lock_manager=locks, isolation_level=IsolationLevel.SERIALIZABLE
        )
        assert (policy.key_storage, policy.lock_manager) == (tmp_path, locks)
        assert policy.isolation_level is IsolationLevel.SERIALIZABLE
        assert INPUTS.key_storage is None
        assert key(policy, {"a": 1}) == key(INPUTS, {"a": 1})

    def test_a_sum_takes_over_what_either_says(self, tmp_path: Path) -> None:
        locks = MemoryLockManager()
        total = INPUTS.configure(key_storage=tmp_path) + RUN_ID.configure(lock_manager=locks) + TASK_SOURCE
        assert (total.key_storage, total.lock_manager) == (tmp_path, locks)
        assert (total - "a").key_storage == tmp_path

    @pytest.mark.parametrize(
        ("name", "one", "other"),
        [
            ("key_storage", "/a", "/b"),
            ("isolation_level", IsolationLevel.READ_COMMITTED, IsolationLevel.SERIALIZABLE),
            ("lock_manager", MemoryLockManager(), FileSystemLockManager("/a")),
        ],
    )
    def test_contradictions_are_refused(self, name: str, one: Any, other: Any) -> None:
        with pytest.raises(ValueError, match=f"different {name} can not be added"):
            INPUTS.configure(**{name: one}) + RUN_ID.configure(**{name: other})
        assert getattr(INPUTS.configure(**{name: one}) + RUN_ID.configure(**{name: one}), name) == one


class TestTaskOptions:
    def test_by_default_it_is_default(self) -> None:
        assert task(one).cache_policy is DEFAULT
        assert task(cache_policy=None)(one).cache_policy is None
        assert task(cache_policy=INPUTS)(one).cache_policy is INPUTS

    def test_a_storage_key_takes_its_place(self) -> None:
        assert task(result_storage_key="here")(one).cache_policy is None
        assert task(result_storage_key="here", cache_policy=INPUTS)(one).cache_policy is INPUTS

    def test_a_key_function_is_a_policy_and_wins_over_another(self, caplog: pytest.LogCaptureFixture) -> None:
        by_key = task(cache_key_fn=lambda context, parameters: "k")(one)
        assert isinstance(by_key.cache_policy, CacheKeyFnPolicy)
        assert not caplog.records
        both = task(cache_key_fn=lambda context, parameters: "k", cache_policy=INPUTS)(one)
        assert isinstance(both.cache_policy, CacheKeyFnPolicy)
        assert "has both a cache_policy and a cache_key_fn" in caplog.text

    def test_what_is_not_persisted_is_not_cached(self, caplog: pytest.LogCaptureFixture) -> None:
        assert task(persist_result=False)(one).cache_policy is NO_CACHE
        assert task(persist_result=False, cache_policy=NO_CACHE)(one).cache_policy is NO_CACHE
        assert not caplog.records
        assert task(persist_result=False, cache_policy=INPUTS)(one).cache_policy is NO_CACHE
        assert "does not use its cache_policy" in caplog.text

    def test_serializable_needs_a_lock_manager(self) -> None:
        policy = INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE)
        with pytest.raises(ConfigurationError, match=r"'one' is SERIALIZABLE and has no lock manager"):
            task(cache_policy=policy)(one)
        assert task(cache_policy=policy.configure(lock_manager=MemoryLockManager()))(one)

    def test_what_is_no_policy_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"cache_policy: expected one of playhead.cache_policies, got str"):
            task(cache_policy="INPUTS")(one)  # type: ignore[call-overload]  # what is refused

    def test_with_options(self) -> None:
        by_key = task(cache_key_fn=lambda context, parameters: "k")(one)
        assert by_key.with_options(cache_policy=INPUTS).cache_policy is INPUTS
        assert isinstance(by_key.with_options(name="other").cache_policy, CacheKeyFnPolicy)
        by_policy = task(cache_policy=INPUTS)(one)
        assert by_policy.with_options(name="other").cache_policy is INPUTS
        assert by_policy.with_options(cache_policy=None).cache_policy is None
        assert by_policy.with_options(persist_result=False).with_options(persist_result=True).cache_policy is INPUTS


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    tags: set[str]


class Plain:
    def __init__(self) -> None:
        self.words = {"a", "b", "c", "d"}
        self.by_word = {word: {word} for word in self.words}

    def method(self) -> None: ...


def enclosing(n: int) -> Callable[..., Any]:
    """A function that encloses a value, and has a set for a default."""
    return lambda x, y=frozenset("abcd"): (n, x in {"p", "q", "r", "s"})


VALUES: dict[str, Any] = {
    "set": {"a", "b", "c", "d"},
    "dict of sets": {"b": {"x", "y", "z"}, "a": 1},
    "mixed keys": {1: "a", "b": 2, (1, 2): 3},
    "dataclass": Point(1, {"a", "b", "c"}),
    "object": Plain(),
    "bound method": Plain().method,
    "member of an enum": Colour.RED,
    "class": Point,
    "function": one,
    "closure": enclosing(1),
    "another closure": enclosing(2),
    "builtin": len,
    "method of a value": "abc".upper,
    "partial": functools.partial(one, {"a", "b", "c"}),
    "module": sys,
    "path": Path("a"),
    "bytes": b"a",
}


class TestHashes:
    def test_are_the_same_in_every_process(self) -> None:
        code = (
            "from tests.sdk.test_cache_policies import VALUES, stable_hash\n"
            "for name, value in VALUES.items(): print(name, stable_hash(value))"
        )
        runs = [
            subprocess.run(
                [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
            )
            for seed in ("1", "2")
        ]
        here = "".join(f"{name} {stable_hash(value)}\n" for name, value in VALUES.items())
        assert [run.stdout for run in runs] == [here, here]

    def test_tell_values_apart(self) -> None:
        assert len({stable_hash(value) for value in VALUES.values()}) == len(VALUES)

    def test_do_not_tell_equal_values_apart(self) -> None:
        text = "".join(["ab", "c"])
        assert stable_hash(({"b": 1, "a": 2}, text, text)) == stable_hash(({"a": 2, "b": 1}, "abc", "".join(text)))
        assert stable_hash({1: 2, "a": 3}) == stable_hash({"a": 3, 1: 2})
        assert stable_hash(frozenset([1, "a"])) == stable_hash(frozenset(["a", 1]))

    def test_of_a_class_do_not_depend_on_where_the_program_runs_it(self, tmp_path: Path) -> None:
        """A pickle of an instance of a class of `__main__` has a random id in it."""
        script = tmp_path / "script.py"
        script.write_text(
            "from playhead.utilities.hashing import stable_hash\n"
            "class Local:\n    def __init__(self): self.x = {1}\n"
            "print(stable_hash([Local(), Local, lambda: Local]))\n"
        )
        said = {subprocess.run([sys.executable, script], capture_output=True, check=True).stdout for _ in range(2)}
        assert len(said) == 1

    def test_several_values_have_one(self) -> None:
        assert hash_objects(1, 2, a=3) == hash_objects(1, 2, a=3)
        assert len({hash_objects(1, 2), hash_objects(2, 1), hash_objects([1, 2]), hash_objects(1, a=2)}) == 4

    @pytest.mark.parametrize(
        "value", [threading.Lock(), (n for n in ()), {"a": [threading.Lock()]}], ids=["lock", "generator", "dict"]
    )
    def test_what_has_none_is_told(self, value: Any) -> None:
        with pytest.raises(HashError, match=r"has no digest: .*cannot pickle"):
            stable_hash(value)

    def test_what_contains_itself_has_none(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(HashError, match="cyclic"):
            stable_hash(endless)

    def test_a_key_with_such_an_input_says_which_and_what_to_do(self) -> None:
        advice = r"'lock' can not be part of a cache key: .*INPUTS - 'lock'.*cache_key_fn.*NO_CACHE"
        with pytest.raises(ValueError, match=advice):
            key(DEFAULT, {"a": 1, "lock": threading.Lock()})
        assert key(DEFAULT - "lock", {"a": 1, "lock": threading.Lock()})
