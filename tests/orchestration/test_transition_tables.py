"""docs/transitions.md is what the rules say, and the public API answers what docs/transitions.md says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache

import grpc
import pytest

from docs import folding
from docs import generate_transitions as tables
from playhead import v1
from playhead.engine.orchestration.policy import Subject
from playhead.v1.orchestration_pb2_grpc import OrchestrationStub
from tests.grpc_server.conftest import ThreadedServer, server
from tests.orchestration.asking import MadeRun, World, differing
from tests.orchestration.circumstances import START_S
from tests.orchestration.commanding import ALICE, SECOND_US, Commanding, commanding, new_id
from tests.orchestration.given import FLOW, NOW_S, TASK
from tests.orchestration.transition_cases import Answer, Case, answer, cases, facts_of

__all__ = ["server"]

both_subjects = pytest.mark.parametrize("subject", [FLOW, TASK])
forced_or_not = pytest.mark.parametrize("force", [False, True])


@cache
def answered(subject: Subject, force: bool) -> dict[Case, Answer]:
    """Every case and what `decide` answers."""
    facts: dict[object, v1.Facts] = {}
    answers = {}
    for case in cases(subject, force):
        if case.run_key() not in facts:
            facts[case.run_key()] = facts_of(case.run())
        answers[case] = answer(case, facts[case.run_key()])
    return answers


def one_of_each(subject: Subject, force: bool) -> dict[Case, Answer]:
    """For every cell, one case of each answer that it can give."""
    found = {(case.row, case.column, given): case for case, given in reversed(answered(subject, force).items())}
    return {case: given for (_, _, given), case in found.items()}


def test_the_document_is_what_the_rules_say_now() -> None:
    assert tables.TARGET.read_text(encoding="utf-8") == tables.document(), "write it anew: make docs"


@both_subjects
@forced_or_not
def test_each_cell_gives_every_case_its_answer(subject: Subject, force: bool) -> None:
    """Reading a table as its head says: what goes before the cells, then the cell from left to right."""
    decided = tables.decided(subject, force, tables.numbered(subject))
    everywhere, rest = folding.factored(subject, decided)
    cells = folding.by_cell(rest)
    clauses = {place: folding.folded(found) for place, found in cells.items()}
    for one in decided:
        first = [each.clause for each in everywhere if folding.applies(each, one)]
        assert folding.read([*first, *clauses.get((one.case.row, one.case.column), [])], one) == one.answer


def test_no_clause_of_a_cell_can_be_left_out() -> None:
    """The tables are as short as they can be: without a clause, some case would get another answer."""
    for subject in (FLOW, TASK):
        _, rest = folding.factored(subject, tables.decided(subject, False, tables.numbered(subject)))
        for found in folding.by_cell(rest).values():
            clauses = folding.folded(found)
            for left_out in clauses[:-1]:
                shorter = [clause for clause in clauses if clause is not left_out]
                assert any(folding.read(shorter, one) != one.answer for one in found)


@pytest.fixture
def command(sqlite_store: str) -> Iterator[Commanding]:
    with commanding(sqlite_store) as ready:
        ready.clock.now_us = (NOW_S + START_S) * SECOND_US
        yield ready


@pytest.fixture
def world(command: Commanding) -> World:
    """Runs in the journal of `command`."""
    orchestration = command.orchestration
    return World(
        lambda batch: orchestration.propose_states(batch, ALICE).result(),
        lambda limit: orchestration.set_concurrency_limit(limit, ALICE).result(),
        command.flow_id,
    )


@both_subjects
@forced_or_not
def test_the_api_answers_each_case_as_its_cell_says(
    subject: Subject, force: bool, command: Commanding, world: World
) -> None:
    """The whole cross product, asked with validate_only, so that one run serves for all that can be proposed for it."""
    expected = answered(subject, force)
    runs = {case.run_key(): case.run() for case in expected}
    made = dict(zip(runs, world.make(list(runs.values())), strict=True))
    command.clock.advance(-START_S * SECOND_US)
    answers = world.ask([(case, made[case.run_key()]) for case in expected], validate_only=True)
    assert differing(expected, answers) == []


@both_subjects
@forced_or_not
def test_what_is_answered_is_what_is_recorded(subject: Subject, force: bool, command: Commanding, world: World) -> None:
    """One case of each answer of each cell: the response, the decision on record, and the run afterwards."""
    expected = one_of_each(subject, force)
    made = world.make([case.run() for case in expected])
    command.clock.advance(-START_S * SECOND_US)
    answers = world.ask(list(zip(expected, made, strict=True)))
    assert differing(expected, answers) == []
    for given, run, response in zip(expected.values(), made, answers, strict=True):
        status, decision = look(command, run)
        assert (decision.revision, decision.decision, decision.rule) == (
            response.meta.revision,
            given.decision,
            given.rule,
        )
        assert (status.state.type, status.state.name, status.run_count) == (given.type, given.name, given.run_count)


def look(command: Commanding, run: MadeRun) -> tuple[v1.RunStatus, v1.DecisionRecord]:
    """A run as it is read, and the last decision about it."""
    runs = command.orchestrator.runs
    if run.subject is FLOW:
        status = runs.get_flow_run(v1.GetFlowRunRequest(flow_run_id=run.id)).flow_run.status
        decisions = runs.list_decisions(v1.ListDecisionsRequest(flow_run_id=run.id)).decisions
    else:
        status = runs.get_task_run(v1.GetTaskRunRequest(task_run_id=run.id)).task_run.status
        decisions = runs.list_decisions(v1.ListDecisionsRequest(task_run_id=run.id)).decisions
    return status, decisions[-1]


def test_a_server_answers_the_same(server: ThreadedServer) -> None:
    """One case of each answer of each cell, over gRPC, but for those that only time brings about."""
    with grpc.insecure_channel(server.address.removeprefix("grpc://")) as channel:
        orchestration = OrchestrationStub(channel)
        flow = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="etl")
        world = World(
            lambda batch: next(orchestration.ProposeStates(iter([batch]))),
            orchestration.SetConcurrencyLimit,
            orchestration.RegisterFlow(flow).flow.id,
            shift_s=int(time.time()) - NOW_S - START_S,
        )
        for subject in (FLOW, TASK):
            expected = {
                case: given
                for case, given in one_of_each(subject, False).items()
                if not any(choice.takes_time for choice in case.choices)
            }
            made = world.make([case.run() for case in expected])
            answers = world.ask(list(zip(expected, made, strict=True)))
            # The seconds to wait depend on when the server got to it.
            assert differing(expected, answers, delays=False) == []
