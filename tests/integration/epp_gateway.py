"""A gateway as Istio, Envoy Gateway, kgateway and GKE generate it for an InferencePool: a real Envoy with ext_proc.

Used by test_epp_envoy.py. `x-test-subset` of a client becomes the subset hint; the endpoint that served is told as the
protocol wants it (GKE does, by the same metadata).
"""

import asyncio
import sys
from pathlib import Path

import yaml

_TYPE = "type.googleapis.com/envoy.extensions."
_HTTP = _TYPE + "filters.http."
DESTINATION = "x-gateway-destination-endpoint"


def _typed(name, kind, **fields):
    return {"name": name, "typed_config": {"@type": kind, **fields}}


def _ext_proc(body_modes, fail_open):
    request, response = body_modes
    trailers = "SEND" if "FULL_DUPLEX_STREAMED" in body_modes else "SKIP"
    return _typed(
        "envoy.filters.http.ext_proc",
        _HTTP + "ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": "epp", "authority": "t-router-epp"}},
        failure_mode_allow=fail_open,
        processing_mode={
            "request_header_mode": "SEND",
            "request_body_mode": request,
            "request_trailer_mode": trailers,
            "response_header_mode": "SEND",
            "response_body_mode": response,
            "response_trailer_mode": trailers,
        },
        # Envoy's default is 200 ms, too short for a busy machine: a held request must outlive it all the same.
        message_timeout="2s",
        max_message_timeout="600s",
        metadata_options={
            "forwarding_namespaces": {"untyped": ["envoy.lb", "envoy.lb.subset_hint"]},
            "receiving_namespaces": {"untyped": ["envoy.lb"]},
        },
    )


def _subset_hint():
    rule = {
        "header": "x-test-subset",
        "on_header_present": {
            "metadata_namespace": "envoy.lb.subset_hint",
            "key": DESTINATION + "-subset",
        },
        "remove": True,
    }
    kind = _HTTP + "header_to_metadata.v3.Config"
    return _typed("envoy.filters.http.header_to_metadata", kind, request_rules=[rule])


def _served():
    """Response filters run backwards: the header first, then the metadata from it, then ext_proc."""
    header = {"key": "x-test-served", "value": "%UPSTREAM_REMOTE_ADDRESS%"}
    mutation = {"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    rule = {
        "header": "x-test-served",
        "on_header_present": {"metadata_namespace": "envoy.lb", "key": DESTINATION + "-served"},
        "remove": True,
    }
    return [
        _typed("envoy.filters.http.header_to_metadata", _HTTP + "header_to_metadata.v3.Config", response_rules=[rule]),
        _typed(
            "envoy.filters.http.header_mutation",
            _HTTP + "header_mutation.v3.HeaderMutation",
            mutations={"response_mutations": [mutation]},
        ),
    ]


def _address(address, port):
    return {"address": {"socket_address": {"address": address, "port_value": port}}}


def _pool(engines):
    """The InferencePool's cluster: all its pods, and the picker's word by header, then by metadata."""
    override = _typed(
        "envoy.load_balancing_policies.override_host",
        _TYPE + "load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[
            {"header": DESTINATION},
            {"metadata": {"key": "envoy.lb", "path": [{"key": DESTINATION}]}},
        ],
        fallback_policy={
            "policies": [
                {
                    "typed_extension_config": _typed(
                        "envoy.load_balancing_policies.round_robin",
                        _TYPE + "load_balancing_policies.round_robin.v3.RoundRobin",
                    )
                }
            ]
        },
    )
    return {
        "name": "pool",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_balancing_policy": {"policies": [{"typed_extension_config": override}]},
        "load_assignment": {
            "cluster_name": "pool",
            "endpoints": [{"lb_endpoints": [{"endpoint": _address(e, 8000)} for e in engines]}],
        },
    }


def _named():
    """The InferencePool's cluster as Envoy AI Gateway generates it: wherever the header says, and that is one place."""
    return {
        "name": "pool",
        "type": "ORIGINAL_DST",
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "original_dst_lb_config": {"use_http_header": True, "http_header_name": DESTINATION},
    }


def _picker(address, port, tls):
    options = {"explicit_http_config": {"http2_protocol_options": {}}}
    cluster = {
        "name": "epp",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "upstreams.http.v3.HttpProtocolOptions",
                **options,
            }
        },
        "load_assignment": {
            "cluster_name": "epp",
            "endpoints": [{"lb_endpoints": [{"endpoint": _address(address, port)}]}],
        },
        # The reference EPP's Deployment has a gRPC health probe; gateways may ask for it actively.
        "health_checks": [
            {
                "timeout": "1s", "interval": "1s", "no_traffic_interval": "1s",
                "unhealthy_threshold": 1, "healthy_threshold": 1,
                "grpc_health_check": {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"},
            }
        ],
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }  # fmt: skip
    if tls:
        # kgateway and Envoy AI Gateway: TLS that verifies nothing.
        kind = _TYPE + "transport_sockets.tls.v3.UpstreamTlsContext"
        context = {"alpn_protocols": ["h2"], "validation_context": {}}
        cluster["transport_socket"] = _typed("envoy.transport_sockets.tls", kind, common_tls_context=context)
    return cluster


def configuration(port, address, engines, picker, body_modes, *, tls=True, fail_open=False):
    """Envoy's configuration. `picker`: (address, port); `body_modes`: of request and response.

    `engines`: addresses of the pool; None: the gateway sends wherever the picker says.
    """
    retry = {
        "retry_on": "connect-failure,refused-stream",
        "num_retries": 2,
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "pool", "timeout": "0s", "retry_policy": retry}}
    manager = _typed(
        "envoy.filters.network.http_connection_manager",
        _TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gateway",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[
            _subset_hint(),
            _ext_proc(body_modes, fail_open),
            *_served(),
            _typed("envoy.filters.http.router", _HTTP + "router.v3.Router"),
        ],
    )
    listener = {"name": "http", **_address(address, port), "filter_chains": [{"filters": [manager]}]}
    return {
        "static_resources": {
            "listeners": [listener],
            "clusters": [_named() if engines is None else _pool(engines), _picker(*picker, tls)],
        }
    }


async def start(folder, name, config):
    """Run Envoy; returns the process once it listens."""
    file = Path(folder) / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    envoy = Path(sys.executable).parent / "envoy"
    with (Path(folder) / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            envoy, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "warning",
            stdout=log, stderr=log,
        )  # fmt: skip
    listener = config["static_resources"]["listeners"][0]["address"]["socket_address"]
    for _ in range(1200):
        try:
            _, writer = await asyncio.open_connection(listener["address"], listener["port_value"])
        except OSError:
            if process.returncode is not None:
                break
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return process
    raise AssertionError("Envoy did not start:\n" + (Path(folder) / f"{name}.log").read_text()[-3000:])
