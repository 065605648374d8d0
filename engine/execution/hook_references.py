"""How hooks of transactions are pickled, so that another process can call them.

A function of the script that is run, `__main__`, is found again by the script's file and its own name: so it is the
function of that process, with the globals it has there. All others are pickled as cloudpickle does it: those of modules
by name, those made inside of functions by value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playhead.engine.execution.entrypoints import load_object


class HookReference:
    """A hook on its way into a pickle. What comes out is the hook."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self.hook = hook

    def __reduce__(self) -> tuple[Any, ...]:
        name = getattr(self.hook, "__qualname__", "")
        file = _file_of_main()
        if file and getattr(self.hook, "__module__", None) == "__main__" and _in_main(name) is self.hook:
            return _found_again, (file, name)
        return _itself, (self.hook,)


def _found_again(file: str, name: str) -> Any:
    return _in_main(name) if _file_of_main() == file else load_object(f"{file}:{name}")


def _in_main(name: str) -> Any:
    found: Any = sys.modules.get("__main__")
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _file_of_main() -> str:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return str(Path(file).resolve()) if file and Path(file).suffix == ".py" else ""


def _itself(hook: Callable[..., Any]) -> Callable[..., Any]:
    return hook
