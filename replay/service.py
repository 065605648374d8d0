"""The `Replay` service of the contract, without the wire: messages in, messages out. Blocking; any thread."""

from __future__ import annotations

from playhead import v1
from playhead.journal.journal import Journal
from playhead.projector.service import RunsService
from playhead.replay.explain import explain_run


class ReplayService:
    """Going back, over a journal and its views."""

    def __init__(self, journal: Journal, runs: RunsService) -> None:
        self._journal = journal
        self._runs = runs

    def explain_run(self, request: v1.ExplainRunRequest) -> v1.ExplainRunResponse:
        """Why a run is, or was, as it is."""
        return explain_run(self._journal, self._runs, request)
