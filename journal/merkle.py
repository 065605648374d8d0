"""The RFC 6962 Merkle tree over the leaves of the journal (section 2.1).

Leaf i is the event of revision i + 1. A node (level, index) is the root of the complete subtree over the leaves
index x 2^level … (index + 1) x 2^level - 1; level 0 are the leaves themselves. Only complete subtrees are kept, each
once, when its last leaf arrives: one node per event on average, and never rewritten.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()

Node = tuple[int, int, int, bytes]
"""Number, level, index and hash."""


class Tree:
    """The right edge of a tree of `size` leaves: enough to append and to know the root.

    `edge[level]` is the complete subtree of 2^level leaves that stands alone at the right, None where there is none.
    """

    __slots__ = ("edge", "size")

    def __init__(self, size: int = 0, edge: list[bytes | None] | None = None) -> None:
        self.size = size
        self.edge = edge if edge is not None else []

    @classmethod
    def at(cls, size: int, node: Callable[[int, int], bytes]) -> Tree:
        """The tree as it was with `size` leaves; `node(level, index)` reads a kept node or, at level 0, a leaf."""
        edge = [node(level, (size >> level) - 1) if size >> level & 1 else None for level in range(size.bit_length())]
        return cls(size, edge)

    def copy(self) -> Tree:
        return Tree(self.size, list(self.edge))

    def append(self, leaf: bytes) -> list[Node]:
        """Add a leaf; the nodes above level 0 that it completes."""
        nodes: list[Node] = []
        index, level, node = self.size, 0, leaf
        edge = self.edge
        number = index - index.bit_count()
        while index & 1:
            left = edge[level]
            assert left is not None
            node = sha256(b"\x01" + left + node).digest()
            edge[level] = None
            index >>= 1
            level += 1
            nodes.append((number + level, level, index, node))
        if level == len(edge):
            edge.append(node)
        else:
            edge[level] = node
        self.size += 1
        return nodes

    def root(self) -> bytes:
        """The Merkle tree hash over all leaves."""
        root: bytes | None = None
        for node in self.edge:
            if node is not None:
                root = node if root is None else sha256(b"\x01" + node + root).digest()
        return EMPTY_ROOT if root is None else root


def node_number(level: int, index: int) -> int:
    """Which one of all nodes above level 0, counted from 1 in the order in which leaves complete them, a node is."""
    # Before its last leaf came there were as many nodes as leaves, less one for each subtree that stands alone.
    leaves = ((index + 1) << level) - 1
    return leaves - leaves.bit_count() + level
