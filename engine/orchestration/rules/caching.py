"""Results that exist already. The cache view makes the entries, of each COMPLETED with a cache_key that is accepted.

Differs: COMPLETED by force makes an entry too.
"""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, reject, replace
from playhead.engine.orchestration.rules.rule import Rule
from playhead.engine.orchestration.rules.terminal import has_stored_result, is_of_other_arguments


class LimitCacheKeys(Rule):
    """any -> RUNNING, COMPLETED with a cache key over 2,000 bytes: REJECT. Force does not lift it.

    Differs: Prefect answered REJECT and yet wrote the state and the entry. Here nothing is written, and the key is
    refused at RUNNING, before work is done under it.
    """

    to_states = frozenset({v1.RUNNING, v1.COMPLETED})

    def __init__(self, key_bytes_max: int = 2000) -> None:
        """`key_bytes_max` counts UTF-8 bytes."""
        self.key_bytes_max = key_bytes_max

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        key = proposed.details.cache_key
        # Four bytes are the most a character takes: a short key needs no encoding.
        if len(key) * 4 <= self.key_bytes_max or len(key.encode()) <= self.key_bytes_max:
            return None
        return reject(f"The cache key is longer than {self.key_bytes_max} bytes.")


class CacheRetrieval(Rule):
    """any -> RUNNING with a cache key that has an entry, unless refresh_cache: REJECT > COMPLETED "Cached", the entry's
    state with its result and details.

    Comes before anything that waits or takes slots. Differs: a run that is COMPLETED with a stored result of its own
    keeps it, unless that is of other arguments; and an entry whose result is damaged, as the proposal says, or whose
    run was rolled back, is none.
    """

    to_states = frozenset({v1.RUNNING})
    version = 3

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        details = proposed.details
        if not details.cache_key or details.refresh_cache or not facts.HasField("cache_entry"):
            return None
        found, damaged = facts.cache_entry.state, details.damaged_result
        if found.details.rolled_back:
            return None
        own, other = facts.status.state, is_of_other_arguments(facts.status.state, proposed)
        if has_stored_result(own, damaged) and not other:
            return None
        if damaged and not has_stored_result(found, damaged):
            return None
        cached = v1.State()
        cached.CopyFrom(found)
        cached.name = "Cached"
        cached.details.ClearField("transaction_run_id")
        cached.details.arguments_digest = details.arguments_digest
        return replace(cached, f"Found in the cache: the result of task run {facts.cache_entry.task_run_id}.")
