"""One body for every CEL rule of the CRD that it refuses, and one beside it that it accepts."""

from dataclasses import dataclass, field
from typing import Any

from manta_operator.api.model_rules import ENDPOINT_VARIABLES, SECRET_VARIABLES


@dataclass(frozen=True)
class Case:
    """What the rule whose message begins with `rule` says of two specs; `said` where it says more than its message."""

    name: str
    rule: str  # the beginning of the message of the rule it is about
    path: str
    refused: dict[str, Any]
    accepted: dict[str, Any]
    said: str = ""  # where a messageExpression says something else than the message
    metadata: dict[str, Any] = field(default_factory=dict)


def model(**fields: Any) -> dict[str, Any]:
    return {"model": {"uri": "hf://a/b"} | fields}


def engine(**fields: Any) -> dict[str, Any]:
    """A spec with these fields of spec.engine."""
    return {"engine": fields}


def split(tensor: int, pipeline: int, per_pod: int, executor: str = "auto") -> dict[str, Any]:
    return {
        "parallelism": {"tensor": tensor, "pipeline": pipeline},
        "accelerator": {"type": "nvidia-l4", "perPod": per_pod},
        "engine": {"executor": executor},
    }


def adapter(**fields: Any) -> dict[str, Any]:
    return model(adapters=[{"name": "sql", "uri": "hf://a/b"} | fields])


def guesses(**fields: Any) -> dict[str, Any]:
    return engine(speculative={"tokens": 3} | fields)


def draft(**fields: Any) -> dict[str, Any]:
    return guesses(method="draft_model", model={"uri": "hf://a/b"} | fields)


def data(data: int, tensor: int, per_pod: int, executor: str = "auto") -> dict[str, Any]:
    spec = split(tensor, 1, per_pod, executor)
    return spec | {"parallelism": spec["parallelism"] | {"data": data}}


def accelerator(**fields: Any) -> dict[str, Any]:
    return {"accelerator": fields}


def router(**fields: Any) -> dict[str, Any]:
    return {"router": fields}


def toleration(**fields: Any) -> dict[str, Any]:
    return {"scheduling": {"tolerations": [fields]}}


FLAG = "every item must be one vLLM flag, its value after =, like --name=value; this is none: "

CASES = [
    Case("no scheme", "must start with hf://", "spec.model.uri", model(uri="meta/llama"), model(uri="hf://meta/llama")),
    Case("other scheme", "must start with hf://", "spec.model.uri", model(uri="ftp://b/p"), model(uri="pvc://claim/p")),
    Case("hf deep", "must be hf://organisation/name", "spec.model.uri", model(uri="hf://a/b/c"), model(uri="hf://a/b.1")),
    Case("hf shallow", "must be hf://organisation/name", "spec.model.uri", model(uri="hf://a"), model(uri="hf://A_1/b-")),
    Case("pvc alone", "must be pvc://claim/path", "spec.model.uri", model(uri="pvc://c"), model(uri="pvc://c/a/b")),
    Case("pvc case", "must be pvc://claim/path", "spec.model.uri", model(uri="pvc://C/a"), model(uri="pvc://a.b/c")),
    Case("file relative", "must be file:///absolute", "spec.model.uri", model(uri="file://a/b"), model(uri="file:///a/b")),
    Case("file root", "must be file:///absolute", "spec.model.uri", model(uri="file:///"), model(uri="file:///a")),
    Case("short bucket", "must be s3://bucket/prefix", "spec.model.uri", model(uri="s3://b/p"), model(uri="s3://b-1/p")),
    Case("bucket case", "must be s3://bucket/prefix", "spec.model.uri", model(uri="gs://B12"), model(uri="gs://b_12")),
    Case("empty part", "must be s3://bucket/prefix", "spec.model.uri", model(uri="s3://bbb/a//b"), model(uri="s3://bbb/a/")),
    Case("image without a tag", "must be oci://", "spec.model.uri", model(uri="oci://r.io/a"), model(uri="oci://r.io/a:1")),
    Case("image of no registry", "must be oci://", "spec.model.uri", model(uri="oci://a:1"), model(uri="oci://r:5000/a/b_c:1")),
    Case("short digest", "must be oci://", "spec.model.uri",
         model(uri="oci://r/a@sha256:12"), model(uri=f"oci://r/a@sha256:{'1f' * 32}#models/llama")),
    Case("absolute path in an image", "must be oci://", "spec.model.uri", model(uri="oci://r/a:1#/m"), model(uri="oci://r/a:1#m")),
    Case("dot", "must not hold . or ..", "spec.model.uri", model(uri="s3://bucket/./b"), model(uri="s3://bucket/.b")),
    Case("dots in an image", "must not hold . or ..", "spec.model.uri", model(uri="oci://r/a:1#.."), model(uri="oci://r/a:1#..a")),
    Case("fragment", "must not hold . or ..", "spec.model.uri", model(uri="file:///a#b"), model(uri="oci://r/a:1#b")),
    Case("dots", "must not hold . or ..", "spec.model.uri", model(uri="file:///a/../b"), model(uri="file:///a/..b/c")),
    Case("end dots", "must not hold . or ..", "spec.model.uri", model(uri="pvc://c/a/.."), model(uri="pvc://c/a/...")),
    Case("space", "must not hold . or ..", "spec.model.uri", model(uri="file:///a b"), model(uri="file:///a_b")),
    Case("tab", "must not hold . or ..", "spec.model.uri", model(uri="file:///a\tb"), model(uri="file:///atb")),
    Case(
        "revision of a file",
        "only hf:// has revisions",
        "spec.model.revision",
        model(uri="file:///a", revision="main"),
        model(revision="main"),
    ),
    Case(
        "credentials of a claim",
        "pvc:// and file:// need no credentials",
        "spec.model.credentialsSecret",
        model(uri="pvc://a/b", credentialsSecret="s"),
        model(credentialsSecret="s"),
    ),
    Case("endpoint of a claim", "only hf://, s3:// and gs:// are fetched", "spec.model.endpoint",
         model(uri="pvc://a/b", endpoint="http://a"), model(uri="gs://abc", endpoint="http://a")),
    Case("region of a hub", "only a bucket of s3:// has a region", "spec.model.region",
         model(region="eu-1"), model(uri="s3://abc", region="eu-1")),
    Case("pull secret", "pvc:// and file:// need no credentials", "spec.model.credentialsSecret",
         model(uri="file:///a", credentialsSecret="s"), model(uri="oci://r/a:1", credentialsSecret="s")),
    Case(
        "two caches",
        "at most one of claim, hostPath and sizeLimit",
        "spec.model.cache",
        model(cache={"claim": "a", "sizeLimit": "1Gi"}),
        model(cache={"claim": "a"}),
    ),
    *(
        Case(f"adapter: {name}", rule, f"spec.model.adapters[0].{field_}", adapter(**refused), adapter(**accepted))
        for name, rule, field_, refused, accepted in (
            ("no scheme", "an adapter comes from hf://", "uri", {"uri": "a/b"}, {"uri": "hf://a/b"}),
            ("image", "an adapter comes from hf://", "uri", {"uri": "oci://r.io/a:1"}, {"uri": "pvc://claim/p"}),
            ("hf deep", "must be hf://organisation/name", "uri", {"uri": "hf://a/b/c"}, {"uri": "hf://a/b.1"}),
            ("bucket", "must be s3://bucket/prefix", "uri", {"uri": "s3://b/p"}, {"uri": "gs://b-1/p"}),
            ("claim alone", "must be pvc://claim/path", "uri", {"uri": "pvc://c"}, {"uri": "pvc://c/a/b"}),
            ("relative", "must be file:///absolute", "uri", {"uri": "file://a/b"}, {"uri": "file:///a/b"}),
            ("below the root", "must be file:///folder/adapter", "uri", {"uri": "file:///a/"}, {"uri": "file:///a//b"}),
            ("dots", "must not hold . or ..", "uri", {"uri": "file:///a/../b"}, {"uri": "file:///a/..b"}),
            ("revision", "only hf:// has revisions", "revision",
             {"uri": "s3://abc", "revision": "v1"}, {"revision": "v1"}),
            ("endpoint", "only hf://, s3:// and gs:// are fetched", "endpoint",
             {"uri": "pvc://a/b", "endpoint": "http://a"}, {"endpoint": "http://a"}),
            ("region", "only a bucket of s3://", "region",
             {"uri": "gs://abc", "region": "eu"}, {"uri": "s3://abc", "region": "eu"}),
            ("credentials", "pvc:// and file:// need no credentials", "credentialsSecret",
             {"uri": "file:///a/b", "credentialsSecret": "s"}, {"credentialsSecret": "s"}),
        )
    ),
    Case("adapter with a served name", "an adapter must not have a name of the model", "spec.model.adapters",
         model(servedNames=["a", "b"], adapters=[{"name": "c", "uri": "hf://a/b"}, {"name": "b", "uri": "hf://a/b"}]),
         model(servedNames=["a", "b"], adapters=[{"name": "tiny", "uri": "hf://a/b"}]),
         "adapter b has a name of the model: clients could ask for only one of the two"),
    Case("adapter with the own name", "metadata.name is the name of the model", "spec.model.adapters",
         adapter(name="tiny"), adapter(name="tiny-2")),
    Case("rank without kernels", "must be one of 8, 16", "spec.engine.lora.maxRank",
         engine(lora={"maxRank": 24}), engine(lora={"maxRank": 320})),
    Case("modules without room", "--lora-modules needs an engine", "spec.engine.args",
         engine(args=["--lora-modules=a=/b"]), engine(args=["--lora-modules=a=/b"], lora={})),
    Case("beginning of modules", "--lora-modules needs an engine", "spec.engine.args",
         engine(args=["--lora_mod=a=/b"]), adapter() | engine(args=["--lora_mod=a=/b"])),
    *(
        Case(f"draft: {name}", rule, f"spec.engine.speculative.model.{field_}", draft(**refused), draft(**accepted))
        for name, rule, field_, refused, accepted in (
            ("no scheme", "must start with hf://", "uri", {"uri": "a/b"}, {"uri": "oci://r.io/a:1"}),
            ("image without a tag", "must be oci://", "uri", {"uri": "oci://r.io/a"}, {"uri": "oci://r.io/a:1#d"}),
            ("hf deep", "must be hf://organisation/name", "uri", {"uri": "hf://a/b/c"}, {"uri": "hf://a/b.1"}),
            ("bucket", "must be s3://bucket/prefix", "uri", {"uri": "s3://b/p"}, {"uri": "gs://b-1/p"}),
            ("claim alone", "must be pvc://claim/path", "uri", {"uri": "pvc://c"}, {"uri": "pvc://c/a/b"}),
            ("relative", "must be file:///absolute", "uri", {"uri": "file://a/b"}, {"uri": "file:///a/b"}),
            ("dots", "must not hold . or ..", "uri", {"uri": "file:///a/../b"}, {"uri": "file:///a/..b"}),
            ("revision", "only hf:// has revisions", "revision",
             {"uri": "s3://abc", "revision": "v1"}, {"revision": "v1"}),
            ("endpoint", "only hf://, s3:// and gs:// are fetched", "endpoint",
             {"uri": "pvc://a/b", "endpoint": "http://a"}, {"endpoint": "http://a"}),
            ("region", "only a bucket of s3://", "region",
             {"uri": "gs://abc", "region": "eu"}, {"uri": "s3://abc", "region": "eu"}),
            ("credentials", "pvc:// and file:// need no credentials", "credentialsSecret",
             {"uri": "file:///a/b", "credentialsSecret": "s"}, {"credentialsSecret": "s"}),
        )
    ),
    Case("draft without weights", "this method guesses with weights", "spec.engine.speculative.model",
         guesses(method="eagle3"), guesses(method="mtp")),
    Case("ngram with weights", "this method guesses from the text", "spec.engine.speculative.model",
         guesses(method="ngram", model={"uri": "hf://a/b"}), guesses(method="draft_model", model={"uri": "hf://a/b"})),
    Case("draft looks up", "only ngram looks into the prompt: leave it", "spec.engine.speculative.promptLookupMax",
         guesses(method="mtp", promptLookupMax=4), guesses(method="ngram_gpu", promptLookupMax=4)),
    Case("draft looks up rows", "only ngram looks into the prompt: leave this",
         "spec.engine.speculative.promptLookupMin",
         guesses(method="suffix", promptLookupMin=4), guesses(method="ngram", promptLookupMin=4)),
    Case("lookup of nothing", "promptLookupMin must be at most", "spec.engine.speculative.promptLookupMin",
         guesses(method="ngram", promptLookupMin=4, promptLookupMax=3),
         guesses(method="ngram", promptLookupMin=4, promptLookupMax=4)),
    *(
        Case(f"two overrides: {flag}", "ropeScaling becomes", "spec.engine.ropeScaling",
             engine(ropeScaling={"type": "yarn", "factor": 2}, args=[flag]),
             engine(ropeScaling={"type": "yarn", "factor": 2.5}, args=["--hf-config-path=/a", "--hf-token=a"]))
        for flag in ("--hf-overrides={}", "--hf_overrides={}", "--hf-overrides.a=1", "--hf-over={}")
    ),
    Case("whole prompts", "without chunkedPrefill a prompt", "spec.engine.maxNumBatchedTokens",
         engine(chunkedPrefill=False, maxModelLen=4096, maxNumBatchedTokens=2048),
         engine(chunkedPrefill=False, maxModelLen=4096, maxNumBatchedTokens=4096)),
    Case("fewer tokens than requests", "every running request computes", "spec.engine.maxNumBatchedTokens",
         engine(maxNumSeqs=64, maxNumBatchedTokens=63), engine(maxNumSeqs=64, maxNumBatchedTokens=64)),
    *(
        Case(f"{option} with {backend}", rule, f"spec.engine.structuredOutputs.{option}",
             engine(structuredOutputs={option: True} | ({"backend": backend} if backend else {})),
             engine(structuredOutputs={option: True, "backend": "guidance"}))
        for option, rule, backends in (
            ("disableAnyWhitespace", "only xgrammar and guidance can", ("", "outlines")),
            ("disableAdditionalProperties", "only guidance knows it", ("", "xgrammar")),
        )
        for backend in backends
    ),
    Case("no flag", FLAG[:40], "spec.engine.args", engine(args=["--a", "b"]), engine(args=["--a=b"]), FLAG + "b"),
    Case("short", FLAG[:40], "spec.engine.args", engine(args=["-tp=2"]), engine(args=["--a"]), FLAG + "-tp=2"),
    Case(
        "value after a space",
        FLAG[:40],
        "spec.engine.args",
        engine(args=["--seed 3"]),
        engine(args=['--hf-overrides={"a": 1}']),
        FLAG + "--seed 3",
    ),
    Case("own variable", "Manta sets this variable itself", "spec.engine.env[0].name",
         engine(env=[{"name": "POD_IP"}]), engine(env=[{"name": "POD_IPS"}]),
         "Manta sets POD_IP itself: choose another name"),
    *(
        Case(f"{name} in clear text", "a secret does not belong", "spec.engine.env[0].name",
             engine(env=[{"name": name, "value": "x"}]), engine(env=[{"name": f"{name}_"}]))
        for name in SECRET_VARIABLES
    ),
    *(
        Case(f"{name} beside the field", "the cache would mix models of two addresses: use spec.model.endpoint",
             "spec.engine.env[0].name",
             engine(env=[{"name": name, "value": "http://a"}]), engine(env=[{"name": f"{name}_STS"}]))
        for name in ENDPOINT_VARIABLES
    ),
    Case("uneven pods", "parallelism.data x tensor x pipeline must", "spec.accelerator.perPod",
         split(2, 3, 4), split(2, 2, 4)),
    Case("uneven pods of data ranks", "parallelism.data x tensor x pipeline must", "spec.accelerator.perPod",
         data(3, 1, 2), data(4, 1, 2)),
    Case("broken engines", "with parallelism.data, every pod must hold whole engines", "spec.accelerator.perPod",
         data(4, 3, 2), data(4, 4, 2)),
    Case("mp over pods", "executor mp works within one pod", "spec.engine.executor",
         split(4, 2, 4, "mp"), split(4, 2, 8, "mp")),
    Case("mp over pods of data ranks", "executor mp works within one pod", "spec.engine.executor",
         data(4, 2, 4, "mp"), data(4, 2, 8, "mp")),
    Case("other says nothing", "type other says nothing", "spec.accelerator.resource",
         accelerator(type="other"), accelerator(type="other", resource="habana.ai/gaudi", memory="96Gi")),
    Case("resource of a known type", "Manta knows the resource", "spec.accelerator.resource",
         accelerator(type="amd-mi300x", resource="amd.com/gpu"), accelerator(type="amd-mi300x")),
    Case("memory of a known type", "Manta knows the memory", "spec.accelerator.memory",
         accelerator(type="amd-mi300x", memory="96Gi"), accelerator(type="other", resource="amd.com/gpu")),
    Case("value of Exists", "operator Exists takes no value", "spec.scheduling.tolerations[0].value",
         toleration(key="k", operator="Exists", value="v"), toleration(key="k", operator="Exists")),
    Case("Equal without key", "operator Equal needs a key", "spec.scheduling.tolerations[0].key",
         toleration(value="v"), toleration(key="k", value="v")),
    Case("router: value of Exists", "operator Exists takes no value", "spec.router.scheduling.tolerations[0].value",
         {"router": toleration(operator="Exists", value="v")}, {"router": toleration(operator="Exists")}),
    Case("router: Equal without key", "operator Equal needs a key", "spec.router.scheduling.tolerations[0].key",
         {"router": toleration(value="v")}, {"router": toleration(key="k", value="v")}),
    Case("seconds of any effect", "only pods on nodes with", "spec.scheduling.tolerations[0].tolerationSeconds",
         toleration(key="k", tolerationSeconds=9), toleration(key="k", tolerationSeconds=9, effect="NoExecute")),
    Case("router: seconds", "only pods on nodes with a NoExecute",
         "spec.router.scheduling.tolerations[0].tolerationSeconds",
         {"router": toleration(key="k", tolerationSeconds=9, effect="NoSchedule")},
         {"router": toleration(key="k", effect="NoSchedule")}),
    Case("rollout that never moves", "surge and unavailable cannot both be 0", "spec.rollout.unavailable",
         {"rollout": {"surge": 0, "unavailable": 0}}, {"rollout": {"surge": 0, "unavailable": 1}}),
    Case("rollout in place alone", "surge and unavailable cannot both be 0", "spec.rollout.unavailable",
         {"rollout": {"surge": 0, "unavailable": 0}}, {"rollout": {"surge": 0}}),
    Case("deadline at the start", "progressDeadlineSeconds must be more", "spec.rollout.progressDeadlineSeconds",
         {"rollout": {"progressDeadlineSeconds": 1800}}, {"rollout": {"progressDeadlineSeconds": 1801}}),
    Case("deadline of a slow start", "progressDeadlineSeconds must be more", "spec.rollout.progressDeadlineSeconds",
         engine(startupSeconds=90) | {"rollout": {"progressDeadlineSeconds": 60}},
         engine(startupSeconds=30) | {"rollout": {"progressDeadlineSeconds": 60}}),
    Case("host without a gateway", "host names are served by a gateway", "spec.gateway.hostnames",
         {"gateway": {"hostnames": ["a.b"]}}, {"gateway": {"hostnames": ["a.b"], "parentRefs": [{"name": "g"}]}}),
    Case("tenants without keys", "without API keys everybody is", "spec.router.tenants",
         router(tenants=[{"name": "anonymous"}, {"name": "a"}]), router(tenants=[{"name": "anonymous"}])),
    Case("tenants with keys", "without API keys everybody is", "spec.router.tenants",
         router(tenants=[{"name": "a"}]), router(tenants=[{"name": "a"}], auth={"secret": "s"})),
    *(
        Case(f"session by {header}", "clients cannot send headers", "spec.router.session.header",
             router(session={"header": header}), router(session={"header": header.replace("-", "", 1)}))
        for header in ("x-manta-session", "x-envoy-session", "x-gateway-session")
    ),
    *(
        Case(f"session by {header}", "this header is for keys", "spec.router.session.header",
             router(session={"header": header}), router(session={"header": f"x-{header}"}))
        for header in ("authorization", "host", "content-length", "transfer-encoding", "connection")
    ),
    Case("session by the request", "this header is for keys", "spec.router.session.header",
         router(session={"header": "x-request-id"}), router(session={"header": "cookie"})),
    Case("cache behind a gateway", "in mode inference-pool answers", "spec.router.cache",
         router(mode="inference-pool", cache={"size": "1Gi"}), router(mode="envoy", cache={"size": "1Gi"})),
    Case("traces behind a gateway", "in mode inference-pool the gateway", "spec.router.tracing",
         router(mode="inference-pool", tracing={"endpoint": "http://a"}), router(tracing={"endpoint": "http://a"})),
    Case("name with a digit first", "the name must start with", "metadata.name", {}, {}, metadata={"name": "1a"}),
    Case("name with a dot", "the name must start with", "metadata.name", {}, {}, metadata={"name": "a.b"}),
    Case("long name", "the name must have at most 38", "metadata.name", {}, {}, metadata={"name": "a" * 39}),
]  # fmt: skip
