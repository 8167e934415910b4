"""One model on every kind of accelerator: of a cluster's nodes and of the catalog."""

from dataclasses import replace

import pytest
from make import LLAMA_8B, deployment

from manta_operator.facts.accelerators import Accelerator, catalog
from manta_operator.planning.compare import Row, compare
from manta_operator.planning.kinds import Kind, of_catalog, of_nodes

GIB = 2**30
H100, L4 = catalog()["nvidia-h100-80gb"], catalog()["nvidia-l4"]
BIG = replace(LLAMA_8B, weights_bytes=300 * GIB)


def node(resource: str, amount: int, **labels: str):
    named = {name.replace("__", "/").replace("_", "."): text for name, text in labels.items()}
    return {"metadata": {"name": "n", "labels": named}, "status": {"allocatable": {resource: str(amount), "cpu": "8"}}}


def rows(facts, kinds, **spec) -> dict[str, Row]:
    return {row.kind.name: row for row in compare(deployment(**spec).spec, facts, kinds)}


@pytest.mark.parametrize(
    ("case", "body", "name", "memory"),
    [
        ("NVIDIA's product", node("nvidia.com/gpu", 8, nvidia_com__gpu_product="NVIDIA-H200"), "nvidia-h200", None),
        (
            "AMD's product",
            {
                "metadata": {"labels": {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}},
                "status": {"allocatable": {"amd.com/gpu": "8"}},
            },
            "amd-mi300x",
            None,
        ),
        (
            "a product that nobody knows, with its memory",
            node("nvidia.com/gpu", 4, nvidia_com__gpu_product="NVIDIA-X", nvidia_com__gpu_memory="24576"),
            "nvidia.com/gpu",
            24 * GIB,
        ),
        ("nothing said", node("nvidia.com/gpu", 1), "nvidia.com/gpu", None),
    ],
)
def test_the_kinds_of_a_cluster(case, body, name, memory):
    (kind,) = of_nodes([body, body])
    assert (kind.name, kind.nodes) == (name, 2), case
    assert kind.accelerator.memory_bytes == memory or memory is None


def test_nodes_without_an_accelerator_and_nodes_of_other_sizes():
    eight, four = (node("nvidia.com/gpu", size, nvidia_com__gpu_product="NVIDIA-L4") for size in (8, 4))
    kinds = of_nodes([four, eight, eight, node("memory", 8), node("nvidia.com/gpu", 0)])
    assert [(kind.name, kind.per_node, kind.nodes) for kind in kinds] == [("nvidia-l4", 8, 2), ("nvidia-l4", 4, 1)]


def test_the_split_is_left_open_and_a_node_is_as_large_as_it_is():
    pinned = {"parallelism": {"tensor": 1}, "accelerator": {"type": "nvidia-l4", "perPod": 1}}
    found = rows(BIG, [Kind(H100), Kind(L4, per_node=4, nodes=8)], **pinned, engine={"maxModelLen": 4096})
    assert found["nvidia-h100-80gb"].choice.shape.ranks == 8
    shape = found["nvidia-l4"].choice.shape
    assert (shape.tensor, shape.per_pod) == (4, 4)
    assert shape.pipeline > 1
    assert (found["nvidia-l4"].asked, found["nvidia-h100-80gb"].asked) == (True, False)


def test_a_cluster_that_has_too_few_of_them_is_told():
    (row,) = compare(deployment(engine={"maxModelLen": 4096}).spec, BIG, [Kind(H100, per_node=2, nodes=1)])
    assert not row.enough
    assert "the cluster has 2" in row.why


def test_the_cheapest_comes_first_and_without_prices_the_fewest():
    dear, cheap = replace(H100, per_hour=10.0), replace(L4, per_hour=0.5)
    assert [row.kind.name for row in compare(deployment().spec, LLAMA_8B, [Kind(dear), Kind(cheap)])] == [
        "nvidia-l4",
        "nvidia-h100-80gb",
    ]
    row = rows(LLAMA_8B, [Kind(cheap)], engine={"maxModelLen": 131072})["nvidia-l4"]
    assert row.per_hour == 0.5 * row.accelerators
    three = compare(deployment().spec, LLAMA_8B, [Kind(H100), Kind(cheap), Kind(dear)])
    assert [row.per_hour for row in three] == [0.5 * row.accelerators, 10.0, None], "what has no price comes last"
    first, _ = compare(deployment().spec, LLAMA_8B, [Kind(L4), Kind(H100)])
    assert first.kind.accelerator == H100


def test_what_cannot_run_there_and_what_nobody_knows_say_why():
    odd = Accelerator("other", "habana.ai/gaudi", None, ())
    found = rows(LLAMA_8B, [Kind(catalog()["amd-mi300x"]), Kind(odd)], engine={"attentionBackend": "FLASHMLA"})
    assert found["amd-mi300x"].fits == "False"
    assert "NVIDIA alone" in found["amd-mi300x"].why
    assert found["habana.ai/gaudi"].fits == "Unknown"
    assert "memory of habana.ai/gaudi is not known" in found["habana.ai/gaudi"].why


def test_every_kind_of_the_catalog_is_compared():
    assert {row.kind.name for row in compare(deployment().spec, LLAMA_8B, of_catalog())} == {*catalog()} - {"cpu"}
