"""All controllers of the box on one runner: what `manta up` starts next to the API server and the kubelet."""

from manta_operator.box.cluster import Cluster
from manta_operator.box.workloads.collector import GarbageCollector
from manta_operator.box.workloads.deployment import DeploymentController
from manta_operator.box.workloads.disruption import DisruptionController
from manta_operator.box.workloads.endpointslice import EndpointSliceController
from manta_operator.box.workloads.namespaces import NamespaceController
from manta_operator.box.workloads.node import NodeResources, detect, register
from manta_operator.box.workloads.replicaset import ReplicaSetController
from manta_operator.box.workloads.runner import Controller, Runner
from manta_operator.box.workloads.scheduler import Scheduler
from manta_operator.box.workloads.statefulset import StatefulSetController


class Controllers:
    """The workload controllers, the scheduler and the garbage collector of one box."""

    def __init__(self, cluster: Cluster, node: NodeResources | None = None) -> None:
        """node: what the machine has; measured now when not given."""
        self._cluster = cluster
        self.node = node or detect()
        controllers: tuple[Controller, ...] = (
            StatefulSetController(cluster),
            DeploymentController(cluster),
            ReplicaSetController(cluster),
            EndpointSliceController(cluster),
            DisruptionController(cluster),
            Scheduler(cluster),
            GarbageCollector(cluster),
            NamespaceController(cluster),
        )
        self._runner = Runner(cluster, controllers)

    async def run(self) -> None:
        """Register the node, then run every controller until cancelled."""
        register(self._cluster, self.node)
        await self._runner.run()
