"""Verdicts near the edge: what is certain, what is close, and what recurrent layers ask for."""

from dataclasses import replace

import pytest
from make import LLAMA_8B, deployment

from manta_operator.facts.caches.layers import Cache, State
from manta_operator.facts.steps import Step
from manta_operator.planning.fit import accelerator_of, judge
from manta_operator.planning.shape import Shape

GIB = 2**30
HYBRID = (
    *(Cache("recurrent", state=State("delta", 10_240, 3, 48, 16_384, 4.0)),) * 48,
    *(Cache("full", 4, 256, 256),) * 16,
)


@pytest.mark.parametrize(
    ("case", "facts", "spec", "fits", "words"),
    [
        (
            "too few states for all sequences",
            {"caches": HYBRID, "layers": 64, "weights_bytes": 30 * GIB},
            {"accelerator": {"type": "nvidia-l40s"}, "engine": {"maxModelLen": 131_072, "maxNumSeqs": 512}},
            "False",
            "set spec.engine.maxNumSeqs to",
        ),
        (
            "eagerly there are no graphs that need them",
            {"caches": HYBRID, "layers": 64, "weights_bytes": 30 * GIB},
            {
                "accelerator": {"type": "nvidia-l40s"},
                "engine": {"maxModelLen": 65_536, "maxNumSeqs": 512, "enforceEager": True},
            },
            "True",
            "requests of 65536 tokens",
        ),
        (
            "just not",
            {"weights_bytes": 19 * GIB, "step": Step(128_256, 14_336)},
            {"accelerator": {"type": "nvidia-a10"}, "engine": {"maxModelLen": 1024}},
            "Unknown",
            "too close to call: it would just not fit",
        ),
        (
            "just so",
            {"weights_bytes": 18 * GIB, "step": Step(128_256, 14_336)},
            {"accelerator": {"type": "nvidia-a10"}, "engine": {"maxModelLen": 1024}},
            "True",
            "; close: the KV cache is certain to",
        ),
        (
            "more than is free",
            {},
            {"engine": {"maxModelLen": 1024, "gpuMemoryUtilization": 99}},
            "True",
            "vLLM does not start where less than 99 % of the memory is free",
        ),
        (
            "a cache of its own size beside weights that leave no room",
            {},
            {"engine": {"maxModelLen": 1024, "kvCacheMemory": "70Gi"}},
            "False",
            "no room for a KV cache",
        ),
    ],
)
def test_verdicts_near_the_edge(case, facts, spec, fits, words):
    asked = deployment(**spec).spec
    fit = judge(asked, Shape(1, 1, 1, "uni"), accelerator_of(asked), replace(LLAMA_8B, **facts))
    assert fit.fits == fits, f"{case}: {fit.message}"
    assert words in fit.message, f"{case}: {fit.message}"


def test_the_states_that_are_advised_fit():
    facts = replace(LLAMA_8B, caches=HYBRID, layers=64, weights_bytes=30 * GIB)
    asked = {"accelerator": {"type": "nvidia-l40s"}, "engine": {"maxModelLen": 131_072, "maxNumSeqs": 512}}
    spec = deployment(**asked).spec
    message = judge(spec, Shape(1, 1, 1, "uni"), accelerator_of(spec), facts).message
    advised = int(message.rpartition("maxNumSeqs to ")[2].split()[0])
    again = deployment(**asked | {"engine": {"maxModelLen": 131_072, "maxNumSeqs": advised}}).spec
    assert judge(again, Shape(1, 1, 1, "uni"), accelerator_of(again), facts).fits == "True"
