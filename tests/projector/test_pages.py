"""Page tokens: what one is good for, and what is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from playhead import v1
from playhead.exceptions import BadPageToken, BadRequest, TooLarge, UnknownEnumValue
from playhead.journal.encoding import timestamp
from playhead.projector import paging
from tests.histories import CALLERS, FLOW_RUN_IDS, FLOWS, TASK_RUNS, Life, an_id


@pytest.fixture
def life(store: str) -> Any:
    """A life with four task runs in it."""
    with Life(store) as life:
        for spec in TASK_RUNS[:2] + TASK_RUNS[3:]:
            life.send("create_task_run", v1.CreateTaskRunRequest(spec=spec), CALLERS[0])
        life.settle()
        yield life


def token_of(life: Life, **fields: Any) -> str:
    """The token of the second page of a list of task runs."""
    token = life.orchestrator.runs.list_task_runs(v1.ListTaskRunsRequest(page_size=1, **fields)).next_page_token
    assert token
    return token


def forged(token: str, **changes: int) -> str:
    """A token with its revision or its key replaced."""
    digest, revision, key = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    content = [digest, changes.get("revision", revision), changes.get("key", key)]
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token", ["x", "====", "AAAA", "ü", "W10", "bnVsbA", "e30", "W1tdLCAxLCAxXQ", "MQ", "[" * 100, "A" * 10_000]
)
def test_what_is_no_token_is_refused(life: Life, token: str) -> None:
    with pytest.raises(BadPageToken, match="page_token"):
        life.orchestrator.runs.list_task_runs(v1.ListTaskRunsRequest(page_token=token))


@pytest.mark.parametrize(
    "changes",
    [
        {"revision": 10_000},
        {"revision": -1},
        {"revision": 2**63},
        {"key": -1},
        {"key": 2**70},
        {"revision": 2, "key": 3},
    ],
)
def test_a_token_can_not_point_where_the_journal_has_not_been(life: Life, changes: dict[str, int]) -> None:
    request = v1.ListTaskRunsRequest(page_token=forged(token_of(life), **changes))
    with pytest.raises(BadPageToken, match="page_token"):
        life.orchestrator.runs.list_task_runs(request)


@pytest.mark.parametrize(
    "other",
    [
        {"filter": v1.TaskRunFilter(task_keys=["load"])},
        {"order": v1.OLDEST_FIRST},
        {"filter": v1.TaskRunFilter(tags=v1.TagFilter(none=["x"]))},
    ],
)
def test_a_token_is_for_the_request_it_was_given_to(life: Life, other: dict[str, Any]) -> None:
    with pytest.raises(BadPageToken, match="repeat"):
        life.orchestrator.runs.list_task_runs(v1.ListTaskRunsRequest(page_token=token_of(life), **other))


def test_a_token_of_another_method_is_refused(life: Life) -> None:
    with pytest.raises(BadPageToken):
        life.orchestrator.runs.list_flow_runs(v1.ListFlowRunsRequest(page_token=token_of(life)))


def test_the_size_of_pages_may_change_from_page_to_page(life: Life) -> None:
    request = v1.ListTaskRunsRequest(page_token=token_of(life), page_size=1_000)
    request.read_at.revision = 1
    response = life.orchestrator.runs.list_task_runs(request)
    assert (len(response.task_runs), response.next_page_token) == (2, "")
    assert response.meta.revision == life.head(), "the token's moment counts, not the request's"


def test_a_page_of_more_than_its_bound_is_refused(life: Life) -> None:
    for method, request in (
        ("list_task_runs", v1.ListTaskRunsRequest(page_size=1_001)),
        ("list_flows", v1.ListFlowsRequest(page_size=2**32 - 1)),
        ("list_states", v1.ListStatesRequest(flow_run_id=FLOW_RUN_IDS[0], page_size=1_001)),
    ):
        with pytest.raises(TooLarge, match="page_size") as refused:
            getattr(life.orchestrator.runs, method)(request)
        assert refused.value.facts["limit"] == "1000"


def test_a_page_of_large_rows_ends_early(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_BYTES_MAX", 1 << 20)
    with Life(store) as life:
        for number in range(8):
            parameters = b'{"x": "%s"}' % (b"x" * 400_000)
            spec = v1.FlowRunSpec(id=an_id(100 + number), flow_id=FLOWS["etl"], parameters=parameters)
            life.send("create_flow_run", v1.CreateFlowRunRequest(spec=spec), CALLERS[0])
        life.settle()
        request, sizes, ids = v1.ListFlowRunsRequest(order=v1.OLDEST_FIRST), [], []
        while True:
            response = life.orchestrator.runs.list_flow_runs(request)
            sizes.append(response.ByteSize())
            ids += [run.spec.id for run in response.flow_runs]
            request.page_token = response.next_page_token
            if not request.page_token:
                break
        assert ids == [FLOW_RUN_IDS[0], *(an_id(100 + number) for number in range(8))]
        assert max(sizes) < 2 << 20
        assert len(sizes) == 3


def test_what_lists_and_counts_ask_for_is_checked(life: Life) -> None:
    runs = life.orchestrator.runs
    backwards = v1.TimeRange(**{"from": timestamp(2), "until": timestamp(1)})
    for error, field, filter in (
        (
            UnknownEnumValue,
            r"filter\.state\.types\[1\]",
            v1.TaskRunFilter(state=v1.StateFilter(types=[v1.RUNNING, v1.STATE_TYPE_UNSPECIFIED])),
        ),
        (TooLarge, r"filter\.ids", v1.TaskRunFilter(ids=[an_id(1)] * 1_001)),
        (BadRequest, r"filter\.ids\[0\]", v1.TaskRunFilter(ids=["nope"])),
        (BadRequest, r"filter\.tags\.any\[0\]", v1.TaskRunFilter(tags=v1.TagFilter(any=["a\nb"]))),
        (BadRequest, r"filter\.created", v1.TaskRunFilter(created=backwards)),
        (BadRequest, r"filter\.task_keys\[0\]", v1.TaskRunFilter(task_keys=["\x00"])),
    ):
        with pytest.raises(error, match=field):
            runs.list_task_runs(v1.ListTaskRunsRequest(filter=filter))
        with pytest.raises(error, match=field):
            runs.count_task_runs(v1.CountTaskRunsRequest(filter=filter))
    with pytest.raises(BadRequest, match="order"):
        runs.list_task_runs(v1.ListTaskRunsRequest(order=7))  # type: ignore[arg-type] # what a newer client might send
    everything = v1.TaskRunFilter(state=v1.StateFilter(types=[v1.PENDING, v1.RUNNING] * 20_000))
    assert len(runs.list_task_runs(v1.ListTaskRunsRequest(filter=everything)).task_runs) == 1
