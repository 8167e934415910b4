"""The policies that are compared, by the names they have in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affinity.policies.cache_aware import CacheAware, CacheAwareTight
from affinity.policies.chwbl import Chwbl
from affinity.policies.manta import Manta, MantaLeastLoad, MantaSimple
from affinity.policies.simple import AtRandom, LeastLoad, RoundRobin

if TYPE_CHECKING:
    from affinity.fleet import Make

POLICIES: dict[str, Make] = {
    "manta": Manta,
    "manta_simple": MantaSimple,
    "manta_least_load": MantaLeastLoad,
    "cache_aware": CacheAware,
    "cache_aware_tight": CacheAwareTight,
    "kubeai_chwbl": Chwbl,
    "least_load": LeastLoad,
    "round_robin": RoundRobin,
    "random": AtRandom,
}
