"""Builder of all that leads requests to the engines: routers of the mode, and the route to them. Pure."""

from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.inference_pool import inference_pool_objects
from manta_operator.builders.integrations import http_routes
from manta_operator.builders.metadata import router_workload
from manta_operator.builders.router import router_deployment, router_service
from manta_operator.builders.router_config import router_config, router_tenants
from manta_operator.planning.integrations import HTTP_ROUTE
from manta_operator.planning.mode_change import Routers, routers
from manta_operator.planning.observed import Observed

Object = dict[str, Any]


def changing(deployment: LLMDeployment, observed: Observed) -> Routers:
    """Return which routers there are to be: those of the mode, or of both while it changes."""
    wanted = router_workload(deployment)
    (other,) = {names.router_name(deployment.name), names.epp_name(deployment.name)} - {wanted}
    in_pool = deployment.spec.router.mode == "inference-pool"
    return routers(observed, wanted, other, deployment.spec.router.replicas, to_pool=in_pool)


def routing(deployment: LLMDeployment, change: Routers) -> list[Object]:
    """Return the objects in the order to apply them: routers, then the route to them, which waits for them to serve."""
    config = router_config(deployment)
    configs = [config, router_tenants(deployment)]
    if deployment.spec.router.mode == "inference-pool":
        objects = [*configs, *inference_pool_objects(deployment, config)]
    else:
        workload = router_deployment(deployment, config)
        objects = [*configs, router_service(deployment), workload, *http_routes(deployment)]
    return [obj for obj in objects if not (change.both and obj["kind"] == HTTP_ROUTE.kind)]
