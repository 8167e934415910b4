"""The approximate radix tree of vllm-router's cache_aware policy, over the blocks of a prompt instead of characters.

Written from github.com/vllm-project/router, `src/tree.rs`, commit 1dbe507: one tree for all workers; a node knows who
has its text and when they used it; a match names the worker that made the node as long as it is there; the least
recently used leaves of a worker go when it has too many characters. Two prompts differ from the first character of the
first block that differs, so matching blocks instead of characters changes nothing but the few characters (of thousands)
that two different blocks have in common by chance.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Symbol = tuple[int, int]
"""A block of text: its id and how many characters it has."""


@dataclass(eq=False)
class Node:
    """`text` leads here from `parent`; `used` is when each worker last used it (0: passed on the way)."""

    text: tuple[Symbol, ...]
    parent: Node | None
    used: dict[int, int]
    last_worker: int | None
    children: dict[Symbol, Node] = field(default_factory=dict)

    @property
    def characters(self) -> int:
        """How much text the node has."""
        return sum(size for _, size in self.text)


class RadixTree:
    """The tree of all workers."""

    def __init__(self, workers: int) -> None:
        self.characters = [0] * workers
        self.root = Node((), None, dict.fromkeys(range(workers), 0), None)
        self._epoch = 0

    def insert(self, text: tuple[Symbol, ...], worker: int) -> None:
        """Note that `worker` has got `text`."""
        node, at = self.root, 0
        while at < len(text):
            child = node.children.get(text[at])
            if child is None:
                leaf = Node(text[at:], node, {worker: self._tick()}, worker)
                node.children[text[at]] = leaf
                self.characters[worker] += leaf.characters
                return
            shared = _shared(child.text, text, at)
            if shared < len(child.text):
                child = _split(child, shared)
            if worker not in child.used:
                self.characters[worker] += child.characters
                child.used[worker] = 0
            node, at = child, at + shared
        node.used[worker] = self._tick()

    def match(self, text: tuple[Symbol, ...]) -> tuple[int | None, int]:
        """Return a worker that has the longest known beginning of `text`, and that beginning's characters."""
        node, at, matched = self.root, 0, 0
        while at < len(text) and (child := node.children.get(text[at])) is not None:
            shared = _shared(child.text, text, at)
            matched += sum(size for _, size in child.text[:shared])
            node, at = child, at + shared
            if shared < len(child.text):
                break
        if node.last_worker not in node.used:
            node.last_worker = next(iter(node.used), None)
        epoch = self._tick()
        if epoch & 7 == 0 and node.last_worker is not None:
            node.used[node.last_worker] = epoch
        return node.last_worker, matched

    def evict(self, most: int) -> None:
        """Take the least recently used leaves from every worker that has more than `most` characters."""
        order = itertools.count()
        heap = [(n.used[worker], next(order), worker, n) for n in self._nodes() for worker in _leaf_of(n)]
        heapq.heapify(heap)
        while heap:
            _, _, worker, node = heapq.heappop(heap)
            if self.characters[worker] <= most or worker not in _leaf_of(node) or node.parent is None:
                continue
            self.characters[worker] -= node.characters
            del node.used[worker]
            parent = node.parent
            if not node.children and not node.used:
                del parent.children[node.text[0]]
            if worker in _leaf_of(parent):
                heapq.heappush(heap, (parent.used[worker], next(order), worker, parent))

    def _nodes(self) -> Sequence[Node]:
        found = [self.root]
        for node in found:
            found.extend(node.children.values())
        return found

    def _tick(self) -> int:
        self._epoch += 1
        return self._epoch - 1


def _shared(known: tuple[Symbol, ...], text: tuple[Symbol, ...], at: int) -> int:
    count = 0
    for one, other in zip(known, text[at : at + len(known)], strict=False):
        if one != other:
            break
        count += 1
    return count


def _split(node: Node, at: int) -> Node:
    """Put a node with the first `at` blocks of `node` above it."""
    parent = node.parent
    if parent is None:
        raise ValueError("the root has no text to split")
    upper = Node(node.text[:at], parent, dict(node.used), node.last_worker, {node.text[at]: node})
    parent.children[node.text[0]] = upper
    node.text, node.parent = node.text[at:], upper
    return upper


def _leaf_of(node: Node) -> list[int]:
    """Workers that have this node and none below it."""
    below = {worker for child in node.children.values() for worker in child.used}
    return [worker for worker in node.used if worker not in below]
