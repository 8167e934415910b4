"""What the operator renders for routers is what the runtime understands: router.yaml, arguments, ports, probes."""

import functools
from pathlib import Path

import pytest
import yaml
from rendered import containers, every_deployment, of_kind, render

from manta_operator.api import names
from manta_operator.api.quantity import parse_quantity
from manta_operator.box.kubelet.expand import expand
from manta_operator.builders.engine_pod import END_MARGIN_SECONDS
from manta_runtime.router.bootstrap import build
from manta_runtime.router.command import router
from manta_runtime.router.config import (
    CacheConfig,
    HoldConfig,
    RouterConfig,
    TimeoutsConfig,
    TracingConfig,
    parse,
)
from manta_runtime.router.picker.http import Question
from manta_runtime.router.picker.picker import Picker

DEPLOYMENTS = every_deployment()
every = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS.keys())
RUN = "/var/run/manta-router"
WAKING = ("hub", "never to zero", "to zero and back")
PROBES = ("livenessProbe", "readinessProbe")
understood = functools.cache(parse)


@every
def test_router_yaml_arrives_field_by_field(deployment):
    _, objects = render(deployment)
    spec, cache = deployment.spec.router, deployment.spec.router.cache
    labels = f"manta.dev/deployment={deployment.name},app.kubernetes.io/component="
    assert config_of(objects) == RouterConfig(
        deployment=deployment.name,
        namespace=deployment.namespace,
        servedNames=deployment.spec.model.served_names or (deployment.name,),
        mode=spec.mode,
        selector=f"{labels}engine,apps.kubernetes.io/pod-index=0",
        routerSelector=f"{labels}router",
        policy=spec.policy,
        sessionHeader=spec.session.header,
        maxNumSeqs=deployment.spec.engine.max_num_seqs,
        listenPort=names.ROUTER_PORT,
        pickerPort=names.PICKER_PORT,
        extProcPort=names.EXT_PROC_PORT,
        healthPort=names.ENVOY_HEALTH_PORT,
        enginePort=names.ENGINE_PORT,
        drainSeconds=deployment.spec.rollout.drain_seconds,
        hold=HoldConfig(
            seconds=spec.hold.seconds, queueSize=spec.hold.queue_size, wakeSeconds=waking(deployment.spec.autoscaling)
        ),
        auth=spec.auth is not None,
        cache=CacheConfig(maxBytes=int(parse_quantity(cache.size)), ttlSeconds=cache.ttl_seconds) if cache else None,
        timeouts=TimeoutsConfig(
            requestSeconds=spec.timeouts.request_seconds, firstByteSeconds=spec.timeouts.first_byte_seconds
        ),
        retries=spec.retries,
        tracing=spec.tracing
        and TracingConfig(endpoint=spec.tracing.endpoint, samplingPercent=spec.tracing.sampling_percent),
    )


def test_every_router_field_is_rendered_and_differs_from_the_runtimes_default():
    [config] = configs(render(DEPLOYMENTS["every router field"])[1], "router.yaml")
    written = set(yaml.safe_load(config["data"]["router.yaml"]))
    in_files = {"keysDir", "tenantsFile"}  # paths are arguments: the box rewrites them there alone
    by_runtime = {"maxBodyBytes"}
    assert written | in_files | by_runtime == {field.alias for field in RouterConfig.model_fields.values()}
    arrived = config_of([config])
    fixed = {"mode", "routerSelector", "keysDir", "tenantsFile", "maxBodyBytes", "selector"}
    same = {
        field.alias
        for name, field in RouterConfig.model_fields.items()
        if not field.is_required() and getattr(arrived, name) == field.default
    }
    assert {name for name in same - fixed if not name.endswith("Port")} == set()


def waking(autoscaling):
    return autoscaling.scale_to_zero.hold_seconds if autoscaling and autoscaling.min_replicas == 0 else None


@every
def test_pods_of_the_router_end_no_sooner_than_what_they_hold(deployment):
    _, objects = render(deployment)
    config, [workload] = config_of(objects), of_kind(objects, "Deployment")
    grace = workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace == config.hold.longest_seconds + config.drain_seconds + END_MARGIN_SECONDS


def test_only_what_goes_to_zero_has_its_routers_wait_longer():
    texts = {name: configs(render(DEPLOYMENTS[name])[1], "router.yaml")[0]["data"]["router.yaml"] for name in WAKING}
    assert texts["never to zero"] == texts["hub"]
    assert yaml.safe_load(texts["to zero and back"])["hold"] == {"seconds": 40, "queueSize": 1000, "wakeSeconds": 300}


@every
def test_the_router_selects_the_heads_and_nobody_else(deployment):
    _, objects = render(deployment)
    wanted = dict(pair.split("=") for pair in config_of(objects).selector.split(","))
    for statefulset in of_kind(objects, "StatefulSet"):
        labels = statefulset["spec"]["template"]["metadata"]["labels"]
        assert wanted.items() <= (labels | {names.LABEL_POD_INDEX: "0"}).items()
        assert not wanted.items() <= (labels | {names.LABEL_POD_INDEX: "1"}).items()
    [workload] = of_kind(objects, "Deployment")
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert not wanted.items() <= (labels | {names.LABEL_POD_INDEX: "0"}).items()


@every
def test_the_router_containers_are_commands_of_the_runtime(deployment):
    objects = render(deployment)[1]
    [workload] = of_kind(objects, "Deployment")
    volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
    for name, container in containers(workload).items():
        assert container["command"][:2] == ["manta-runtime", "router"]
        command = router.get_command(None, container["command"][2])
        assert command.name == name
        told = command.make_context(name, [expand(arg, {"POD_IP": "10.0.0.8"}) for arg in container["args"]]).params
        assert told["pod_ip"] == "10.0.0.8"
        sources = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert "emptyDir" in sources[str(told["run_dir"])]
        made = {obj["metadata"]["name"]: list(obj["data"]) for obj in of_kind(objects, "ConfigMap")}
        shown = [each["configMap"]["name"] for each in sources[str(told["file"].parent)]["projected"]["sources"]]
        assert [made[each] for each in shown] == [["router.yaml"], ["tenants.yaml"]]
        assert told["file"].name == "router.yaml"
        if name == "picker":
            tenants, keys = told["tenants_file"], told["keys_dir"]
            assert (tenants.name, tenants.parent) == ("tenants.yaml", told["file"].parent)
            secret = sources[str(keys)]["secret"]["secretName"] if keys else None
            assert secret == (deployment.spec.router.auth and deployment.spec.router.auth.secret)
        assert {path for path in sources if not sources[path].get("secret")} == {"/etc/manta/router", "/tmp", RUN}


@every
def test_the_routers_probes_and_ports_exist(deployment, tmp_path):
    _, objects = render(deployment)
    bootstrap = build(config_of(objects), "10.0.0.8", Path("/tmp/admin"), Path(RUN))
    [http] = bootstrap["static_resources"]["listeners"]
    [workload] = of_kind(objects, "Deployment")
    envoy, pick = containers(workload)["envoy"], containers(workload)["picker"]
    listening = http["address"]["socket_address"]["port_value"]
    assert envoy["readinessProbe"]["httpGet"] == {"path": health_path(http), "port": listening}
    assert envoy["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": config_of(objects).health_port}
    assert bootstrap["admin"]["address"] == {"pipe": {"path": "/tmp/admin", "mode": 0o600}}, "nobody else may reach it"
    ports = {port["name"]: port["containerPort"] for port in envoy["ports"] + pick["ports"]}
    asked_at = config_of(objects).picker_port
    assert ports == {"http": listening, "health": config_of(objects).health_port, "picker": asked_at}
    assert pick["readinessProbe"]["httpGet"]["port"] == asked_at
    assert pick["livenessProbe"]["httpGet"] == {"path": "/livez", "port": asked_at}
    picker = Picker(config_of(objects), tmp_path)
    codes = {name: picker.answer(Question("GET", pick[name]["httpGet"]["path"], {}, b"")).status for name in PROBES}
    assert codes == {"livenessProbe": 200, "readinessProbe": 503}, "it lives, and is not ready before it has synced"


def test_in_an_inference_pool_the_picker_is_alone_and_has_the_ports_that_gateways_ask():
    deployment = DEPLOYMENTS["every router field"]
    mode = {"mode": "inference-pool", "cache": None, "tracing": None}
    spec = deployment.spec.model_copy(update={"router": deployment.spec.router.model_copy(update=mode)})
    _, objects = render(deployment.model_copy(update={"spec": spec}))
    config = config_of(objects)
    assert config.mode == "inference-pool"
    [workload] = of_kind(objects, "Deployment")
    [(name, container)] = containers(workload).items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (name, ports["picker"]) == ("picker", config.picker_port)
    assert (ports["ext-proc"], ports["ext-proc-plain"]) == (config.ext_proc_port, config.ext_proc_port + 1)
    [service] = [obj for obj in of_kind(objects, "Service") if obj["metadata"]["name"] == "demo-epp"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
    mounted = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
    shown = [each["configMap"]["name"] for each in mounted["config"]["projected"]["sources"]]
    assert shown == [made["metadata"]["name"] for made in of_kind(objects, "ConfigMap")]
    assert shown[1] == "demo-epp-tenants", "of this mode, so that both are there while it changes"


def health_path(http):
    """The path Envoy answers itself."""
    [chain] = http["filter_chains"]
    filters = chain["filters"][0]["typed_config"]["http_filters"]
    [health] = [entry for entry in filters if entry["name"] == "envoy.filters.http.health_check"]
    return health["typed_config"]["headers"][0]["string_match"]["exact"]


def configs(objects, file):
    return [obj for obj in of_kind(objects, "ConfigMap") if file in obj["data"]]


def config_of(objects):
    [config] = configs(objects, "router.yaml")
    return understood(config["data"]["router.yaml"])


def test_the_service_reaches_envoy_and_the_policy_lets_it():
    _, objects = render(DEPLOYMENTS["hub"])
    [workload] = of_kind(objects, "Deployment")
    [service] = [obj for obj in of_kind(objects, "Service") if obj["metadata"]["name"] == "demo"]
    [port] = service["spec"]["ports"]
    named = {entry["name"]: entry["containerPort"] for entry in containers(workload)["envoy"]["ports"]}
    assert named[port["targetPort"]] == config_of(objects).listen_port
    assert service["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
