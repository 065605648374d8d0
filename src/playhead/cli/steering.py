"""`playhead flow-run cancel | pause | resume`: proposals, which rules may refuse."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from playhead.cli.flow_runs import Run
from playhead.cli.options import connected
from playhead.cli.session import Session


@connected
def cancel(session: Session, run: Run) -> None:
    """Ask for the end of a flow run: CANCELLING, or CANCELLED at once when no process works on it.

    Example: playhead flow-run cancel blue-heron
    """
    from playhead import v1
    from playhead.client.interface import CANCEL_FLOW_RUN

    _propose(session, CANCEL_FLOW_RUN, v1.CancelFlowRunRequest(**_about(session, run)))


@connected
def pause(
    session: Session,
    run: Run,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Seconds after which the run fails. Unset: for ever.")
    ] = None,
    suspend: Annotated[
        bool, typer.Option("--suspend", help="End its process; it is scheduled again when it is resumed.")
    ] = False,
    key: Annotated[str, typer.Option("--key", help="Pauses the run once: a pause of the same key is passed.")] = "",
) -> None:
    """Pause a flow run until it is resumed.

    Example: playhead flow-run pause blue-heron --timeout 3600
    """
    from playhead import v1
    from playhead.client.interface import PAUSE_FLOW_RUN

    request = v1.PauseFlowRunRequest(**_about(session, run), reschedule=suspend, pause_key=key)
    if timeout is not None:
        request.timeout.FromMicroseconds(round(timeout * 1e6))
    _propose(session, PAUSE_FLOW_RUN, request)


@connected
def resume(session: Session, run: Run) -> None:
    """Let a paused flow run go on.

    A process must execute it: the one that paused and waits, or a new one: python -m playhead.engine RUN_ID.

    Example: playhead flow-run resume blue-heron
    """
    from playhead import v1
    from playhead.client.interface import RESUME_FLOW_RUN

    _propose(session, RESUME_FLOW_RUN, v1.ResumeFlowRunRequest(**_about(session, run)))


def _about(session: Session, run: str) -> Any:
    from uuid_utils import uuid7

    from playhead.cli.finding import find_run

    return {"request_id": str(uuid7()), "flow_run_id": find_run(session, "flow_run", run)}


def _propose(session: Session, method: Any, request: Any) -> None:
    """Propose and print the answer; exit status 1 when it is a refusal."""
    from playhead import v1
    from playhead.cli.documents import document_of
    from playhead.cli.formats import decision_text, state_text
    from playhead.cli.output import print_fields, print_json

    answer = session.call(method, request)
    if session.as_json:
        print_json(document_of(answer))
    else:
        print_fields(
            [
                ("flow run", f"{answer.run_name}  {answer.run_id}"),
                ("decision", decision_text(answer.decision)),
                ("reason", answer.reason),
                ("rule", answer.rule),
                ("state", state_text(answer.state)),
                ("revision", str(answer.meta.revision)),
            ]
        )
    if answer.decision != v1.ACCEPT:
        raise typer.Exit(1)
