"""What a task run that tracks a subflow is told."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.subflows import UpdateSubflowParentTask
from tests.orchestration.given import TASK, facts, inside, state
from tests.orchestration.rule_cases import RECORDS, Case, passes, row, table

CHILD = "c1"

CASES: list[Case] = table(
    UpdateSubflowParentTask,
    "UpdateSubflowParentTask",
    TASK,
    *(
        row(facts(state(before)), state(to, child_flow_run_id=CHILD), RECORDS, "A", force=True)
        for before, to in (
            (v1.PENDING, v1.RUNNING),
            (v1.RUNNING, v1.SCHEDULED),
            (v1.RUNNING, v1.COMPLETED),
            (v1.FAILED, v1.RUNNING),
        )
    ),
    row(
        inside(facts(state(v1.RUNNING)), v1.CANCELLED),
        state(v1.RUNNING, child_flow_run_id=CHILD),
        RECORDS,
        "A",
        force=True,
    ),
    passes(facts(state(v1.PENDING)), state(v1.RUNNING), force=True),
)
