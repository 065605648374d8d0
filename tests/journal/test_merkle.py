"""The tree against RFC 6962, section 2.1, written down as it stands there."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

from playhead.journal.merkle import Tree, node_number

LEAVES = [sha256(b"\x00" + number.to_bytes(4, "big")).digest() for number in range(301)]


@cache
def rfc_6962_root(first: int, end: int) -> bytes:
    """MTH(D[first:end]) by its recursive definition, the leaf hashes given."""
    size = end - first
    if size == 0:
        return sha256(b"").digest()
    if size == 1:
        return LEAVES[first]
    split = 1
    while split * 2 < size:
        split *= 2
    return sha256(b"\x01" + rfc_6962_root(first, first + split) + rfc_6962_root(first + split, end)).digest()


def test_the_root_of_every_size_is_that_of_rfc_6962() -> None:
    tree = Tree()
    for size in range(301):
        assert (tree.size, tree.root()) == (size, rfc_6962_root(0, size))
        if size < 300:
            tree.append(LEAVES[size])


def test_the_root_of_no_leaves_and_of_one_are_those_of_the_standard() -> None:
    assert Tree().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    tree = Tree()
    tree.append(sha256(b"\x00").digest())
    assert tree.root().hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_a_tree_is_found_again_at_any_size_from_its_kept_nodes() -> None:
    kept = {(0, index): leaf for index, leaf in enumerate(LEAVES)}
    tree = Tree()
    for size in range(301):
        found = Tree.at(size, lambda level, index: kept[level, index])
        assert (found.size, found.root()) == (tree.size, tree.root())
        nodes = tree.append(LEAVES[size])
        assert found.append(LEAVES[size]) == nodes
        assert found.root() == tree.root()
        kept.update({(level, index): node for _, level, index, node in nodes})
    assert len(kept) < 2 * (tree.size + 1)


def test_every_kept_node_is_the_root_of_its_complete_subtree_and_is_kept_once_in_order() -> None:
    tree, kept = Tree(), {}
    for leaf in LEAVES:
        for number, level, index, node in tree.append(leaf):
            assert (level, index) not in kept
            assert number == node_number(level, index) == len(kept) + 1
            kept[level, index] = node
    for (level, index), node in kept.items():
        assert node == rfc_6962_root(index << level, (index + 1) << level)
    assert len(kept) == sum(len(LEAVES) >> level for level in range(1, 9))
