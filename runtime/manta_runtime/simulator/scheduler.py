"""Which sequences a step of the engine computes: vLLM's scheduler, without tensors. Pure: no clock, no I/O.

The rules of vLLM 0.32 (`v1/core/sched/scheduler.py`): a budget of tokens per step; running sequences first, then
waiting ones in order of arrival while there are places; long prompts in chunks; without a free block the youngest
running sequence gives its blocks back and waits, first in the queue, to be computed again (preemption).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from manta_runtime.simulator.kv_cache import KvCache, block_names


@dataclass(frozen=True)
class Limits:
    """Sequences running at once, tokens per step, tokens per block, blocks in all, and whether prefixes are shared."""

    sequences: int = 256
    step_tokens: int = 8192
    block_size: int = 16
    blocks: int = 4096
    prefix_caching: bool = True


@dataclass(eq=False)
class Sequence:
    """One answer in the making. `tokens`: prompt, then answer; `length`: how many of the answer it will have."""

    tokens: tuple[int, ...]
    prompt_tokens: int
    length: int
    generated: int = 0
    computed: int = 0
    cached: int = 0
    """Tokens of the prompt that were found in the cache."""
    preemptions: int = 0
    names: tuple[int, ...] = ()
    filled: int = 0
    """Blocks held by name; they are the first ones."""
    nameless: int = 0

    @property
    def done(self) -> bool:
        """Whether every token has been generated."""
        return self.generated >= self.length


@dataclass(frozen=True)
class Step:
    """What one step computes: tokens of each sequence, of those new to the engine, and tokens attended to."""

    shares: tuple[tuple[Sequence, int], ...]
    prefill_tokens: int
    context_tokens: int
    admitted: tuple[Sequence, ...]


@dataclass
class Scheduler:
    """The state of the engine: who runs, who waits, which blocks are held."""

    limits: Limits
    running: list[Sequence] = field(default_factory=list)
    waiting: deque[Sequence] = field(default_factory=deque)
    preempted: int = 0

    def __post_init__(self) -> None:
        self.cache = KvCache(self.limits.blocks)

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its first step."""
        if self.limits.prefix_caching:
            sequence.names = block_names(sequence.tokens, self.limits.block_size)
        self.waiting.append(sequence)

    def drop(self, sequence: Sequence) -> None:
        """Forget a sequence whose client has left."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._release(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def plan(self) -> Step | None:
        """Choose what the next step computes; None when there is nothing to do."""
        shares: dict[Sequence, int] = {}
        budget, before = self.limits.step_tokens, self.preempted
        for sequence in tuple(self.running):
            if budget and sequence in self.running:
                budget -= self._share(sequence, budget, shares)
        admitted: list[Sequence] = []
        while self.preempted == before and self.waiting and budget and len(self.running) < self.limits.sequences:
            taken = self._admit(budget, shares)
            if not taken:
                break
            budget -= taken
            admitted.append(self.running[-1])
        if not shares:
            return None
        prefill = sum(count for sequence, count in shares.items() if sequence.computed < sequence.prompt_tokens)
        context = sum(sequence.computed for sequence in shares)
        return Step(tuple(shares.items()), prefill, context, tuple(admitted))

    def finish(self, step: Step) -> tuple[Sequence, ...]:
        """The step has been computed: return the sequences that got one more token, the finished ones removed."""
        grown = []
        for sequence, count in step.shares:
            if sequence not in self.running:
                continue
            sequence.computed += count
            self._name_blocks(sequence)
            if sequence.computed < sequence.prompt_tokens + sequence.generated:
                continue
            sequence.generated += 1
            grown.append(sequence)
            if sequence.done:
                self.running.remove(sequence)
                self._release(sequence)
        return tuple(grown)

    def _share(self, sequence: Sequence, budget: int, shares: dict[Sequence, int]) -> int:
        """Give a running sequence its tokens of this step, preempting the youngest while blocks are missing."""
        count = min(budget, sequence.prompt_tokens + sequence.generated - sequence.computed)
        while self._missing(sequence, count) > self.cache.free:
            youngest = self.running.pop()
            self._release(youngest)
            shares.pop(youngest, None)
            youngest.computed = 0
            youngest.preemptions += 1
            self.preempted += 1
            self.waiting.appendleft(youngest)
            if youngest is sequence:
                return 0
        self._hold(sequence, count)
        shares[sequence] = count
        return count

    def _admit(self, budget: int, shares: dict[Sequence, int]) -> int:
        """Let the first of the queue run; return how many tokens it takes, 0 when its blocks are not to be had."""
        sequence = self.waiting[0]
        size, present = self.limits.block_size, sequence.prompt_tokens + sequence.generated
        # The last token is always computed: its output is what the next one is made of.
        reusable = sequence.names[: (present - 1) // size]
        hits = self.cache.known(reusable)
        count = min(budget, present - hits * size)
        blocks = -(-(hits * size + count) // size)
        if blocks > self.cache.free:
            return 0
        self.waiting.popleft()
        for name in reusable[:hits]:
            self.cache.take(name)
        sequence.filled, sequence.computed = hits, hits * size
        if not sequence.preemptions:
            sequence.cached = hits * size
        self._hold(sequence, count)
        self.running.append(sequence)
        shares[sequence] = count
        return count

    def _missing(self, sequence: Sequence, count: int) -> int:
        needed = -(-(sequence.computed + count) // self.limits.block_size)
        return max(0, needed - sequence.filled - sequence.nameless)

    def _hold(self, sequence: Sequence, count: int) -> None:
        for _ in range(self._missing(sequence, count)):
            self.cache.take()
            sequence.nameless += 1

    def _name_blocks(self, sequence: Sequence) -> None:
        full = min(sequence.computed // self.limits.block_size, len(sequence.names))
        while sequence.filled < full:
            self.cache.fill(sequence.names[sequence.filled])
            sequence.filled += 1
            sequence.nameless -= 1

    def _release(self, sequence: Sequence) -> None:
        self.cache.give_back(sequence.names[: sequence.filled], sequence.nameless)
        sequence.filled = sequence.nameless = 0
