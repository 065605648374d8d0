"""The examples of run input in a guide to Prefect 3.4, their imports changed, completed where lines lack."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import pytest

from playhead import flow, task
from playhead.input import (
    GetInputHandler,
    Keyset,
    RunInputMetadata,
    create_flow_run_input,
    delete_flow_run_input,
    read_flow_run_input,
    receive_input,
    send_input,
)
from playhead.runtime import flow_run
from tests.sdk.conftest import Service

PATIENCE_S = 30.0

began: SimpleQueue[UUID] = SimpleQueue()


@task
def process_document(doc_id: str) -> dict[str, str]:
    return {"id": doc_id, "status": "processed"}


@task
def finalize_document(doc: dict[str, str], comments: str) -> dict[str, str]:
    return {"id": doc["id"], "status": "finalized", "comments": comments}


@task
def reject_document(doc: dict[str, str], reason: str) -> dict[str, str]:
    return {"id": doc["id"], "status": "rejected", "reason": reason}


@flow
def approval_workflow(document_id: str) -> Any:
    """Workflow requiring human approval."""
    # Process document
    processed_doc = process_document(document_id)
    began.put(UUID(flow_run.id))

    # Pause for human review
    approval_input = receive_input(
        input_type=dict,
        timeout=3600,  # 1 hour timeout
        key_prefix="approval",
    )

    # Wait for approval input
    approval = approval_input.get("decision")
    comments = approval_input.get("comments", "")
    if approval == "approved":
        return finalize_document(processed_doc, comments)
    return reject_document(processed_doc, comments)


async def send_approval(flow_run_id: UUID) -> None:
    """Send approval input to paused flow."""
    await send_input(
        run_input={"decision": "approved", "comments": "Looks good, approved for publication"},
        flow_run_id=flow_run_id,
        sender="manager@company.com",
        key_prefix="approval",
    )


@task
def process_with_config(config: dict[str, Any]) -> list[int]:
    return list(range(config["count"]))


@task
def revise_results(results: list[int], feedback: dict[str, Any]) -> list[int]:
    return results[: feedback["keep"]]


@task
def finalize_results(results: list[int]) -> str:
    return f"final: {results}"


@flow
def data_collection_workflow() -> Any:
    """Collect multiple inputs over time."""
    began.put(UUID(flow_run.id))
    # Step 1: Initial parameters
    config_input = receive_input(
        input_type=dict,
        key_prefix="config",
        timeout=1800,  # 30 minutes
    )
    config = config_input.get("parameters")
    # Step 2: Data processing with config
    results = process_with_config(config)
    # Step 3: Review results and get feedback
    feedback_input = receive_input(
        input_type=dict,
        key_prefix="feedback",
        timeout=3600,  # 1 hour
    )
    feedback = feedback_input.get("review")
    if feedback.get("needs_revision"):
        # Process feedback and revise
        return revise_results(results, feedback)
    return finalize_results(results)


@pytest.fixture
def in_a_thread(service: Service) -> Callable[..., Any]:
    """Calls a flow in a thread; gives its run's id and the future of what it returns."""

    def call(called: Any, *args: Any) -> tuple[UUID, Future[Any]]:
        returned: Future[Any] = Future()
        # A daemon, so that a flow that nobody answers does not keep the tests from ending.
        threading.Thread(target=lambda: returned.set_result(called(*args)), daemon=True).start()
        return began.get(timeout=PATIENCE_S), returned

    return call


def test_an_approval_is_waited_for_and_sent_from_async_code(in_a_thread: Callable[..., Any]) -> None:
    run_id, returned = in_a_thread(approval_workflow, "doc-1")
    asyncio.run(send_approval(run_id))
    assert returned.result(PATIENCE_S) == {
        "id": "doc-1",
        "status": "finalized",
        "comments": "Looks good, approved for publication",
    }


def test_a_rejection_without_comments_has_the_default(in_a_thread: Callable[..., Any]) -> None:
    run_id, returned = in_a_thread(approval_workflow, "doc-2")
    send_input({"decision": "no"}, run_id, key_prefix="approval")
    assert returned.result(PATIENCE_S) == {"id": "doc-2", "status": "rejected", "reason": ""}


@pytest.mark.parametrize(
    ("review", "result"),
    [({"needs_revision": True, "keep": 2}, [0, 1]), ({"needs_revision": False}, "final: [0, 1, 2]")],
)
def test_inputs_are_collected_over_time(in_a_thread: Callable[..., Any], review: dict[str, Any], result: Any) -> None:
    run_id, returned = in_a_thread(data_collection_workflow)
    send_input({"parameters": {"count": 3}}, run_id, key_prefix="config")
    send_input({"review": review}, run_id, key_prefix="feedback")
    assert returned.result(PATIENCE_S) == result


def test_an_input_is_created_with_the_run_first_and_answered_as_a_record(in_a_thread: Callable[..., Any]) -> None:
    run_id, returned = in_a_thread(approval_workflow, "doc-3")
    created = create_flow_run_input(run_id, "note", {"a": [1]}, "ann")
    assert (created.flow_run_id, created.key, created.value, created.sender) == (run_id, "note", {"a": [1]}, "ann")
    assert isinstance(created.created, datetime)
    assert read_flow_run_input("note", run_id) == {"a": [1]}
    delete_flow_run_input("note", run_id)
    assert read_flow_run_input("note", run_id) is None
    create_flow_run_input(flow_run_id=run_id, key="approval", value={"decision": "no"})
    assert returned.result(PATIENCE_S)["status"] == "rejected"


def test_a_handler_reads_into_its_input_by_key(in_a_thread: Callable[..., Any]) -> None:
    run_id, returned = in_a_thread(approval_workflow, "doc-4")
    send_input({"decision": "no", "why": None}, run_id, key_prefix="approval")
    handler: GetInputHandler[dict[str, Any]] = receive_input(dict, flow_run_id=run_id, key_prefix="approval")
    assert handler["decision"] == "no"
    assert (handler.get("why", "default"), handler.get("where"), handler.get("where", "here")) == (None, None, "here")
    assert handler.keys() == {"decision", "why"}
    with pytest.raises(KeyError, match="where"):
        handler["where"]
    returned.result(PATIENCE_S)


def test_a_keyset_is_asked_what_is_in_it() -> None:
    keyset = Keyset({"a", "b"})
    assert "a" in keyset
    assert "c" not in keyset


def test_metadata_have_key_sender_and_time() -> None:
    created = datetime(2026, 1, 1)
    metadata = RunInputMetadata(key="k", sender="ann", created=created)
    assert (metadata.key, metadata.sender, metadata.created) == ("k", "ann", created)
