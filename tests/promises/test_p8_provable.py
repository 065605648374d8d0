"""P8: provable. Any history's leaves and roots are those of RFC 6962, at every size, and grow without ever changing."""

from __future__ import annotations

from hashlib import sha256

from playhead.journal.merkle import EMPTY_ROOT
from playhead.replay.verify import verify_journal
from tests.histories import Life, over_histories
from tests.stores import NewStore


def rfc_6962_root(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash by its recursive definition, the leaf hashes given."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + rfc_6962_root(leaves[:split]) + rfc_6962_root(leaves[split:])).digest()


def test_p8_the_root_at_every_revision_is_that_of_the_leaves_up_to_it(new_store: NewStore) -> None:
    over_histories(new_store, check_roots, examples=10 if new_store.kind == "sqlite" else 3)


def check_roots(life: Life) -> None:
    """Roots at all sizes, from the kept nodes, before and after reopening; and the journal verifies."""
    leaves = [record.leaf for record in life.records()]
    roots = [rfc_6962_root(leaves[:size]) for size in range(len(leaves) + 1)]
    assert [life.orchestrator.journal.root(size) for size in range(len(roots))] == roots
    life.reopen()
    life.send(*life.sent[-1][:3])
    life.settle()
    assert [life.orchestrator.journal.root(size) for size in range(len(roots))] == roots
    verified = verify_journal(life.orchestrator.journal)
    assert verified.root == life.orchestrator.journal.root(life.head())
    assert verify_journal(life.orchestrator.journal, expected=(len(leaves), roots[-1])).revision == life.head()
