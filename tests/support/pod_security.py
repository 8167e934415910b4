"""Which controls of Kubernetes' Pod Security Standard "restricted" a pod breaks, in the words of the API server.

With MANTA_CONFORMANCE_URL the API server is asked itself, by a dry run in a namespace that enforces the standard.
"""

import functools
import re
from collections.abc import Callable
from typing import Any

import real_server

Pod = dict[str, Any]
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_NAMESPACE = "manta-pod-security"


def violations(template: Pod) -> set[str]:
    """The controls that a pod of `template` (metadata, spec) breaks; empty for a pod that conforms."""
    if real_server.URL:
        return _asked(template)
    return {control for control, breaks in _CONTROLS.items() if breaks(template["spec"])}


def _containers(pod: Pod) -> list[Pod]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def _contexts(pod: Pod) -> list[Pod]:
    """What holds for each container: its own security context, and the pod's where that says nothing."""
    return [pod.get("securityContext", {}) | each.get("securityContext", {}) for each in _containers(pod)]


def _capabilities(pod: Pod) -> bool:
    found = [context.get("capabilities", {}) for context in _contexts(pod)]
    return any("ALL" not in each.get("drop", ()) or set(each.get("add", ())) - {"NET_BIND_SERVICE"} for each in found)


_CONTROLS: dict[str, Callable[[Pod], bool]] = {
    "host namespaces": lambda pod: any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
    "privileged": lambda pod: any(context.get("privileged") for context in _contexts(pod)),
    "hostPort": lambda pod: any("hostPort" in port for each in _containers(pod) for port in each.get("ports", ())),
    "allowPrivilegeEscalation != false": lambda pod: any(
        context.get("allowPrivilegeEscalation") is not False for context in _contexts(pod)
    ),
    "unrestricted capabilities": _capabilities,
    "restricted volume types": lambda pod: any(set(each) - {"name"} - _VOLUMES for each in pod.get("volumes", ())),
    "runAsNonRoot != true": lambda pod: any(context.get("runAsNonRoot") is not True for context in _contexts(pod)),
    "runAsUser=0": lambda pod: any(context.get("runAsUser") == 0 for context in _contexts(pod)),
    "seccompProfile": lambda pod: any(
        context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost")
        for context in _contexts(pod)
    ),
}


def _asked(template: Pod) -> set[str]:
    _namespace()
    spec = {key: value for key, value in template["spec"].items() if key != "priorityClassName"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "judged"}, "spec": spec}
    code, answer = real_server.call("POST", f"/api/v1/namespaces/{_NAMESPACE}/pods?dryRun=All", pod)
    if code == 201:
        return set()
    assert "violates PodSecurity" in answer["message"], answer
    said = answer["message"].partition('violates PodSecurity "restricted:latest": ')[2]
    return {control for control in _CONTROLS if re.search(rf"(^|, ){re.escape(control)} ", said)}


@functools.cache
def _namespace() -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    code, answer = real_server.call("POST", "/api/v1/namespaces", {"metadata": {"name": _NAMESPACE, "labels": labels}})
    assert code in (201, 409), answer
