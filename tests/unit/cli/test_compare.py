"""`manta plan --compare`: the kinds of a cluster's nodes, else those of the catalog, and which of the two it was."""

import json

import pytest

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 256,
    "intermediate_size": 512,
    "vocab_size": 2048,
    "num_hidden_layers": 4,
    "max_position_embeddings": 1024,
}
MANIFEST = """\
apiVersion: manta.dev/v1alpha1
kind: LLMDeployment
metadata: {name: demo}
spec:
  model: {uri: "file:///models/tiny"}
  accelerator: {type: nvidia-l4}
"""


@pytest.fixture
def manifest(tmp_path):
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    header = json.dumps({"w": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    path = tmp_path / "demo.yaml"
    path.write_text(MANIFEST)
    return ["plan", "--compare", "-f", str(path), f"--map=/models={folder.parent}"]


@pytest.fixture
def two_nodes(cluster):
    for name in ("a", "b"):
        metadata = {"name": name, "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}}
        cluster.do("create", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        cluster.do("patch_status", "Node", None, name, {"status": {"allocatable": {"nvidia.com/gpu": "4"}}})
    yield cluster
    for name in ("a", "b"):
        cluster.do("delete", "Node", None, name)


def test_the_nodes_of_a_cluster_are_compared(two_nodes, manta, manifest):
    result = manta(*manifest, "-o", "json", kubeconfig=two_nodes.kubeconfig())
    assert result.exit_code == 0, result.output
    (compared,) = json.loads(result.stdout)
    assert "the nodes of" in compared["comparedWith"]
    (row,) = compared["rows"]
    assert (row["accelerator"], row["nodes"], row["perNode"], row["asked"]) == ("nvidia-l4", 2, 4, True)
    assert (row["fits"], row["accelerators"], row["enough"]) == ("True", 1, True)


def test_without_a_cluster_it_is_the_catalog_and_that_is_said(manta, manifest):
    result = manta(*manifest)
    assert result.exit_code == 0, result.output
    assert "on the catalog of accelerators (no cluster is configured" in result.stdout
    assert "nvidia-l4 *" in result.stdout
    assert "amd-mi300x" in result.stdout


def test_a_cluster_without_accelerators_leaves_the_catalog(cluster, manta, manifest):
    result = manta(*manifest, kubeconfig=cluster.kubeconfig())
    assert result.exit_code == 0, result.output
    assert "has no node with one" in result.stdout


def test_a_cluster_that_is_named_and_does_not_answer_is_refused(manta, manifest, tmp_path):
    result = manta(*manifest, f"--kubeconfig={tmp_path / 'none'}")
    assert result.exit_code == 2
    assert "there is no such file" in result.stderr


def test_it_excludes_a_difference(manta, manifest):
    result = manta(*manifest, "--diff")
    assert result.exit_code == 2
    assert "--diff and --compare exclude each other" in result.stderr
