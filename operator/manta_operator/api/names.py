"""Names, labels and ports that builders, controller and command line agree on."""

GROUP = "manta.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "LLMDeployment"
PLURAL = "llmdeployments"
FIELD_MANAGER = "manta"

LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_DEPLOYMENT = "manta.dev/deployment"
LABEL_REPLICA = "manta.dev/replica"
LABEL_REVISION = "manta.dev/revision"
ANNOTATION_RESTART = "manta.dev/restart"
"""On the StatefulSet of a group: `{"count": 2, "at": RFC 3339}`. Pods created before `at` are to be replaced."""
LABEL_POD_INDEX = "apps.kubernetes.io/pod-index"

FETCH_CONTAINER = "fetch"
"""The init container of an engine pod that brings the model into the cache."""
FETCH_DRAFT_CONTAINER = "fetch-draft"
"""The one that brings the weights that guess, after it."""
FETCH_CONTAINERS = (FETCH_CONTAINER, FETCH_DRAFT_CONTAINER)

ADAPTERS_CONTAINER = "adapters"
"""The container of an engine pod that fetches LoRA adapters while the engine runs."""

COMPONENT_ENGINE = "engine"
COMPONENT_ROUTER = "router"

ENGINE_PORT = 8000
CONTROL_PORT = 8001
ROUTER_PORT = 8000
PICKER_PORT = 9002
EXT_PROC_PORT = 9005
EXT_PROC_PLAIN_PORT = 9006
ENVOY_HEALTH_PORT = 9901

CATALOG = "manta-catalog"
"""ConfigMap with a user's own catalog, in the operator's namespace, where nobody names another."""
OPERATOR_NAMESPACE = "manta-system"
"""Where the operator is unless it knows better: its environment's POD_NAMESPACE."""

RUNTIME_IMAGE = "manta/runtime:0.1.0"
"""No registry host on purpose: clusters set theirs (`spec.engine.image`), the box runs it from the virtualenv."""
ROUTER_IMAGE = "manta/router:0.1.0"
"""Envoy and the picker, without an engine; likewise (`spec.router.image`)."""


def common_labels(deployment: str, component: str) -> dict[str, str]:
    """Return the labels every child of `deployment` carries."""
    return {
        LABEL_NAME: "manta",
        LABEL_INSTANCE: deployment,
        LABEL_COMPONENT: component,
        LABEL_MANAGED_BY: "manta",
        LABEL_DEPLOYMENT: deployment,
    }


def group_name(deployment: str, revision: str, index: int) -> str:
    """Return the name of the StatefulSet that is replica `index` of `revision`."""
    return f"{deployment}-{revision}-{index}"


def group_service_name(deployment: str) -> str:
    """Return the name of the headless Service that names the pods of every group."""
    return f"{deployment}-group"


def group_secret_name(deployment: str) -> str:
    """Return the name of the Secret with which the pods of a group know each other."""
    return f"{deployment}-group"


def adapters_name(deployment: str) -> str:
    """Return the name of the ConfigMap with the list of adapters."""
    return f"{deployment}-adapters"


def router_name(deployment: str) -> str:
    """Return the name of the router's Deployment and ServiceAccount."""
    return f"{deployment}-router"


def epp_name(deployment: str) -> str:
    """Return the name of the endpoint picker's Deployment and Service in mode inference-pool."""
    return f"{deployment}-epp"


def epp_tls_name(deployment: str) -> str:
    """Return the name of the Secret that users may make for the endpoint picker's certificate."""
    return f"{deployment}-epp-tls"
