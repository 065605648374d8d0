"""Entrypoints: where a flow's code is, so that another process can run it.

"path/to/file.py:function"   relative to the working directory where it lies below it
"module:function"            for code that is imported from elsewhere
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from playhead.exceptions import MissingFlowError

loading: ContextVar[str] = ContextVar("loading", default="")
"""The entrypoint that is being loaded: a script's own calls of its flows must not run then. Empty: none."""


def entrypoint_of(fn: Callable[..., Any]) -> str:
    """The entrypoint of a function; empty when it has none: in an interpreter, or inside another function."""
    function = inspect.unwrap(fn)
    name = getattr(function, "__qualname__", "")
    path = _source_of(function)
    if path is None or not name or "<" in name:
        return ""
    if path.is_relative_to(Path.cwd()):
        return f"{path.relative_to(Path.cwd())}:{name}"
    module = getattr(function, "__module__", "__main__")
    return f"{path}:{name}" if module == "__main__" else f"{module}:{name}"


def source_hash(fn: Callable[..., Any]) -> str | None:
    """A version: the hash of the source file. None when there is no file."""
    path = _source_of(inspect.unwrap(fn))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path else None


def loaded_by() -> str:
    """What is only loading the code that runs, so that its own calls of flows must not run; empty when nothing is."""
    if loading.get():
        return f"{loading.get()!r} is only being loaded"
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and getattr(processes.current_process(), "_inheriting", False):
        return "its script is run again by a process that multiprocessing starts"
    return ""


def load_object(entrypoint: str) -> Any:
    """The object an entrypoint names. Raises `MissingFlowError` when it is not there."""
    where, separator, name = entrypoint.rpartition(":")
    if not separator:
        raise MissingFlowError(
            f"{entrypoint!r} is no entrypoint: it must be 'path/to/file.py:function' or 'module:function'."
        )
    token = loading.set(entrypoint)
    try:
        found: Any = _load_file(Path(where)) if where.endswith(".py") else _load_module(where)
    finally:
        loading.reset(token)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise MissingFlowError(f"There is no {name!r} in {where!r}.")
    return found


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingFlowError(f"The module {name!r} can not be imported: {error}") from error


def _load_file(path: Path) -> ModuleType:
    """Run the file as a module of its own name, which is not __main__; its folder is where it imports from."""
    resolved = path.resolve()
    if not resolved.is_file():
        raise MissingFlowError(f"There is no file {str(resolved)!r}.")
    loaded = sys.modules.get(resolved.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(resolved):
        return loaded
    if str(resolved.parent) not in sys.path:
        sys.path.insert(0, str(resolved.parent))
    spec = importlib.util.spec_from_file_location(resolved.stem, resolved)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(resolved.stem, module)
    spec.loader.exec_module(module)
    return module


def _source_of(function: Any) -> Path | None:
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    path = Path(code.co_filename)
    return path.resolve() if path.is_file() else None
