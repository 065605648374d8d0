"""A database that is away for a while, as PostgreSQL is when it restarts: runs wait for it, and go on."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from playhead import flow, get_run_logger, task, v1
from playhead.client import repeating
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import (
    CANCEL_FLOW_RUN,
    LIST_DECISIONS,
    PAUSE_FLOW_RUN,
    READ_LOGS,
    RENEW_LEASE,
    RESUME_FLOW_RUN,
    SEND_INPUT,
)
from playhead.client.remote import RemoteClient
from playhead.context import FlowRunContext
from playhead.engine.execution import log_shipping
from playhead.engine.execution.connection import close_clients, get_client
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.turns import turn_of
from playhead.engine.execution.watching import inputs_wanted, state_wanted
from playhead.journal import sqlite
from playhead.journal.errors import JournalUnavailable
from playhead.runs import FlowRun
from tests.grpc_server.conftest import ThreadedServer
from tests.heard import Heard
from tests.sdk.conftest import Service
from tests.stores import away

REFUSALS = 12
"""More than gRPC would bear by itself."""

WAIT_S = 60.0

SAID = r"not currently accepting connections|Another process has held"
"""What the databases say when they are away."""


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What clients say."""
    handler, logger = Heard(), logging.getLogger("playhead.client")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


class Outages:
    """A service on a database that goes away, and comes back when requests were refused often enough."""

    def __init__(self, store: str, heard: Heard) -> None:
        self.store = store
        self._heard = heard

    @contextmanager
    def one(self, refusals: int = REFUSALS) -> Iterator[None]:
        """The database is away from now on, until so many requests were refused."""
        with away(self.store) as back:
            ending = threading.Thread(target=self._end, args=(refusals, back), daemon=True)
            ending.start()
            yield
            ending.join()

    def _end(self, refusals: int, back: Callable[[], object]) -> None:
        while refusals:
            refusals -= self._heard.said.get(timeout=WAIT_S).startswith("A request is sent again")
        back()


@pytest.fixture(params=["embedded on sqlite", "embedded on postgres", "remote on postgres"])
def outages(
    request: pytest.FixtureRequest, tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Outages]:
    """A service of its own, which the runs of the test work with."""
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(repeating, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr(repeating, "PAUSE_S_MAX", 0.01)
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT_S", 0.01)
    client, _, kind = request.param.partition(" on ")
    store = request.getfixturevalue(f"{kind}_store")
    server = ThreadedServer(store) if client == "remote" else None
    if server is None:
        monkeypatch.setenv("PLAYHEAD_DATABASE", store)
    else:
        monkeypatch.setenv("PLAYHEAD_API_URL", server.address)
    yield Outages(store, heard)
    close_clients()
    if server is not None:
        server.close()


@task
def step(number: int) -> int:
    """One of many."""
    return number


@task
async def async_step(number: int) -> int:
    """One of many."""
    return number


def this_run() -> FlowRun:
    """The flow run that the code is in."""
    context = FlowRunContext.get()
    assert context is not None
    return context.flow_run


def decided(run_id: str) -> list[str]:
    """What became of the task runs of a flow run: every proposal is decided once."""
    decisions = []
    for task_run in Service().task_runs(run_id):
        request = v1.ListDecisionsRequest(task_run_id=task_run.spec.id)
        decisions += [
            f"{v1.StateType.Name(each.proposed.type)} {v1.Decision.Name(each.decision)}"
            for each in get_client().unary(LIST_DECISIONS, request).decisions
        ]
    return decisions


def test_a_flow_goes_on_when_its_database_is_back_and_so_does_its_log(outages: Outages) -> None:
    @flow
    def lasting() -> int:
        with outages.one():
            get_run_logger().info("the database is away")
            first: int = step(1)
        return first + step(2)

    assert lasting() == 3
    (run,) = Service().flow_runs("lasting")
    assert run.status.state.name == "Completed"
    assert decided(run.spec.id) == ["RUNNING ACCEPT", "COMPLETED ACCEPT"] * 2
    shipper = log_shipping.shipper_of(get_client())
    assert shipper is not None
    shipper.flush(WAIT_S)
    request = v1.ReadLogsRequest(filter=v1.LogFilter(flow_run_id=run.spec.id))
    messages = [record.message for record in get_client().unary(READ_LOGS, request).records]
    assert messages.count("the database is away") == 1


def test_an_outage_is_told_of_once_by_each_that_looks(outages: Outages, caplog: pytest.LogCaptureFixture) -> None:
    @flow
    def lasting() -> None:
        for _ in range(2):
            with outages.one():
                step(1)

    lasting()
    said = [record.getMessage().split(";")[0] for record in caplog.records if record.name == "playhead.client"]
    told = [each for each in said if each.startswith("The service")]
    assert told == ["The service is away", "The service answers again."] * 2


def test_all_that_wait_at_the_same_time_go_on(outages: Outages) -> None:
    @flow
    def wide() -> list[int]:
        with outages.one(5 * REFUSALS):
            return step.map(list(range(20))).result()

    @flow
    async def awaiting() -> list[int]:
        with outages.one(5 * REFUSALS):
            return await asyncio.gather(*map(async_step, range(20)))

    assert wide() == list(range(20))
    assert asyncio.run(awaiting()) == list(range(20))
    for name in ("wide", "awaiting"):
        (run,) = Service().flow_runs(name)
        assert sorted(decided(run.spec.id)) == ["COMPLETED ACCEPT"] * 20 + ["RUNNING ACCEPT"] * 20


def test_who_waits_for_a_resume_and_for_input_hears_of_it_after_an_outage(outages: Outages) -> None:
    @flow
    def waiting() -> None:
        client, run_id = get_client(), this_run().run_id
        client.unary(PAUSE_FLOW_RUN, v1.PauseFlowRunRequest(request_id=new_id(), flow_run_id=run_id))
        assert state_wanted(client, run_id, lambda state: state.type == v1.PAUSED, WAIT_S).result(WAIT_S)
        resumed = state_wanted(client, run_id, lambda state: state.type == v1.RUNNING, WAIT_S)
        received = inputs_wanted(client, v1.ReceiveInputsRequest(flow_run_id=run_id), WAIT_S)
        with outages.one():
            sent = v1.SendInputRequest(request_id=new_id(), flow_run_id=run_id, key="k", value=b"7")
            client.unary(SEND_INPUT, sent)
            client.unary(RESUME_FLOW_RUN, v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=run_id))
        assert resumed.result(WAIT_S) is not None
        response = received.result(WAIT_S)
        assert response is not None
        assert [each.key for each in response.inputs] == ["k"]

    waiting()


def test_a_lease_is_renewed_when_the_database_is_back(outages: Outages) -> None:
    @flow
    def leased() -> None:
        run = this_run()
        renewal = v1.RenewLeaseRequest(flow_run_id=run.run_id, lease_token=run.lease_token)
        with outages.one():
            assert get_client().submit(RENEW_LEASE, renewal).result(WAIT_S).state.type == v1.RUNNING

    leased()


def impatient_client(outages: Outages) -> RemoteClient | EmbeddedClient:
    """A client of the same service that gives up soon."""
    client = get_client()
    if isinstance(client, RemoteClient):
        return RemoteClient(client.api_url, timeout_s=0.5)
    return EmbeddedClient(outages.store, timeout_s=0.5)


def test_who_stands_in_line_in_an_outage_asks_again_later(outages: Outages) -> None:
    with closing(impatient_client(outages)) as client, away(outages.store):
        assert turn_of(client, new_id(), 0, 0.0).result(WAIT_S) is None


def test_what_the_database_said_is_raised_when_it_stays_away(outages: Outages) -> None:
    @flow
    def before() -> None: ...

    before()
    (run,) = Service().flow_runs("before")
    impatient = impatient_client(outages)
    command = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run.spec.id)
    with closing(impatient), away(outages.store):
        with pytest.raises(JournalUnavailable, match=SAID):
            impatient.unary(CANCEL_FLOW_RUN, command)
        with pytest.raises(JournalUnavailable, match=SAID):
            impatient.submit(CANCEL_FLOW_RUN, command).result(WAIT_S)
