"""Shapes with data ranks and experts: the cut, what is refused and why, what they weigh and hold."""

import math
from dataclasses import replace

import pytest
from make import LLAMA_8B, TINY, deployment

from manta_operator.builders.desired import desire
from manta_operator.planning.engine_facts import EngineFacts, EngineReport, verdict
from manta_operator.planning.memory.weights import bytes_per_rank
from manta_operator.planning.observe import Observed
from manta_operator.planning.previous import recall, remember
from manta_operator.planning.search import Choice, decide
from manta_operator.planning.shape import Shape

GIB = 2**30
MOE = replace(
    LLAMA_8B,
    architecture="MixtralForCausalLM",
    experts=8,
    expert_share=0.75,
    weights_bytes=80 * GIB,
    max_positions=8192,
)
"""20 GiB of attention and the like, 60 GiB of experts."""


def choice(facts, **spec) -> Choice:
    decided = decide(deployment(**spec).spec, facts)
    assert isinstance(decided, Choice), decided
    return decided


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"parallelism": {"data": 2, "tensor": 1}}, Shape(1, 1, 2, "mp", 2), id="one pod"),
        pytest.param(
            {"parallelism": {"data": 2, "tensor": 1}, "accelerator": {"perPod": 1}},
            Shape(1, 1, 1, "ray", 2),
            id="a pod for each",
        ),
        pytest.param({"parallelism": {"data": 16, "tensor": 1}}, Shape(1, 1, 8, "ray", 16), id="nodes of eight"),
        pytest.param(
            {"parallelism": {"data": 6, "tensor": 2}},
            Shape(2, 1, 6, "ray", 6),
            id="whole engines that fill pods evenly",
        ),
        pytest.param(
            {"parallelism": {"data": 2, "tensor": 8, "pipeline": 2}}, Shape(8, 2, 8, "ray", 2), id="engines of two pods"
        ),
        pytest.param(
            {"parallelism": {"data": 2, "tensor": 1, "expert": True}}, Shape(1, 1, 2, "mp", 2, True), id="whole experts"
        ),
        pytest.param({"parallelism": {"data": 4}, "accelerator": {"perPod": 8}}, Shape(2, 1, 8, "mp", 4), id="unseen"),
        pytest.param(
            {"parallelism": {"data": 16}, "accelerator": {"perPod": 8}}, Shape(1, 1, 8, "ray", 16), id="unseen, 2"
        ),
    ],
)
def test_the_cut(spec, expected):
    assert choice(None, **spec).shape == expected


def test_the_shape_in_words():
    assert str(Shape(1, 1, 1, "uni")) == "tensor 1 x pipeline 1 = 1 rank in 1 pod, executor uni"
    expected = "data 4 x tensor 2 x pipeline 1 = 8 ranks in 2 pods, executor ray, experts over 8 ranks"
    assert str(Shape(2, 1, 4, "ray", 4, True)) == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param(Shape(1, 1, 1, "uni"), 80, id="one rank"),
        pytest.param(Shape(4, 1, 4, "mp"), 20, id="tensor splits all"),
        pytest.param(Shape(1, 2, 2, "mp"), 40, id="pipeline splits the layers"),
        pytest.param(Shape(1, 1, 2, "mp", 2), 20 + 30, id="data ranks split the experts alone"),
        pytest.param(Shape(1, 1, 4, "mp", 4, True), 20 + 15, id="whole experts"),
        pytest.param(Shape(2, 1, 4, "mp", 2, True), 10 + 15, id="data x tensor"),
        pytest.param(Shape(2, 2, 8, "mp", 2), 5 + 7.5, id="data x tensor x pipeline"),
        pytest.param(Shape(1, 1, 3, "mp", 3, True), 20 + 22.5, id="3 of 8 experts on the fullest rank"),
    ],
)
def test_weights_of_the_fullest_rank(shape, expected):
    assert bytes_per_rank(80 * GIB, shape, MOE) == expected * GIB


def test_a_dense_model_is_copied_into_every_data_rank():
    assert bytes_per_rank(16 * GIB, Shape(2, 1, 8, "mp", 4), LLAMA_8B) == 8 * GIB


def test_the_cache_is_counted_for_each_data_rank():
    one = choice(LLAMA_8B, parallelism={"tensor": 1}, engine={"maxModelLen": 8192}).fit
    two = choice(LLAMA_8B, parallelism={"tensor": 1, "data": 2}, engine={"maxModelLen": 8192}).fit
    assert one.kv_cache_tokens is not None
    assert two.kv_cache_tokens == 2 * one.kv_cache_tokens
    assert two.message == f"{one.message}, in each of 2 data ranks"


def test_a_request_must_fit_into_one_data_rank():
    found = decide(
        deployment(
            accelerator={"type": "nvidia-l4"}, parallelism={"tensor": 1, "data": 8}, engine={"maxModelLen": 65536}
        ).spec,
        LLAMA_8B,
    )
    assert not isinstance(found, Choice)
    assert "does not fit" in str(found[0])


@pytest.mark.parametrize(
    ("facts", "spec", "path", "words"),
    [
        (
            LLAMA_8B,
            {"parallelism": {"tensor": 2, "expert": True}},
            "spec.parallelism.expert",
            ["LlamaForCausalLM has no experts", "leave expert out"],
        ),
        (
            MOE,
            {"parallelism": {"tensor": 2, "data": 8, "expert": True}},
            "spec.parallelism.expert",
            ["8 experts", "fewer than the 16 ranks", "data 8 x tensor 2"],
        ),
        (
            None,
            {"parallelism": {"tensor": 3, "data": 4}, "accelerator": {"perPod": 2}},
            "spec.accelerator.perPod",
            ["2 neither holds whole data ranks of 3", "nor divides one", "use one of 1, 3, 6, 12"],
        ),
        (
            None,
            {"parallelism": {"tensor": 1, "data": 4}, "accelerator": {"perPod": 3}},
            "spec.accelerator.perPod",
            ["3 does not divide the 4 ranks", "data 4 x tensor 1"],
        ),
        (
            TINY,
            {"accelerator": {"type": "cpu"}, "parallelism": {"pipeline": 2}, "engine": {"enforceEager": True}},
            "spec.engine.enforceEager",
            ["several pipeline stages", "enforceEager: false"],
        ),
        (
            replace(TINY, experts=4),
            {"accelerator": {"type": "cpu"}, "parallelism": {"data": 2, "expert": True}},
            "spec.parallelism.expert",
            ["on cpu", "leave expert out"],
        ),
    ],
)
def test_refusals_name_the_field_and_the_remedy(facts, spec, path, words):
    (problem,) = decide(deployment(**spec).spec, facts)
    assert problem.path == path
    for word in words:
        assert word in str(problem)


def test_what_is_not_refused_on_cpu():
    assert choice(TINY, accelerator={"type": "cpu"}, parallelism={"pipeline": 2}).shape.pipeline == 2
    moe = replace(TINY, experts=4)
    assert choice(moe, accelerator={"type": "cpu"}, parallelism={"data": 2}).shape.data == 2


def test_a_dense_model_is_told_that_replicas_do_better():
    desired = desire(deployment(parallelism={"data": 2, "tensor": 1}), LLAMA_8B, Observed(()))
    assert not isinstance(desired, tuple)
    advice = [each.message for each in desired.plan.decisions if each.reason == "Advice"]
    assert advice == [choice(LLAMA_8B, parallelism={"data": 2, "tensor": 1}).advice]
    assert "2 times spec.replicas" in advice[0]
    for facts, parallelism in ((None, {"data": 2}), (MOE, {"data": 2, "tensor": 1}), (LLAMA_8B, {"tensor": 2})):
        assert choice(facts, parallelism=parallelism).advice == ""


@pytest.mark.parametrize(("share", "reason"), [(1.0, "AsPlanned"), (0.4, "CacheSmaller")])
def test_an_engine_tells_the_cache_of_one_data_rank(share, reason):
    asked = deployment(parallelism={"data": 4, "tensor": 1}, engine={"maxModelLen": 8192})
    desired = desire(asked, LLAMA_8B, Observed(()))
    assert not isinstance(desired, tuple)
    each = (desired.plan.fit.kv_cache_tokens or 0) // 4
    report = EngineReport(asked.spec.engine, False, (("demo-0-0", EngineFacts(kv_cache_tokens=int(share * each))),))
    assert verdict(desired.plan, report)[1] == reason


def test_memory_of_a_cpu_pod_counts_the_coordinator_of_data_ranks():
    found = choice(TINY, accelerator={"type": "cpu"}, parallelism={"data": 2}, engine={"kvCacheMemory": "64Mi"}).fit
    each = TINY.weights_bytes + 64 * 2**20 + int(1.5 * GIB)
    assert found.memory_per_pod == 2 * each + int(1.5 * GIB)


def test_the_status_remembers_data_ranks_and_experts():
    spec = deployment(parallelism={"data": 2, "tensor": 1, "expert": True}).spec
    decided = decide(spec, MOE)
    assert isinstance(decided, Choice)
    status = {"shape": remember(spec, decided.shape, decided.fit), "fit": {"fits": "True", "message": ""}}
    assert (status["shape"]["data"], status["shape"]["expert"]) == (2, True)
    recalled = recall(spec, status)
    assert recalled is not None
    assert recalled.shape == decided.shape
    plain = deployment(parallelism={"tensor": 1}).spec
    assert not {"data", "expert"} & remember(plain, Shape(1, 1, 1, "uni"), decided.fit).keys()


def test_another_accelerator_is_judged_by_what_the_spec_says_of_it():
    gaudi = {"type": "other", "resource": "habana.ai/gaudi"}
    unknown = choice(LLAMA_8B, accelerator=gaudi, parallelism={"tensor": 1}).fit
    assert unknown.fits == "Unknown"
    assert "memory of habana.ai/gaudi is not known" in unknown.message
    known = choice(LLAMA_8B, accelerator=gaudi | {"memory": "96Gi"}, engine={"maxModelLen": 8192}).fit
    assert known.fits == "True"
    assert "96.0 GiB on habana.ai/gaudi" in known.message
    assert choice(LLAMA_8B, accelerator=gaudi | {"memory": "24Gi"}, engine={"maxModelLen": 131072}).shape.tensor == 2


def test_other_without_a_resource_is_no_accelerator():
    (problem,) = decide(deployment(accelerator={"type": "other"}).spec, None)
    assert problem.path == "spec.accelerator.type"
    assert "spec.accelerator.resource" in str(problem)


def test_the_pods_of_another_accelerator_ask_for_its_resource():
    desired = desire(
        deployment(accelerator={"type": "other", "resource": "amd.com/gpu", "perPod": 2}), None, Observed(())
    )
    assert not isinstance(desired, tuple)
    [container] = [each for each in desired.template["spec"]["containers"] if each["name"] == "engine"]
    assert container["resources"]["limits"] == {"amd.com/gpu": "2"}
    assert "affinity" not in desired.template["spec"]
    assert "--accelerator=gpu" in container["args"]


def test_vllm_is_told_of_data_ranks_and_experts_only_where_there_are_any():
    def flags(**parallelism):
        desired = desire(deployment(parallelism=parallelism), MOE, Observed(()))
        assert not isinstance(desired, tuple)
        [container] = [each for each in desired.template["spec"]["containers"] if each["name"] == "engine"]
        return [arg for arg in container["args"] if "data" in arg or "expert" in arg]

    assert flags(tensor=2) == []
    assert flags(tensor=1, data=2, expert=True) == ["--data-parallel-size=2", "--enable-expert-parallel"]


def test_numbers_of_a_large_moe_over_two_nodes():
    """DeepSeek-V3's size in fp8: 671 GB, of which 654 are experts, on two nodes of eight H200."""
    facts = replace(MOE, experts=256, expert_share=0.975, weights_bytes=671_000_000_000, quantization="fp8")
    facts = replace(facts, kv_heads=128, attention_heads=128, layers=61, latent_dim=576, max_positions=163840)
    found = choice(facts, accelerator={"type": "nvidia-h200"}, parallelism={"tensor": 1, "data": 16, "expert": True})
    assert found.shape.pods == 2
    assert found.fit.weights_per_rank == math.ceil(671e9 * 0.025 + 671e9 * 0.975 / 16)
    assert found.fit.fits == "True"
