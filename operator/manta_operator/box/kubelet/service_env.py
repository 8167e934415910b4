"""Variables that tell a container of the Services, as a real kubelet sets them. Pure.

`sandbox.py` adds them below the pod's own. A Service `vllm` becomes VLLM_PORT, among others, which programs that read
such a variable stumble over: in the box as in a cluster. `enableServiceLinks: false` keeps them out.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from manta_operator.box.cluster import Object


def service_env(services: Iterable[Object]) -> dict[str, str]:
    """Variables for these Services, all of one namespace; those without a cluster IP have none."""
    env: dict[str, str] = {}
    for service in services:
        spec = service["spec"]
        if spec.get("ports") and spec.get("clusterIP") not in (None, "", "None"):
            env |= _of_service(_name(service["metadata"]["name"]), spec["clusterIP"], spec["ports"])
    return env


def _of_service(name: str, address: str, ports: list[Mapping[str, Any]]) -> dict[str, str]:
    env = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            env[f"{name}_SERVICE_PORT_{_name(port['name'])}"] = str(port["port"])
    first, *_ = urls = [f"{_protocol(port)}://{address}:{port['port']}" for port in ports]
    env[f"{name}_PORT"] = first
    for port, url in zip(ports, urls, strict=True):
        prefix = f"{name}_PORT_{port['port']}_{_protocol(port).upper()}"
        env |= {
            prefix: url,
            f"{prefix}_PROTO": _protocol(port),
            f"{prefix}_PORT": str(port["port"]),
            f"{prefix}_ADDR": address,
        }
    return env


def _protocol(port: Mapping[str, Any]) -> str:
    return str(port.get("protocol") or "TCP").lower()


def _name(text: str) -> str:
    return text.upper().replace("-", "_")
