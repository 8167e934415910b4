"""The box's kubelet: runs the pods bound to the node as processes of this machine."""

from manta_operator.box.kubelet.config import NodeConfig, Timing
from manta_operator.box.kubelet.images import ImageResolver
from manta_operator.box.kubelet.kubelet import Kubelet

__all__ = ["ImageResolver", "Kubelet", "NodeConfig", "Timing"]
