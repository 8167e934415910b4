"""maxModelLen and ropeScaling against the model: what is refused before a pod starts, and what the fit counts with."""

from dataclasses import replace

import pytest
from make import LLAMA_8B, TINY, deployment

from manta_operator.facts.context import SEVERAL
from manta_operator.planning.choice import Choice
from manta_operator.planning.context import allowed_length, length, problems
from manta_operator.planning.search import decide

YARN = {"type": "yarn", "factor": 4}
PHI = replace(LLAMA_8B, rope_scaling="longrope", default_positions=4096)
LONG = {"name": "VLLM_ALLOW_LONG_MAX_MODEL_LEN"}


def said(facts, **engine) -> list[str]:
    return [str(problem) for problem in problems(deployment(engine=engine).spec, facts)]


@pytest.mark.parametrize(
    ("case", "facts", "engine"),
    [
        ("as long as the model", TINY, {"maxModelLen": 1024}),
        ("nothing asked", TINY, {}),
        ("scaled", TINY, {"maxModelLen": 4096, "ropeScaling": YARN}),
        ("half a factor", TINY, {"maxModelLen": 1536, "ropeScaling": {"type": "linear", "factor": 1.5}}),
        ("from another length", TINY,
         {"maxModelLen": 8192, "ropeScaling": YARN | {"originalMaxPositionEmbeddings": 2048}}),
        ("nothing is known", None, {"maxModelLen": 10**6}),
        ("the config does not say", replace(TINY, max_positions=None), {"maxModelLen": 10**6, "ropeScaling": YARN}),
        ("allowed by hand", TINY,
         {"maxModelLen": 4096, "env": [{"name": "VLLM_ALLOW_LONG_MAX_MODEL_LEN", "value": "1"}]}),
        ("overridden by hand", TINY, {"maxModelLen": 4096, "args": ["--hf_overrides={}"]}),
        ("whole prompts in one step", TINY, {"chunkedPrefill": False, "maxNumBatchedTokens": 1024}),
        ("of nobody knows how many tokens", replace(TINY, max_positions=None),
         {"chunkedPrefill": False, "maxNumBatchedTokens": 16}),
        ("in pieces", TINY, {"chunkedPrefill": True, "maxNumBatchedTokens": 16}),
        ("vLLM decides", TINY, {"maxNumBatchedTokens": 16}),
        ("longer than longrope takes unasked", PHI, {"maxModelLen": 131072}),
        ("one step of what longrope takes unasked", PHI, {"chunkedPrefill": False, "maxNumBatchedTokens": 4096}),
        ("own scaling, another in its place", replace(LLAMA_8B, rope_scaling="llama3"),
         {"ropeScaling": YARN | {"originalMaxPositionEmbeddings": 131072}}),
    ],
)  # fmt: skip
def test_what_the_engine_takes(case, facts, engine):
    assert said(facts, **engine) == [], case


@pytest.mark.parametrize(
    ("case", "facts", "engine", "words"),
    [
        ("too long", TINY, {"maxModelLen": 4096}, [
            "spec.engine.maxModelLen: 4096 tokens are more than the 1024 that LlamaForCausalLM was made for",
            "use 1024 or less", "spec.engine.ropeScaling (type: yarn, factor: 4)"]),
        ("scaled too little", TINY, {"maxModelLen": 4097, "ropeScaling": YARN}, [
            "more than ropeScaling gives: 4096 with factor 4", "raise spec.engine.ropeScaling.factor"]),
        ("not allowed by hand", TINY,
         {"maxModelLen": 4096, "env": [{"name": "VLLM_ALLOW_LONG_MAX_MODEL_LEN", "value": "0"}]}, ["was made for"]),
        ("a step that is shorter than a prompt", TINY, {"chunkedPrefill": False, "maxNumBatchedTokens": 512}, [
            "spec.engine.maxNumBatchedTokens: without chunkedPrefill", "512 tokens are fewer than the 1024",
            "raise it to 1024, set spec.engine.maxModelLen to 512 or less, or leave chunkedPrefill out"]),
        ("a step that is shorter than a scaled prompt", TINY,
         {"chunkedPrefill": False, "maxNumBatchedTokens": 1024, "ropeScaling": YARN}, ["fewer than the 4096"]),
        ("it scales itself", replace(LLAMA_8B, rope_scaling="llama3"), {"ropeScaling": YARN}, [
            "spec.engine.ropeScaling: LlamaForCausalLM scales its positions itself (llama3)",
            "originalMaxPositionEmbeddings"]),
        ("several kinds", replace(LLAMA_8B, rope_scaling=SEVERAL),
         {"ropeScaling": YARN | {"originalMaxPositionEmbeddings": 1}}, ["several kinds", "--hf-overrides"]),
    ],
)  # fmt: skip
def test_what_vllm_would_refuse(case, facts, engine, words):
    [problem] = said(facts, **engine)
    assert [word for word in words if word not in problem] == [], case


def test_the_fit_counts_with_the_scaled_length():
    spec = deployment(accelerator={"type": "cpu"}, engine={"ropeScaling": YARN}).spec
    decided = decide(spec, TINY)
    assert isinstance(decided, Choice)
    assert decided.fit.max_model_len == allowed_length(spec.engine, TINY) == 4096


def test_the_length_is_refused_before_its_cache_is_counted():
    # "It does not fit" would send people looking for memory.
    decided = decide(deployment(engine={"maxModelLen": 10**8}).spec, LLAMA_8B)
    assert not isinstance(decided, Choice)
    assert [problem.path for problem in decided] == ["spec.engine.maxModelLen"]


@pytest.mark.parametrize(
    ("case", "container", "env", "refused"),
    [
        ("allowed", {"env": [LONG | {"value": "1"}]}, [], False),
        ("the template wins", {"env": [LONG | {"value": "True"}]}, [LONG | {"value": "0"}], False),
        ("and where it forbids, too", {"env": [LONG | {"value": "0"}]}, [LONG | {"value": "1"}], True),
        ("without a value", {"env": [LONG]}, [LONG | {"value": "1"}], True),
        ("from elsewhere", {"env": [LONG | {"valueFrom": {"fieldRef": {}}}]}, [], False),
        ("all from elsewhere", {"envFrom": [{"configMapRef": {"name": "a"}}]}, [], False),
        ("flags of their own", {"args": ["--max-model-len=9"]}, [], False),
        ("another variable", {"env": [{"name": "A", "value": "1"}, "no mapping"]}, [], True),
        ("of another container", {"name": "sidecar", "env": [LONG | {"value": "1"}]}, [], True),
        ("misshapen", {"env": {"a": "b"}}, [], True),
    ],
)
def test_a_length_that_the_pod_template_allows(case, container, env, refused):
    template = {"spec": {"containers": [{"name": "engine"} | container]}}
    spec = deployment(engine={"maxModelLen": 4096, "env": env}, podTemplate=template).spec
    assert [problem.path for problem in problems(spec, TINY)] == (["spec.engine.maxModelLen"] if refused else []), case


def test_longrope_is_served_with_the_length_that_it_extends():
    # One H100 has no room for 131072 tokens of twice as many layers, and vLLM does not ask for them.
    facts = replace(PHI, layers=512)
    decided = decide(deployment(parallelism={"tensor": 1}).spec, facts)
    assert isinstance(decided, Choice)
    assert decided.fit.max_model_len == length(deployment().spec.engine, facts) == 4096
    assert not isinstance(
        decide(deployment(parallelism={"tensor": 1}, engine={"maxModelLen": 131072}).spec, facts), Choice
    )
