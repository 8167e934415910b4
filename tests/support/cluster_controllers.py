"""The box's own workload controllers and scheduler, as a process beside an API server that lacks them.

    python cluster_controllers.py KUBECONFIG PREFIX [controllers] [scheduler]

They care for namespaces and nodes whose names begin with PREFIX, and for nothing else on that server.
"""

import asyncio
import sys

from cluster_cache import CachedCluster
from cluster_credentials import read

from manta_operator.box.workloads.collector import GarbageCollector
from manta_operator.box.workloads.deployment import DeploymentController
from manta_operator.box.workloads.disruption import DisruptionController
from manta_operator.box.workloads.endpointslice import EndpointSliceController
from manta_operator.box.workloads.namespaces import NamespaceController
from manta_operator.box.workloads.replicaset import ReplicaSetController
from manta_operator.box.workloads.runner import Runner
from manta_operator.box.workloads.scheduler import Scheduler
from manta_operator.box.workloads.statefulset import StatefulSetController

PARTS = {
    "controllers": (
        StatefulSetController,
        DeploymentController,
        ReplicaSetController,
        EndpointSliceController,
        DisruptionController,
        GarbageCollector,
        NamespaceController,
    ),
    "scheduler": (Scheduler,),
}


async def run(kubeconfig, prefix, parts):
    """Run the parts until this process ends."""

    def ours(obj):
        return (obj["metadata"].get("namespace") or obj["metadata"]["name"]).startswith(prefix)

    cluster = CachedCluster(read(kubeconfig), ours)
    await Runner(cluster, [make(cluster) for part in parts for make in PARTS[part]]).run()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3:]))
