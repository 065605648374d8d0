"""An error as one line that says what is wrong, and one that says what to do next."""

from __future__ import annotations

import sys


def report(error: Exception, *, as_json: bool) -> None:
    """Print an error of the product or of the system to standard error; raise any other, which is a defect."""
    from playhead import v1
    from playhead.exceptions import ConfigurationError, PlayheadError

    if isinstance(error, BrokenPipeError):
        _stop_writing()
    elif isinstance(error, PlayheadError):
        _print(v1.Reason.Name(error.reason), str(error), error.facts, next_step(error.reason), as_json)
    elif isinstance(error, ConfigurationError):
        _print("CONFIGURATION", str(error), {}, "", as_json)
    elif isinstance(error, OSError):
        _print("OS_ERROR", _told(error), {}, "", as_json)
    else:
        raise error


def _told(error: OSError) -> str:
    """What the system refused, and about what: "/etc/x: Permission denied"."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror


def next_step(reason: int) -> str:
    """What to do about an error, where its own message does not say; else nothing."""
    from playhead import v1

    steps: dict[int, str] = {
        v1.NOT_FOUND: "See what is there: playhead flow-run ls, task-run ls, flow ls, concurrency-limit ls. Another "
        "journal: --database; a server: --api-url.",
        v1.REVISION_NOT_REACHED: "Ask for a revision up to the head: playhead journal head.",
        v1.DEADLINE_PASSED: "To work on a database without a server: --database PATH.",
        v1.SHUTTING_DOWN: "The server is stopping: try again once it is back.",
        v1.JOURNAL_UNAVAILABLE: "Try again; if it stays so, see which process holds the database.",
        v1.CORRUPT_RECORD: "Stop writing to this journal, keep a copy of it, and compare it with a backup.",
        v1.NOT_A_JOURNAL: "Check the address: --database PATH, or postgresql://user@host/name.",
        v1.MALFORMED_ID: "Ids are as `ls` shows them, in full: playhead flow-run ls.",
    }
    return steps.get(reason, "")


def _print(reason: str, message: str, facts: dict[str, str], step: str, as_json: bool) -> None:
    from playhead.cli.output import json_text, printable

    if as_json:
        error = {"reason": reason, "message": message, "facts": facts, "next_step": step}
        print(json_text({"error": error}), file=sys.stderr)
        return
    print(f"Error: {printable(message)}", file=sys.stderr)
    if step:
        print(step, file=sys.stderr)


def _stop_writing() -> None:
    """Whoever read our output has gone: keep Python from complaining about it once more at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
