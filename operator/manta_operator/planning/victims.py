"""Which groups are pruned first when some must be: broken, then not ready, then least loaded, then youngest. Pure."""

from collections.abc import Iterable, Mapping

from manta_operator.planning.observed import ObservedGroup


def order(
    groups: Iterable[ObservedGroup], broken: frozenset[str], loads: Mapping[str, int] | None
) -> tuple[ObservedGroup, ...]:
    """Return the groups, who is pruned first first.

    Args:
        groups: Who may have to be pruned.
        broken: Names of groups that are in trouble.
        loads: Requests in flight, by name; a group that says nothing counts as idle. None: not known.
    """

    def key(group: ObservedGroup) -> tuple[int, int, float, int, str]:
        standing = 2 if group.ready else 0 if group.lost or group.name in broken else 1
        load = (loads or {}).get(group.name, 0) if group.ready else 0
        return (standing, load, -group.created, -group.index, group.name)

    return tuple(sorted(groups, key=key))


def competing(groups: Iterable[ObservedGroup], count: int) -> bool:
    """Whether loads would decide: some of the groups that serve are pruned when `count` are, and some stay."""
    members = tuple(groups)
    serving = sum(group.ready for group in members)
    of_serving = count - (len(members) - serving)
    return 0 < of_serving < serving
