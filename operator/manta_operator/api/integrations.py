"""What other projects do for an LLMDeployment where their CRDs are installed: monitoring and gateways.

Part of the frozen models; `models.py` puts them together and re-exports them.
"""

from typing import Annotated

from pydantic import Field

from manta_operator.api.fields import HOSTNAME_PATTERN, SET, Frozen, ObjectName

Hostname = Annotated[str, Field(pattern=HOSTNAME_PATTERN, max_length=253)]


class MonitoringSpec(Frozen):
    """What collects the metrics of the engines and the routers."""

    pod_monitor: bool = False
    """Make a PodMonitor of the Prometheus operator, and let Prometheus through the NetworkPolicies. It carries the
    label app.kubernetes.io/name=manta, for Prometheus to select it by."""
    namespace: ObjectName = "monitoring"
    """Namespace of Prometheus: pods there that the Prometheus operator has labelled as its Prometheus are let through,
    and those of no other namespace, where anybody could label pods so."""


class ParentRef(Frozen):
    """A Gateway that the HTTPRoute is attached to."""

    name: ObjectName
    """Name of the Gateway."""
    namespace: ObjectName | None = None
    """Namespace of the Gateway. Omitted: the one of the LLMDeployment."""
    section_name: ObjectName | None = None
    """Name of the Gateway's listener. Omitted: all that let the HTTPRoute in."""


class GatewaySpec(Frozen):
    """Gateways of the Gateway API that pass requests from outside on to the Service, by an HTTPRoute."""

    parent_refs: Annotated[tuple[ParentRef, ...], Field(max_length=16)] = ()
    """Gateways that the HTTPRoute is attached to. Empty: no HTTPRoute."""
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16, json_schema_extra=SET)] = ()
    """Host names that requests come for, for example llm.example.com. Empty: those of the Gateway's listeners."""
