"""Whether an operator runs, as far as its Lease tells: for `manta release`, which must know, and `manta status`.

That a Lease is renewed while we look proves an operator; the time it tells is written by another clock, and good for
a hint alone.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from manta_operator.api import names
from manta_operator.cli.kubeconfig import Object
from manta_operator.cli.picture import age
from manta_operator.cli.rest import Api, CallFailed

MARK = "manta"
"""What the name of an operator's Lease contains, if it is from before Leases had the label."""
LOOK_SECONDS = 1.0
_STALE = timedelta(minutes=1)
_NODES = "kube-node-lease"


async def held(api: Api) -> list[Object] | None:
    """Return the Leases that an operator of any namespace holds; None without the right to look. Raises CallFailed."""
    try:
        found = await api.list("coordination.k8s.io/v1", "Lease")
    except CallFailed as error:
        if error.code != 403:
            raise
        return None
    return [lease for lease in found if _is_operators(lease) and _holder(lease)]


async def renewed(api: Api, leases: Iterable[Object]) -> Object | None:
    """Watch the Leases for as long as they last; return the first one that is renewed, None if none is."""
    before = {lease["metadata"]["uid"]: lease["metadata"]["resourceVersion"] for lease in leases}
    for _ in range(int(longest(leases) / LOOK_SECONDS) + 1):
        await asyncio.sleep(LOOK_SECONDS)
        for lease in await held(api) or ():
            if before.get(lease["metadata"]["uid"]) != lease["metadata"]["resourceVersion"]:
                return lease
    return None


def longest(leases: Iterable[Object]) -> int:
    """Return how many seconds the longest of the Leases lasts without being renewed."""
    return max(int(lease["spec"].get("leaseDurationSeconds") or 15) for lease in leases)


def in_words(lease: Object) -> str:
    """Return who holds which Lease."""
    return f"{_holder(lease)} (Lease {lease['metadata']['namespace']}/{lease['metadata']['name']})"


def hint(leases: list[Object] | None, now: datetime) -> str:
    """Return what the Leases say about an operator that does not do its work. Pure."""
    if leases is None:
        return "you may not list Leases, so it cannot be said whether an operator runs"
    if not leases:
        return "no operator holds a Lease: none runs, or one without --leader-elect; docs/install.md installs it"
    newest = max(leases, key=_renewed_at)
    namespace, since = newest["metadata"]["namespace"], _renewed_at(newest)
    if now - since > _STALE:
        gone = f"{in_words(newest)} was last heard of {age(since.isoformat(), now)} ago"
        return f"no operator runs: {gone}; look at `kubectl get pods -n {namespace}`"
    return f"an operator runs, {in_words(newest)}: its log tells more, and whether it watches this namespace"


def _is_operators(lease: Object) -> bool:
    metadata = lease["metadata"]
    labelled = (metadata.get("labels") or {}).get(names.LABEL_NAME) == "manta"
    return labelled or (MARK in metadata["name"] and metadata["namespace"] != _NODES)


def _holder(lease: Object) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _renewed_at(lease: Object) -> datetime:
    stamp = lease["spec"].get("renewTime") or lease["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(stamp).astimezone(UTC) if stamp else datetime.fromtimestamp(0, UTC)
