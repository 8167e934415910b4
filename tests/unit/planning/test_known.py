"""Which source is believed, and when a catalog's entry is not the checkpoint that the spec means."""

from dataclasses import replace

import pytest
from make import TINY

from manta_operator.facts import catalog
from manta_operator.facts.extension import Extension
from manta_operator.planning import known as subject
from manta_operator.planning.known import SHIPPED, Asked, asked_of, of_catalogs

NAME = "org/model"
URI = f"hf://{NAME}"
GPTQ = replace(TINY, quantization="gptq")
FP8 = replace(TINY, quantization="fp8")
COMMIT = "c0ffee" * 6 + "abcd"


def own(**models):
    return Extension(models=models)


def found(facts=TINY, **asked):
    return of_catalogs(Asked(URI, **asked), Extension(models={NAME: facts}), "ConfigMap a/b")


def test_a_users_own_entry_comes_before_the_shipped_one():
    name = next(iter(catalog.entries()))
    asked = Asked(f"hf://{name}")
    shipped, mine = of_catalogs(asked, Extension()), of_catalogs(asked, Extension(models={name: TINY}), "mine")
    assert (shipped.source, shipped.facts.basis) == (SHIPPED, "catalog")
    assert (mine.source, mine.facts) == ("mine", replace(TINY, basis="catalog"))
    assert not shipped.read
    assert not mine.read


def test_what_is_in_no_catalog_says_so():
    assert of_catalogs(Asked("hf://nobody/knows-this"), Extension()).why == "no catalog has it"


@pytest.mark.parametrize("uri", ["s3://bucket/model", "pvc://claim/x", "oci://r.io/m:1", "file:///models/x"])
def test_a_model_elsewhere_is_known_by_its_uri(uri):
    assert of_catalogs(Asked(uri), Extension()) == subject.NOTHING
    assert of_catalogs(Asked(f"{uri}/"), Extension(models={uri: TINY}), "mine").source == "mine"


@pytest.mark.parametrize("revision", [None, "main", COMMIT, COMMIT[:8]], ids=str)
def test_a_revision_of_the_same_files_is_known(revision):
    assert found(revision=revision).facts is not None


@pytest.mark.parametrize("revision", ["gptq-4bit-32g", "v1.0", "refs/pr/7", "mainline"])
def test_another_branch_may_hold_another_checkpoint(revision):
    known = found(revision=revision)
    assert known.facts is None
    assert f"org/model@{revision}" in known.why
    assert "ConfigMap a/b" in known.why


def test_a_revision_may_have_an_entry_of_its_own():
    models = {NAME: TINY, f"{NAME}@gptq": GPTQ}
    known = of_catalogs(Asked(URI, revision="gptq"), Extension(models=models), "mine")
    assert known.facts.quantization == "gptq"


@pytest.mark.parametrize(
    ("facts", "asked", "same"),
    [
        (TINY, "auto", True),
        (TINY, "none", True),
        (TINY, "fp8", True),  # quantized while it is loaded
        (TINY, "fp8_per_tensor", True),
        (TINY, "awq", False),
        (TINY, "compressed-tensors", False),
        (GPTQ, "auto", True),
        (GPTQ, "gptq", True),
        (GPTQ, "gptq_marlin", True),
        (GPTQ, "none", False),
        (GPTQ, "awq", False),
        (GPTQ, "fp8_per_tensor", False),
        (FP8, "fp8", True),
        (FP8, "modelopt", False),
    ],
    ids=lambda value: str(getattr(value, "quantization", value)),
)
def test_a_checkpoint_that_is_quantized_in_another_way_is_not_judged_by_the_entry(facts, asked, same):
    known = found(facts, quantization=asked)
    assert (known.facts is not None) == same
    assert same or (asked in known.why and "quantized" in known.why)


def test_every_method_that_only_checkpoints_have_is_one_of_the_api():
    from typing import get_args

    from manta_operator.api.choices import Quantization
    from manta_operator.planning.memory.weights import _LOADED_AS

    assert set(get_args(Quantization)) >= subject._OF_CHECKPOINTS
    assert not subject._OF_CHECKPOINTS & set(_LOADED_AS)


def test_what_is_asked_is_what_the_object_says():
    body = {
        "metadata": {"namespace": "team-a", "name": "x"},
        "spec": {
            "model": {"uri": URI, "revision": "r", "endpoint": "http://hub", "credentialsSecret": "s"},
            "engine": {"quantization": "awq"},
        },
    }
    assert asked_of(body) == Asked(URI, "r", "http://hub", "awq", "team-a", "s")
    assert asked_of({"metadata": {}, "spec": {"model": {"uri": URI}}}) == Asked(URI)
