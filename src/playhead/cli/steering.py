"""`playhead flow-run cancel | pause | resume`: proposals, which rules may refuse."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from playhead.cli.flow_runs import Run
from playhead.cli.options import connected
from playhead.cli.session import Session

PAUSE_S_MIN = 1e-6
PAUSE_S_MAX = 100_000_000_000
"""More than 3,000 years. A pause that ends after the year 9999 the service refuses."""

CALLS_MAX = 100
"""Calls of a flow run that are looked through for subflow runs."""

OPTIONS = {"run_input": "--input", "run_input_schema": "--input-schema", "pause_key": "--key", "timeout": "--timeout"}
"""The options that are fields of the requests."""

DECIDERS = "a server, a flow that runs, or: playhead journal due --decide"
"""Who decides what falls due by itself."""

PLAIN_VALUES = "Where the flow waits for a plain value, as an int, it is given as --input '{{\"value\": 4}}'."


@connected
def cancel(session: Session, run: Run) -> None:
    """Ask for the end of a flow run: CANCELLING, or CANCELLED at once when no process works on it.

    A process that works on it hears of it at its code's next call of a task or flow, and where it waits for one: plain
    Python in between runs to its end. Its subflow runs are cancelled too.

    Example: playhead flow-run cancel blue-heron
    """
    from playhead import v1
    from playhead.client.interface import CANCEL_FLOW_RUN

    request = v1.CancelFlowRunRequest(**_about(session, run))
    answer = _propose(session, CANCEL_FLOW_RUN, request, wanted=(v1.CANCELLED, v1.CANCELLING))
    if answer.state.type == v1.CANCELLING and not session.as_json:
        say_who_ends(session, answer)


@connected
def pause(
    session: Session,
    run: Run,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", help="More than 0 seconds, after which the run fails. Unset: for ever."
        ),
    ] = None,
    reschedule: Annotated[
        bool,
        typer.Option(
            "--reschedule",
            "--suspend",
            help="End its process; it is scheduled again when it is resumed. Only runs of a deployment.",
        ),
    ] = False,
    key: Annotated[str, typer.Option("--key", help="Pauses the run once: a pause of the same key is passed.")] = "",
    input_schema: Annotated[
        Path | None,
        typer.Option(
            "--input-schema",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Ask for input: a file with the JSON Schema (2020-12) that it must fit.",
        ),
    ] = None,
) -> None:
    """Pause a flow run until it is resumed.

    It waits at its code's next call of a task or flow: plain Python in between runs to its end, and task runs that have
    begun go on. So do its subflow runs: pause them too.

    Example: playhead flow-run pause blue-heron --timeout 3600
    """
    from playhead import v1
    from playhead.cli.output import print_line
    from playhead.client.interface import PAUSE_FLOW_RUN

    request = v1.PauseFlowRunRequest(**_about(session, run), reschedule=reschedule, pause_key=key)
    if timeout is not None:
        if not PAUSE_S_MIN <= timeout <= PAUSE_S_MAX:
            raise typer.BadParameter(
                f"{timeout:g} is not from {PAUSE_S_MIN:g} to {PAUSE_S_MAX:,} seconds.", param_hint="--timeout"
            )
        request.timeout.FromMicroseconds(round(timeout * 1e6))
    if input_schema is not None:
        request.run_input_schema = input_schema.read_bytes()
        if not request.run_input_schema:
            raise typer.BadParameter(
                f"{input_schema} is empty: the pause would ask for nothing.", param_hint="--input-schema"
            )
    answer = _propose(session, PAUSE_FLOW_RUN, request)
    if not session.as_json:
        if not say_that_lease_lapsed(session, answer):
            print_line("Its code waits at its next call of a task or flow, and runs on until then.")
        _say_which_subflow_runs_go_on(session, answer)


@connected
def resume(
    session: Session,
    run: Run,
    input: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="JSON|@FILE",
            help="The input that the pause asks for: JSON, or @ and a file of it. flow-run inspect shows which. "
            """Where the flow waits for a plain value, as an int: '{"value": 4}'.""",
        ),
    ] = "",
) -> None:
    """Let a paused flow run go on.

    A process must execute it: the one that paused and waits, or a new one: python -m playhead.engine RUN. Refused
    input leaves the run paused: mend it and resume again.

    Example: playhead flow-run resume blue-heron --input '{"approved": true}'
    """
    from playhead import v1
    from playhead.client.interface import RESUME_FLOW_RUN

    data = given(input, "--input")
    answer = _propose(session, RESUME_FLOW_RUN, v1.ResumeFlowRunRequest(**_about(session, run), run_input=data))
    if not session.as_json and not say_that_lease_lapsed(session, answer):
        _say_who_executes(session, answer)


def given(text: str, option: str) -> bytes:
    """What was written for an option, or what stands in the file that was named with "@"."""
    if not text.startswith("@"):
        return text.encode()
    try:
        return Path(text[1:]).expanduser().read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{text[1:]} can not be read: {error.strerror}.", param_hint=option) from None


def _about(session: Session, run: str) -> Any:
    from uuid_utils import uuid7

    return {"request_id": str(uuid7()), "flow_run_id": session.find_run("flow_run", run)}


def _propose(session: Session, method: Any, request: Any, wanted: Collection[int] = ()) -> Any:
    """Propose and print the answer; exit status 1 for a refusal, unless the run is in a `wanted` state."""
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.formats import decision_text, state_text
    from playhead.cli.output import print_fields, print_json
    from playhead.exceptions import BadRequest

    try:
        answer = session.call(method, request)
    except BadRequest as error:
        option = OPTIONS.get(error.field)
        if option is None:
            raise
        raise type(error)(error.description, field=option, **error.facts) from error
    done = answer.decision == v1.ACCEPT or answer.state.type in wanted
    if session.as_json:
        print_json(document_of(answer))
    else:
        print_fields(
            [
                ("flow run", f"{answer.run_name}  {answer.run_id}"),
                ("decision", decision_text(answer.decision) if answer.decision == v1.ACCEPT or not done else None),
                ("reason", answer.reason),
                ("rule", answer.rule),
                ("state", state_text(answer.state)),
                ("revision", str(answer.meta.revision)),
            ]
        )
    if not done:
        typer.echo(_next_step(answer).format(run=answer.run_id), err=True)
        raise typer.Exit(1)
    return answer


def say_who_ends(session: Session, answer: Any) -> None:
    """Say below a run that is CANCELLING who will end it: whoever worked on it when that was decided. By now it may
    have ended.
    """
    from playhead.cli.output import print_line
    from playhead.engine.orchestration.timers import CANCELLING_S

    if say_that_lease_lapsed(session, answer):
        return
    status = _status(session, answer)
    if status.HasField("lease"):
        lapsed = f"once its lease has lapsed, in {status.lease.ttl.seconds} s at most"
        lapsed += f", by {DECIDERS}" if session.database is not None else "."
        print_line(
            f"{status.lease.holder} works on it and ends it: at once if it waits, else at its code's next call. If it "
            f"has died, the run is cancelled {lapsed}"
        )
    else:
        print_line(
            f"No process holds a lease on it: unless one ends it, it is cancelled after {CANCELLING_S:.0f} s, "
            f"by {DECIDERS}"
        )


def say_that_lease_lapsed(session: Session, answer: Any) -> bool:
    """Say below a run that its process is gone, and what is to be decided of that; False when that is not known."""
    from playhead import v1
    from playhead.cli.formats import state_text
    from playhead.cli.output import print_line

    due = session.due().get(answer.run_id)
    if due is None or not due.request.if_lease_expired:
        return False
    print_line(
        f"Its lease has lapsed: no process works on it. It is to become {state_text(due.request.state)}, which is "
        f"decided by {DECIDERS}"
    )
    if due.request.state.type == v1.CRASHED:
        print_line(f"Or another process goes on with it: python -m playhead.engine {answer.run_id}")
    return True


def _say_who_executes(session: Session, answer: Any) -> None:
    """Say below a run that goes on what to do when no process waited for that."""
    from playhead.cli.output import print_line

    if not _status(session, answer).HasField("lease"):
        print_line(
            f"No process holds a lease on it. Where none waits, execute it: python -m playhead.engine {answer.run_id}"
        )


def _status(session: Session, answer: Any) -> Any:
    """The run's status as of the answer."""
    from playhead import v1
    from playhead.client.interface import GET_FLOW_RUN

    then = v1.ReadAt(revision=answer.meta.revision)
    request = v1.GetFlowRunRequest(flow_run_id=answer.run_id, read_at=then)
    return session.call(GET_FLOW_RUN, request).flow_run.status


def _say_which_subflow_runs_go_on(session: Session, answer: Any) -> None:
    """Say below a run that is PAUSED which of its subflow runs are not."""
    from playhead import v1
    from playhead.cli.output import print_line
    from playhead.client.interface import LIST_FLOW_RUNS, LIST_TASK_RUNS

    running, then = v1.StateFilter(types=[v1.RUNNING]), v1.ReadAt(revision=answer.meta.revision)
    calls = v1.TaskRunFilter(flow_run_ids=[answer.run_id], state=running)
    called = session.call(LIST_TASK_RUNS, v1.ListTaskRunsRequest(filter=calls, read_at=then, page_size=CALLS_MAX))
    if not called.task_runs:
        return
    subflows = v1.FlowRunFilter(parent_task_run_ids=[run.spec.id for run in called.task_runs], state=running)
    for run in session.call(LIST_FLOW_RUNS, v1.ListFlowRunsRequest(filter=subflows, read_at=then)).flow_runs:
        print_line(f"Its subflow run {run.status.name} goes on. To pause it too: playhead flow-run pause {run.spec.id}")


def _next_step(answer: Any) -> str:
    """What to do about a refusal."""
    from playhead import v1

    if answer.state.type == v1.PAUSED and answer.rule == "ValidateRunInput":
        step = "It is still paused. See what input is asked for: playhead flow-run inspect {run}"
        plain = 'is not of type "object"' in answer.reason
        return f"{step}\n{PLAIN_VALUES}" if plain else step
    if answer.state.type == v1.PAUSED:
        return "It is still paused. Let it go on first: playhead flow-run resume {run}"
    return "See how it came to this: playhead flow-run decisions {run}"
