"""Whether the cluster is exactly what the LLMDeployments ask for: nothing missing, nothing more, nothing twice.

What should be there comes from the pure core; what is there is listed, every kind, without a selector.
"""

import json
import time
from pathlib import Path
from typing import Any

from chaos_api import Api, Object
from chaos_player import KINDS, deployments_path, path_of

from manta_operator.api import names
from manta_operator.api.models import parse
from manta_operator.builders.desired import Desired, desire
from manta_operator.facts.locate import locator
from manta_operator.planning.observe import observe
from manta_operator.planning.previous import recall

NOT_OURS = {("configmaps", "kube-root-ca.crt"), ("serviceaccounts", "default")}
"""What a controller manager puts into every namespace."""
Key = tuple[str, str]


async def children(api: Api, namespace: str) -> dict[Key, Object]:
    """Everything of the kinds of children that is in the namespace, whoever made it."""
    found = {}
    for kind in KINDS:
        for body in await api.items(path_of(kind, namespace)):
            key = (kind, body["metadata"]["name"])
            if key not in NOT_OURS:
                found[key] = body
    return found


async def differences(api: Api, namespace: str, wanted: set[str], models: Path) -> list[str]:
    """What is wrong, in sentences; empty when the namespace is exactly what `wanted` LLMDeployments ask for."""
    bodies = {body["metadata"]["name"]: body for body in await api.items(deployments_path(namespace))}
    live = await children(api, namespace)
    pods = await api.items(f"/api/v1/namespaces/{namespace}/pods")
    wrong = [f"LLMDeployment {name} is still there" for name in bodies.keys() - wanted]
    wrong += [f"LLMDeployment {name} is gone" for name in wanted - bodies.keys()]
    expected: dict[Key, Object] = {}
    for name in sorted(bodies.keys() & wanted):
        wrong += [f"{name}: {sentence}" for sentence in _unsettled(bodies[name])]
        expected |= _expected(bodies[name], live, pods, models, wrong)
    for key in sorted(live.keys() - expected.keys()):
        wrong.append(f"{key} should not be there: owned by {live[key]['metadata'].get('ownerReferences')}")
    for key, whole in expected.items():
        desired = {name: value for name, value in whole.items() if name not in ("apiVersion", "kind")}
        if key not in live:
            wrong.append(f"{key} is missing")
        else:
            wrong += [f"{key}{sentence}" for sentence in _beside(desired, live[key])]
    return wrong


def _unsettled(body: Object) -> list[str]:
    metadata, status = body["metadata"], body.get("status") or {}
    wrong = []
    if metadata.get("finalizers") != ["manta.dev/operator"]:
        wrong.append(f"finalizers {metadata.get('finalizers')}")
    if status.get("observedGeneration") != metadata["generation"]:
        wrong.append(f"generation {metadata['generation']} was not judged, only {status.get('observedGeneration')}")
    ready = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), {})
    if ready.get("status") != "True":
        wrong.append(f"not Ready: {ready.get('reason')}: {ready.get('message')}")
    if len({each["type"] for each in status.get("conditions") or ()}) != len(status.get("conditions") or ()):
        wrong.append(f"a condition twice: {status['conditions']}")
    return wrong


def _expected(
    body: Object, live: dict[Key, Object], pods: list[Object], models: Path, wrong: list[str]
) -> dict[Key, Object]:
    deployment = parse(body)
    mine = {
        key: child
        for key, child in live.items()
        if (child["metadata"].get("labels") or {}).get(names.LABEL_DEPLOYMENT) == deployment.name
        and any(owner["uid"] == deployment.uid for owner in child["metadata"].get("ownerReferences") or ())
    }
    groups = [child for (kind, _), child in mine.items() if kind == "statefulsets"]
    routers = [child for (kind, _), child in mine.items() if kind == "deployments"]
    facts = locator({"/models": models})(deployment.spec.model.uri)
    previous = recall(deployment.spec, body.get("status") or {})
    desired = desire(
        deployment, facts, observe(groups, _engines(pods, deployment.name), routers, time.time()), previous
    )
    if not isinstance(desired, Desired):
        wrong.append(f"{deployment.name} cannot be planned: {desired}")
        return {}
    if desired.plan.prune:
        wrong.append(f"{deployment.name}: still to be pruned: {[group.name for group in desired.plan.prune]}")
    if len(groups) != deployment.spec.replicas:
        wrong.append(f"{deployment.name}: {len(groups)} groups for {deployment.spec.replicas} replicas")
    expected = {(_plural(obj["kind"]), obj["metadata"]["name"]): obj for obj in desired.objects}
    secret = ("secrets", names.group_secret_name(deployment.name))
    if secret in mine:  # random, so no builder's: one a deployment whose groups have several pods
        expected[secret] = {"metadata": {"name": secret[1]}}
    return expected


def _engines(pods: list[Object], name: str) -> list[Object]:
    chosen = {names.LABEL_DEPLOYMENT: name, names.LABEL_COMPONENT: names.COMPONENT_ENGINE}
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).items() >= chosen.items()]


def _plural(kind: str) -> str:
    return {"NetworkPolicy": "networkpolicies"}.get(kind, f"{kind.lower()}s")


def _beside(desired: Any, live: Any, path: str = "") -> list[str]:
    """Where `live` lacks or contradicts `desired`; the server may add fields, but no items to a list."""
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            return [f"{path}: {live!r} is no object"]
        return [
            wrong
            for name, value in desired.items()
            if name in live or value not in ({}, [], None)
            for wrong in _beside(value, live.get(name), f"{path}.{name}")
        ]
    if isinstance(desired, list):
        if not isinstance(live, list) or len(live) != len(desired):
            return [f"{path}: {json.dumps(live)[:300]} for {json.dumps(desired)[:300]}"]
        pairs = zip(desired, live, strict=True)
        return [wrong for place, (one, other) in enumerate(pairs) for wrong in _beside(one, other, f"{path}[{place}]")]
    return [] if str(desired) == str(live) else [f"{path}: {live!r} for {desired!r}"]
