"""Which files of a repository are fetched."""

import pytest

from manta_runtime.models.failure import PermanentError
from manta_runtime.models.files import RemoteFile
from manta_runtime.models.selection import select

CASES = {
    "safetensors before everything else": (
        "config.json model.safetensors pytorch_model.bin pytorch_model.bin.index.json model.gguf tf_model.h5 x.onnx",
        "config.json model.safetensors",
    ),
    "bin where there are no safetensors, without what training left": (
        "config.json pytorch_model.bin pytorch_model.bin.index.json training_args.bin optimizer.pt",
        "config.json pytorch_model.bin pytorch_model.bin.index.json",
    ),
    "gguf last, in splits": (
        "config.json m-00001-of-00002.gguf m-00002-of-00002.gguf x.onnx",
        "config.json m-00001-of-00002.gguf m-00002-of-00002.gguf",
    ),
    "no second copy": (
        "config.json model.safetensors consolidated.safetensors original/consolidated.00.pth original/params.json",
        "config.json model.safetensors",
    ),
    "a second copy that is the only one": (
        "params.json consolidated.safetensors tekken.json",
        "consolidated.safetensors params.json tekken.json",
    ),
    "original weights when they are the only ones": (
        "config.json original/consolidated.00.pth original/params.json",
        "config.json original/consolidated.00.pth original/params.json",
    ),
    "Mistral's own layout where it is whole: vLLM prefers it": (
        "config.json consolidated.safetensors model-00001-of-00001.safetensors model.safetensors.index.json "
        "params.json tekken.json",
        "config.json consolidated.safetensors params.json tekken.json",
    ),
    "Mistral's own layout with small tensors of its own": (
        "config.json consolidated.safetensors params.json voice_embedding/x.pt",
        "config.json consolidated.safetensors params.json voice_embedding/x.pt",
    ),
    "each folder has its format": (
        "2_Dense/config.json 2_Dense/model.safetensors 2_Dense/pytorch_model.bin config.json pytorch_model.bin",
        "2_Dense/config.json 2_Dense/model.safetensors config.json pytorch_model.bin",
    ),
    "an adapter in a folder takes nothing from the model": (
        "config.json lora/adapter_model.safetensors pytorch_model-00001-of-00001.bin pytorch_model.bin.index.json",
        "config.json lora/adapter_model.safetensors pytorch_model-00001-of-00001.bin pytorch_model.bin.index.json",
    ),
    "an adapter in a folder takes nothing from a gguf": (
        "config.json lora/adapter_model.safetensors m.gguf",
        "config.json lora/adapter_model.safetensors m.gguf",
    ),
    "small tensors beside the model, no second model": (
        "colbert_linear.pt config.json model.pt pytorch_model.bin pytorch_model-1-of-1.pth sparse_linear.pt",
        "colbert_linear.pt config.json pytorch_model.bin sparse_linear.pt",
    ),
    "the only weights, whatever their name": ("config.json some.pt", "config.json some.pt"),
    "no quantised copies in folders": (
        "config.json gguf/m-q4.gguf gguf/m-q8.gguf model.safetensors",
        "config.json model.safetensors",
    ),
    "tokenizers, templates and code": (
        "config.json m.safetensors tokenizer.model merges.txt qwen.tiktoken chat_template.jinja modeling_x.py LICENSE",
        "LICENSE chat_template.jinja config.json m.safetensors merges.txt modeling_x.py qwen.tiktoken tokenizer.model",
    ),
    "an adapter": (
        "adapter_config.json adapter_model.safetensors adapter_model.bin README.md",
        "adapter_config.json adapter_model.safetensors",
    ),
    "no documents, no hidden files, no other engines, no checkpoints of the training": (
        "config.json m.safetensors README.md a.png .gitattributes .git/config onnx/config.json checkpoint-5/a.json",
        "config.json m.safetensors",
    ),
}


def files(names):
    return [RemoteFile(name, 1) for name in names.split()]


@pytest.mark.parametrize(("names", "expected"), CASES.values(), ids=CASES)
def test_select(names, expected):
    assert [file.path for file in select(files(names), "hf://a/b")] == expected.split()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("model.safetensors sub/config.json", "no config.json"),
        ("config.json README.md model.onnx", "no weights"),
        ("config.json model-q4.gguf model-q8.gguf", "several GGUF models"),
    ],
    ids=["configuration", "weights", "several in one"],
)
def test_what_is_no_model_is_refused(names, words):
    with pytest.raises(PermanentError, match=words):
        select(files(names), "hf://a/b")


def test_a_name_that_leaves_the_folder_is_not_taken_for_a_hidden_one():
    chosen = select(files("config.json m.safetensors ../x.json"), "hf://a/b")
    assert "../x.json" in [file.path for file in chosen], "names.py refuses the repository for it"
