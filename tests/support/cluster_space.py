"""A test's own namespace, with played nodes and an operator: short words for what a user and an on-call see there."""

import contextlib
import time

from manta_operator.api.names import LABEL_DEPLOYMENT
from manta_operator.box.cluster import ApiError

KIND = "LLMDeployment"
SECONDS = 60
CHILD_KINDS = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "StatefulSet",
    "Deployment",
)


class Space:
    """One namespace. `cluster` is the administrator's way to the API server, `played` are nodes and pods."""

    def __init__(self, server, name, played, operator):
        self.server, self.name, self.played, self.operator = server, name, played, operator
        self.cluster = server.cluster

    def body(self, name, **spec):
        """An LLMDeployment of the tiny model on CPU, on the played nodes."""
        where = self.played.scheduling
        base = {
            "model": {"uri": "file:///models/tiny"},
            "accelerator": {"type": "cpu"},
            "scheduling": where,
            "router": {"replicas": 1, "scheduling": where},
        }
        for key, value in spec.items():
            base[key] = base.get(key, {}) | value if isinstance(value, dict) else value
        meta = {"name": name, "namespace": self.name}
        return {"apiVersion": "manta.dev/v1alpha1", "kind": KIND, "metadata": meta, "spec": base}

    def make(self, name, **spec):
        """Create one."""
        return self.cluster.create(self.body(name, **spec))

    def change(self, name, **spec):
        """Merge-patch its spec."""
        return self.cluster.patch(KIND, self.name, name, {"spec": spec})

    def scale(self, name, replicas):
        """Scale through the subresource, as `kubectl scale` and an HPA do."""
        path = self.cluster.path(KIND, self.name, name, "scale")
        return self.cluster.call("PATCH", path, {"spec": {"replicas": replicas}}, "application/merge-patch+json")

    def get(self, kind, name):
        return self.cluster.find(kind, self.name, name)

    def list(self, kind, **labels):
        return self.cluster.list(kind, self.name, labels)

    def until(self, what, condition, seconds=SECONDS):
        """Wait until `condition` is true and return it; what cannot be looked up is not there yet."""
        deadline, last = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            with contextlib.suppress(LookupError):
                if last := condition():
                    return last
            time.sleep(0.1)
        said = "\n".join(self.operator.log.splitlines()[-15:]) if self.operator else ""
        raise AssertionError(f"not after {seconds} s: {what} (last: {last!r})\n{self.picture()}\noperator:\n{said}")

    def stays(self, what, condition, seconds=3):
        """See that something holds for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert condition(), f"no longer: {what}\n{self.picture()}"
            time.sleep(0.2)

    def judged(self, name, kind):
        """One condition, judged for the present generation; LookupError before."""
        body = self.cluster.get(KIND, self.name, name)
        found = {entry["type"]: entry for entry in self._status(body).get("conditions") or ()}
        if found[kind]["observedGeneration"] != body["metadata"]["generation"]:
            raise LookupError(kind)
        return found[kind]

    def becomes(self, name, kind, status, reason=None, seconds=SECONDS):
        """Wait until a condition has a status, and a reason; return it."""

        def holds():
            found = self.judged(name, kind)
            return found if found["status"] == status and reason in (None, found["reason"]) else None

        return self.until(f"{name}: {kind}={status} {reason or ''}", holds, seconds)

    def serving(self, name, seconds=SECONDS):
        """Wait until it is Ready; return it."""
        self.becomes(name, "Ready", "True", seconds=seconds)
        return self.cluster.get(KIND, self.name, name)

    def status(self, name):
        return self._status(self.cluster.get(KIND, self.name, name))

    def children(self, name, *kinds):
        """Every child by its label."""
        found = []
        for kind in kinds or CHILD_KINDS:
            found += self.cluster.list(kind, self.name, {LABEL_DEPLOYMENT: name})
        return found

    def groups(self, name):
        """Names of the StatefulSets that are to stay."""
        found = self.children(name, "StatefulSet")
        return sorted(each["metadata"]["name"] for each in found if not each["metadata"].get("deletionTimestamp"))

    def pods(self, name, component="engine"):
        """Pods of one component that are to stay."""
        labels = {LABEL_DEPLOYMENT: name, "app.kubernetes.io/component": component}
        found = self.cluster.list("Pod", self.name, labels)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def versions(self, name):
        """What moves when anybody writes: resourceVersion of the deployment and of each child."""
        found = [*self.children(name), self.cluster.get(KIND, self.name, name)]
        return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in found}

    def still(self, name):
        """Wait until nobody has written for two seconds; return `versions`."""
        before = None
        while before != (now := self.versions(name)):
            before = now
            time.sleep(2)
        return now

    def events(self, name):
        """(type, reason, message) of the events about a deployment."""
        about = [each for each in self.list("Event") if each["involvedObject"]["name"] == name]
        return [(each["type"], each["reason"], each.get("message", "")) for each in about]

    def picture(self):
        """What there is, for the message of a failure."""
        lines = []
        for kind in (KIND, "StatefulSet", "Deployment", "Pod"):
            for body in self.cluster.list(kind, self.name):
                held = body["metadata"].get("finalizers") or "nothing"
                leaving = f"leaving, held by {held}" if body["metadata"].get("deletionTimestamp") else ""
                said = [_words(entry) for entry in self._status(body).get("conditions") or ()]
                lines.append(f"{kind} {body['metadata']['name']} {leaving} {'; '.join(said)}")
        return "\n".join(lines)

    def clear(self):
        """Take everything away, waiting for the operator if it lives."""
        for body in self.cluster.list(KIND, self.name):
            with contextlib.suppress(ApiError):
                self.cluster.delete(KIND, self.name, body["metadata"]["name"])
        deadline = time.monotonic() + (30 if self.operator and self.operator.runs else 0)
        while self.cluster.list(KIND, self.name) and time.monotonic() < deadline:
            time.sleep(0.1)
        for body in self.cluster.list(KIND, self.name):
            with contextlib.suppress(ApiError):
                free = {"metadata": {"finalizers": None}}
                self.cluster.patch(KIND, self.name, body["metadata"]["name"], free)

    @staticmethod
    def _status(body):
        return body.get("status") or {}


def _words(condition):
    return f"{condition['type']}={condition['status']} {condition.get('reason', '')} {condition.get('message', '')}"
