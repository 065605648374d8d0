"""Entrypoints: where a flow's code is, so that another process can run it.

"package.module:function"    for modules of packages, also those that `python -m` runs, and code from elsewhere
"path/to/file.py:function"   for other files, relative to the working directory where they lie below it

Either is looked for from the working directory: that of the process that goes on with a run is the one it began in.
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

_ELSEWHERE = "Go to the folder in which the run was started."


def entrypoint_of(fn: Callable[..., Any]) -> str:
    """The entrypoint of a function; empty when it has none: in an interpreter, or inside another function."""
    function = inspect.unwrap(fn)
    name = getattr(function, "__qualname__", "")
    path = _source_of(function)
    if path is None or not name or "<" in name:
        return ""
    module, here = _module_of(function, path), Path.cwd()
    if not path.is_relative_to(here):
        return f"{path}:{name}" if module == "__main__" else f"{module}:{name}"
    relative = path.relative_to(here)
    in_package = "." in module and relative.with_suffix("") == Path(*module.split("."))
    return f"{module if in_package else relative}:{name}"


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
    where, _, name = entrypoint.rpartition(":")
    if not (where and name):
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
        missing = error.name is not None and f"{name}.".startswith(f"{error.name}.")
        where = f" It was looked for in {str(Path.cwd())!r} too. {_ELSEWHERE}" if missing else ""
        raise MissingFlowError(f"The module {name!r} can not be imported: {error}.{where}") from error


def _load_file(path: Path) -> ModuleType:
    """Run the file as a module of its own name, which is not __main__; its folder is where it imports from."""
    resolved = path.resolve()
    if not resolved.is_file():
        if path.is_absolute():
            raise MissingFlowError(f"There is no file {str(path)!r}.")
        raise MissingFlowError(f"There is no file {str(path)!r} in the folder {str(Path.cwd())!r}. {_ELSEWHERE}")
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


def _module_of(function: Any, path: Path) -> str:
    """The name by which a function's module can be imported; __main__: it is a script."""
    module = getattr(function, "__module__", "__main__")
    if module == "__main__":
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if spec is not None and spec.origin and Path(spec.origin).resolve() == path:
            return str(spec.name)
    return str(module)


def _source_of(function: Any) -> Path | None:
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    path = Path(code.co_filename)
    return path.resolve() if path.is_file() else None
