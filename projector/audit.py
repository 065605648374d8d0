"""The `Audit` service of the contract, without the wire: what was decided, across all runs. Blocking; any thread."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from playhead import v1
from playhead.exceptions import BadRequest
from playhead.journal import checks
from playhead.journal.encoding import bytes_of
from playhead.journal.journal import Journal
from playhead.journal.payload import event_of
from playhead.journal.record import record_of
from playhead.projector.filters import by_a_rule, decision_clauses, time_range
from playhead.projector.moments import Moments
from playhead.projector.paging import fitting
from playhead.projector.reads import Reads
from playhead.projector.showing import decision_record
from playhead.projector.sql import BY_A_RULE


class AuditService:
    """Decisions of all runs, now or at any revision. `rules` are the names of those that decide here."""

    def __init__(self, journal: Journal, rules: frozenset[str] = frozenset()) -> None:
        self._journal = journal
        self._rules = rules
        self._rules_until = 0
        self._moments = Moments(journal)
        self._reads = Reads(journal.database)

    def find_decisions(self, request: v1.FindDecisionsRequest) -> v1.FindDecisionsResponse:
        """A page of the decisions that a filter lets through. It can be short, even empty, and not the last one."""
        wanted = request.filter
        tables = self._reads.tables
        by_rules = by_a_rule(wanted)
        # What was accepted as it was is elsewhere than in the first place, and is not always asked for.
        places = tables.decided()[:1] if by_rules or wanted.force else tables.decided()
        where = [(decided, decision_clauses(wanted, tables, decided)) for decided in places]
        self._check_rules(wanted.rules)
        if request.order:
            checks.known_enum(request.order, v1.Order.values(), "order")
        if wanted.last_revision and wanted.first_revision > wanted.last_revision:
            raise BadRequest("is after last_revision", field="filter.first_revision")
        times = time_range(wanted.recorded, "filter.recorded")
        page = self._moments.page(request)
        newest_first = request.order != v1.OLDEST_FIRST
        first, last = self._range(wanted, times, page.revision)
        if page.key is not None:
            first, last = (first, min(last, page.key - 1)) if newest_first else (max(first, page.key + 1), last)
        found = v1.FindDecisionsResponse(meta=self._moments.meta(page.revision))
        if first > last:
            return found
        few = self._few(wanted)
        found_in = []
        for decided, clauses in where:
            revision = decided.c.revision
            among = [revision >= first, revision <= last, *([BY_A_RULE] if by_rules else [])]
            if few is not None:
                among.append(revision.in_(few))
            found_in.append(
                self._reads.decisions(decided, among, clauses, newest_first=newest_first, size=page.size + 1)
            )
        # Beyond the nearest end of a look, not all that there is was looked at.
        edge = (max if newest_first else min)((edge for _, edge in found_in if edge is not None), default=None)
        first, last = (edge or first, last) if newest_first else (first, edge or last)
        records = [record_of(row) for rows, _ in found_in for row in rows if first <= row.revision <= last]
        records = sorted(records, key=attrgetter("revision"), reverse=newest_first)[: page.size + 1]
        kept = fitting(records[: page.size], lambda record: len(record.payload or b""))
        found.decisions.extend(decision_record(record, event_of(record)) for record in kept)
        if len(kept) < len(records):
            edge = kept[-1].revision
        if edge is not None:
            found.next_page_token = page.next_token(edge)
        return found

    def _check_rules(self, names: Sequence[str]) -> None:
        """Refuse the name of a rule that is neither among those that decide here nor on record."""
        for index, name in enumerate(names):
            if name and name not in self._rules and name not in self._rules_on_record():
                near = checks.closest(name, self._rules) or "."
                raise BadRequest(
                    f"no rule of the policy, and none on record, is named {name[:60]!r}{near} "
                    "Those of the core policy: playhead policy show core",
                    field=f"filter.rules[{index}]",
                )

    def _rules_on_record(self) -> frozenset[str]:
        """The rules that decide here and all that have ever decided, as of now: what came since the last look."""
        head = self._journal.head()[0]
        self._rules |= self._reads.rules(self._rules_until, head)
        self._rules_until = head
        return self._rules

    def _range(self, wanted: v1.DecisionFilter, times: tuple[int | None, int | None], at: int) -> tuple[int, int]:
        """The first and the last revision that can pass."""
        first, last = wanted.first_revision or 1, min(wanted.last_revision or at, at)
        start, until = times
        if start is not None:
            first = max(first, self._journal.revision_at(start - 1) + 1)
        if until is not None:
            last = min(last, self._journal.revision_at(until - 1))
        return first, last

    def _few(self, wanted: v1.DecisionFilter) -> list[int] | None:
        """The revisions of all events of the runs asked for, where these are few; else None."""
        if not (wanted.run_ids or wanted.within_flow_run_ids):
            return None
        run_ids, within = map(bytes_of, wanted.run_ids), map(bytes_of, wanted.within_flow_run_ids)
        return self._reads.few_events(list(run_ids), list(within))
