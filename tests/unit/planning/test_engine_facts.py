"""What engines say of themselves: read without trust, told in the status, and judged against what was asked for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import deployment

from manta_operator.planning.conditions import Situation, conditions
from manta_operator.planning.engine_facts import EngineFacts, engine_status, read_facts, report, verdict
from manta_operator.planning.fit import Fit
from manta_operator.planning.observed import Observed, ObservedGroup, ObservedPod
from manta_operator.planning.plan import Plan
from manta_operator.planning.shape import Shape

ANSWER = {
    "modelGiB": 14.99,
    "kvCacheGiB": 54.21,
    "graphsGiB": 0.61,
    "modelRevision": None,
    "version": "0.32.0",
    "maxModelLen": 1024,
    "attentionBackend": "CPU_ATTN",
    "attentionBackendRefused": None,
    "quantization": "none",
    "quantizationKernels": None,
    "kvCacheDtype": "auto",
    "kvCacheTokens": 65536,
    "maxConcurrency": 64.0,
    "speculative": "none",
    "speculativeTokens": None,
}
SAID = EngineFacts("0.32.0", "CPU_ATTN", None, "none", (), None, "auto", 65536, 1024, 64.0, "none", None,
                   round(14.99 * 2**30), round(54.21 * 2**30), round(0.61 * 2**30))  # fmt: skip


def group(index: int, revision: str = "new") -> ObservedGroup:
    name = f"demo-{revision}-{index}"
    pod = ObservedPod(f"{name}-0", name, ready=True, problem=None, uid=f"u-{revision}-{index}")
    return ObservedGroup(name, name, revision, index, pods=1, ready_pods=1, members=(pod,))


def plan(tokens: int | None = 65536) -> Plan:
    return Plan(Shape(1, 1, 1, "uni"), Fit("True", "", kv_cache_tokens=tokens), "new", (), (), ())


def told(*facts: EngineFacts, accelerator: str = "cpu", **engine):
    observed = Observed(tuple(group(index) for index in range(len(facts))))
    known = {f"u-new-{index}": each for index, each in enumerate(facts)}
    found = report(deployment(accelerator={"type": accelerator}, engine=engine).spec, observed, known, plan())
    assert found is not None
    return found


def test_an_answer_is_read():
    assert read_facts(ANSWER) == SAID


@pytest.mark.parametrize("document", [None, [], "x", 3, [ANSWER]])
def test_what_is_no_answer_is_none(document):
    assert read_facts(document) is None


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
JSON = SCALAR | st.lists(SCALAR, max_size=20) | st.dictionaries(st.text(max_size=3), SCALAR, max_size=2)


@given(st.fixed_dictionaries(dict.fromkeys((*ANSWER, "quantizedLayers"), JSON)))
def test_whatever_a_container_answers_makes_a_status_that_the_api_server_takes(document):
    facts = read_facts(document)
    assert facts is not None
    status = engine_status(told(replace(facts, version="0.32.0")))
    assert all(isinstance(value, str | int | float | list) for value in status.values())
    assert all(len(value) <= 128 for value in status.values() if isinstance(value, str))
    assert all(value >= 0 for value in status.values() if isinstance(value, int | float))


def test_the_status_has_what_was_said_and_the_least_of_the_numbers():
    fewer = replace(SAID, kv_cache_tokens=60000, max_concurrency=58.6)
    assert engine_status(told(SAID, fewer)) == {
        "version": "0.32.0",
        "attentionBackend": "CPU_ATTN",
        "quantization": "none",
        "kvCacheDtype": "auto",
        "kvCacheTokens": 60000,
        "maxModelLen": 1024,
        "maxConcurrency": 58.6,
        "speculative": "none",
        "replicas": 2,
    }


def test_only_the_newest_revision_speaks():
    observed = Observed((group(0, "old"), group(0)))
    spec = deployment().spec
    assert report(spec, observed, {"u-old-0": SAID}, plan()) is None
    assert report(spec, observed, {"u-old-0": SAID, "u-new-0": SAID}, None) is None
    assert report(spec, observed, {"u-new-0": EngineFacts()}, plan()) is None, "it said nothing"
    found = report(spec, observed, {"u-old-0": SAID, "u-new-0": SAID}, plan())
    assert found is not None
    assert [pod for pod, _ in found.told] == ["demo-new-0-0"]


FP8 = replace(SAID, quantization="fp8_per_channel", quantized_layers=16)
GPTQ = replace(SAID, quantization="auto_gptq", quantization_kernels=("MarlinLinearKernel for x",))
NGRAM = replace(SAID, speculative="ngram", speculative_tokens=3)


@pytest.mark.parametrize(
    ("case", "facts", "engine", "expected", "words"),
    [
        ("nothing asked", SAID, {}, "True AsPlanned",
         "vLLM 0.32.0, attention CPU_ATTN, quantization none, KV cache 65536"),
        ("as asked", SAID, {"attentionBackend": "CPU_ATTN", "maxModelLen": 1024}, "True AsPlanned", ""),
        ("one name of the same method", GPTQ, {"quantization": "gptq_marlin"}, "True AsPlanned", "auto_gptq"),
        ("what it is of GPT-OSS", replace(GPTQ, quantization="gpt_oss_mxfp4"), {"quantization": "mxfp4"},
         "True AsPlanned", ""),
        ("what it is in the checkpoint", replace(GPTQ, quantization="modelopt_fp4"), {"quantization": "modelopt"},
         "True AsPlanned", ""),
        ("what it is of DeepSeek V4", replace(GPTQ, quantization="deepseek_v4_fp8"), {"quantization": "fp8"},
         "True AsPlanned", ""),
        ("another than the one named", replace(GPTQ, quantization="modelopt"), {"quantization": "modelopt_fp4"},
         "False OtherQuantization", "the engine runs modelopt"),
        ("quantized while loading", FP8, {"quantization": "fp8_per_channel"}, "True AsPlanned", ""),
        ("guesses", NGRAM, {"speculative": {"method": "ngram", "tokens": 3}}, "True AsPlanned", "guesses by ngram, 3"),
        ("refused", replace(SAID, attention_refused="FLASH_ATTN"), {}, "False AttentionRefused",
         "pod demo-new-0-0: attention backend FLASH_ATTN was asked for, and the engine runs CPU_ATTN instead"),
        ("another one", SAID, {"attentionBackend": "TRITON_ATTN"}, "False AttentionRefused", "TRITON_ATTN was asked"),
        ("nothing quantized", replace(FP8, quantized_layers=0), {"quantization": "fp8_per_channel"},
         "False NotQuantized", "no layer is quantized: the weights take their whole size"),
        ("experts alone, on CPU", replace(SAID, quantization="int8_per_channel_weight_only"),
         {"quantization": "int8_per_channel_weight_only"}, "False NotQuantized", ""),
        ("asked, and none", SAID, {"quantization": "fp8"}, "False OtherQuantization", "the engine runs none"),
        ("no word of how", replace(SAID, quantization="fp8"), {"quantization": "fp8"},
         "Unknown QuantizationUnclear", ""),
        ("does not guess", SAID, {"speculative": {"method": "ngram", "tokens": 3}}, "False OtherSpeculation", ""),
        ("shorter", SAID, {"maxModelLen": 2048}, "False OtherLength", "maxModelLen 2048 was asked for"),
        ("half the cache", replace(SAID, kv_cache_tokens=32767), {}, "False CacheSmaller", "65536 were predicted"),
        ("a quarter more", replace(SAID, kv_cache_tokens=81921), {}, "True AsPlanned",
         "+25% of the 65536 predicted, outside its error bar"),
        ("a draft takes the half", replace(NGRAM, kv_cache_tokens=9), {"speculative": {"method": "ngram", "tokens": 3}},
         "True AsPlanned", ""),
        ("room for adapters takes the half", replace(SAID, kv_cache_tokens=9), {"lora": {"maxRank": 512}},
         "True AsPlanned", ""),
        ("a little less", replace(SAID, kv_cache_tokens=52430), {}, "True AsPlanned", "KV cache 52430 tokens"),
        ("it said little", EngineFacts(version="0.33.0"), {"attentionBackend": "CPU_ATTN"}, "True AsPlanned", ""),
    ],
)  # fmt: skip
def test_verdict(case, facts, engine, expected, words):
    status, reason, message = verdict(plan(), told(facts, **engine))
    assert f"{status} {reason}" == expected, case
    assert words in message


def test_the_room_follows_from_the_first_adapter_too():
    spec = deployment(model={"uri": "hf://o/m", "adapters": [{"name": "sql", "uri": "hf://o/a"}]}).spec
    found = report(spec, Observed((group(0),)), {"u-new-0": replace(SAID, kv_cache_tokens=9)}, plan())
    assert found is not None
    assert verdict(plan(), found)[:2] == ("True", "AsPlanned")


def test_on_a_gpu_a_method_for_experts_without_a_word_of_kernels_is_not_condemned():
    facts = replace(SAID, quantization="int8_per_channel_weight_only", attention_backend="FLASH_ATTN")
    found = told(facts, accelerator="nvidia-h100-80gb", quantization="int8_per_channel_weight_only")
    assert verdict(plan(), found)[:2] == ("Unknown", "QuantizationUnclear")


def test_replicas_that_differ_are_told():
    status, reason, message = verdict(plan(), told(SAID, replace(SAID, attention_backend="CPU_MLA", version=None)))
    assert (status, reason) == ("False", "ReplicasDiffer")
    assert "version: 0.32.0 on demo-new-0-0, not said on demo-new-1-0" in message
    assert "attentionBackend: CPU_ATTN on demo-new-0-0, CPU_MLA on demo-new-1-0" in message


def test_the_condition_is_there_once_an_engine_has_spoken_and_stops_nothing():
    silent = Situation(1, 0, plan(), (), Observed((group(0),), router_ready=1))
    assert "EngineAsPlanned" not in [each.type for each in conditions(silent)]
    spoken = replace(silent, engines=told(replace(SAID, attention_refused="FLASH_ATTN")))
    judged = {each.type: each for each in conditions(spoken)}
    assert judged["EngineAsPlanned"].status == "False"
    assert judged["Ready"] == next(each for each in conditions(silent) if each.type == "Ready")
