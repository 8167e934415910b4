"""A model of a few megabytes as a hub has it: its config.json, and a safetensors file with zeros for weights."""

import json
import struct

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "vocab_size": 2048,
    "max_position_embeddings": 2048,
}
TENSORS = {"model.embed_tokens.weight": [2048, 256], "model.layers.0.self_attn.q_proj.weight": [256, 256]}


def safetensors(tensors=TENSORS, pad=0):
    """A whole file: header and zeros."""
    header, at = {"__metadata__": {"pad": "x" * pad}}, 0
    for name, (rows, columns) in tensors.items():
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [at, at + 2 * rows * columns]}
        at += 2 * rows * columns
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)
