"""What RDMA needs of a pod goes through spec.podTemplate, merged over what Manta builds, with nothing of it lost."""

from make import deployment

from manta_operator.builders.desired import desire
from manta_operator.planning.observe import Observed

OVERLAY = {
    "spec": {
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "containers": [
            {
                "name": "engine",
                "resources": {"limits": {"rdma/hca": "1", "hugepages-2Mi": "2Gi"}},
                "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
                "volumeMounts": [{"name": "hugepages", "mountPath": "/dev/hugepages"}],
            }
        ],
        "volumes": [{"name": "hugepages", "emptyDir": {"medium": "HugePages-2Mi"}}],
    }
}


def pod_of(**spec):
    desired = desire(deployment(parallelism={"tensor": 8, "pipeline": 2}, **spec), None, Observed(()))
    assert not isinstance(desired, tuple), desired
    pod = desired.template["spec"]
    [engine] = [each for each in pod["containers"] if each["name"] == "engine"]
    return pod, engine


def test_devices_memory_and_capabilities_are_added():
    pod, engine = pod_of(podTemplate=OVERLAY)
    assert engine["resources"]["limits"] == {"nvidia.com/gpu": "8", "rdma/hca": "1", "hugepages-2Mi": "2Gi"}
    assert engine["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert {"name": "hugepages", "mountPath": "/dev/hugepages"} in engine["volumeMounts"]
    assert {mount["name"] for mount in engine["volumeMounts"]} > {"shm", "state"}
    assert {"name": "hugepages", "emptyDir": {"medium": "HugePages-2Mi"}} in pod["volumes"]


def test_the_network_of_the_host_is_a_choice():
    pod, engine = pod_of(podTemplate=OVERLAY)
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert [port["containerPort"] for port in engine["ports"]] == [8000, 8001], "so one engine pod a node"
    assert "hostNetwork" not in pod_of()[0]


def test_variables_of_the_network_reach_the_engine():
    variables = [{"name": "NCCL_IB_HCA", "value": "=mlx5_0"}, {"name": "GLOO_SOCKET_IFNAME", "value": "eth0"}]
    _, engine = pod_of(engine={"env": variables})
    assert [var for var in engine["env"] if var in variables] == variables
