"""Which groups are pruned first when some must be: those with which least is lost. Pure.

    broken, then not ready, then by cost, then the youngest

    cost = in flight x REQUEST_TOKENS + hit tokens                       in prompt tokens, of a group that serves
    in flight     requests that it has to finish before it is gone: its accelerators work for nobody new meanwhile
    hit tokens    prompt tokens that its prefix cache has saved in the last HIT_SECONDS: others compute them anew

A token of an answer costs as much as about ten of a prompt (a step for one of them reads all weights), and of a request
in flight half an answer is still to come. Where no cache is known, requests in flight alone decide; where these are
not known either, the youngest goes: it has had least time to fill its cache.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from manta_operator.planning.observed import ObservedGroup

REQUEST_TOKENS = 1000.0
"""What finishing a request in flight costs, in prompt tokens: half of 200 tokens of answer, at ten each."""
HIT_SECONDS = 300.0
"""What a cache has saved before that says little of what it would save now."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What goes with a replica: requests `in_flight`, and prompt tokens that its cache saved in HIT_SECONDS."""

    in_flight: int = 0
    hit_tokens: float = 0.0

    @property
    def cost(self) -> float:
        """All of it in prompt tokens."""
        return self.in_flight * REQUEST_TOKENS + self.hit_tokens


NOTHING = Loss()


def order(
    groups: Iterable[ObservedGroup],
    broken: frozenset[str],
    loads: Mapping[str, int] | None,
    losses: Mapping[str, Loss] | None = None,
) -> tuple[ObservedGroup, ...]:
    """Return the groups, who is pruned first first.

    Args:
        groups: Who may have to be pruned.
        broken: Names of groups that are in trouble.
        loads: Requests in flight, by name; a group that says nothing counts as idle. None: not known.
        losses: The same with what their caches save; takes the place of the loads. None: not known.
    """

    def key(group: ObservedGroup) -> tuple[int, float, float, int, str]:
        standing = 2 if group.ready else 0 if group.lost or group.name in broken else 1
        cost = _cost(group.name, loads, losses) if group.ready else 0.0
        return (standing, cost, -group.created, -group.index, group.name)

    return tuple(sorted(groups, key=key))


def _cost(name: str, loads: Mapping[str, int] | None, losses: Mapping[str, Loss] | None) -> float:
    if losses is not None:
        return losses.get(name, NOTHING).cost
    return (loads or {}).get(name, 0) * REQUEST_TOKENS


def competing(groups: Iterable[ObservedGroup], count: int) -> bool:
    """Whether loads would decide: some of the groups that serve are pruned when `count` are, and some stay."""
    members = tuple(groups)
    serving = sum(group.ready for group in members)
    of_serving = count - (len(members) - serving)
    return 0 < of_serving < serving
