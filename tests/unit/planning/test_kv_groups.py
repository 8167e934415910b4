"""Blocks of the KV cache against start-ups of real vLLM: tokens and concurrency as it logged them, to the block."""

import pytest

from manta_operator.facts.caches.layers import Cache, State
from manta_operator.planning.memory.kv_groups import Pool, Use, pool
from manta_operator.planning.memory.kv_widths import Widths, attention_bytes, state_bytes

GIB = 2**30
FULL = Cache("full", 8, 128, 128)
DELTA = State("delta", 128 * 32 + 128 * 48, 3, 48, 128 * 128, 4.0)
QWEN_27B = tuple(
    Cache("full", 4, 256, 256) if layer % 4 == 3 else Cache("recurrent", state=DELTA) for layer in range(64)
)
NANO_STATE = State("mamba2", 4096 + 2 * 8 * 128, 3, 64, 64 * 128, 4.0, None, 8, 256)
NANO = tuple(
    {"*": Cache("full", 2, 128, 128), "M": Cache("recurrent", state=NANO_STATE)}.get(letter, Cache("none"))
    for letter in "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
)
R1 = (Cache("latent", 1, latent=576),) * 61
V32 = (Cache("latent", 1, latent=576, indexer=132),) * 61
LLAMA4 = tuple(
    Cache("full", 8, 128, 128) if layer % 4 == 3 else Cache("chunked", 8, 128, 128, 8192) for layer in range(48)
)


def blocks_of(*asked, **more) -> Pool:
    found = pool(*asked, **more)
    assert found is not None
    return found


def widths(tensor=1, dtype="auto", block=16, capability=90):
    return Widths(tensor, dtype, 2.0, block, capability)


@pytest.mark.parametrize(
    ("case", "caches", "wide", "use", "gib", "blocks", "concurrency"),
    [
        ("Qwen3.8-27B, L40S, 0.26: refused for 184 blocks", QWEN_27B, widths(), Use(131072, 0), 8.82, 184, 1.08),
        ("Nemotron 3 Nano, H200, 0.13", NANO, widths(dtype="fp8"), Use(8192, 0), 93.13, 7794, 1299.0),
        ("Nemotron 3 Nano, H200, 0.20", NANO, widths(dtype="fp8"), Use(262144, 0), 94.45, 7905, 117.99),
        ("DeepSeek-R1, 8 x H200, 0.11.2", R1, widths(8, block=64), Use(8192, 0), 41.6, 9931, 77.59),
        ("DeepSeek-R1, a length of no whole blocks, 0.16", R1, widths(8, block=64), Use(10000, 0), 43.09, 10287, 65.52),
        ("DeepSeek-V3.2, 8 x H200, 0.16", V32, widths(8, block=64), Use(8192, 0), 42.21, 9041, 70.63),
        (
            "DeepSeek-V3.2, 8 x B200, fp8, 0.18",
            V32,
            widths(8, "fp8_e4m3", 64, 100),
            Use(10000, 0),
            110.95,
            43100,
            274.52,
        ),
        ("Llama 4 Maverick, chunks not freed", LLAMA4, widths(8), Use(8192, 0, hybrid=False), 26.15, 71406, 139.46),
        (
            "Qwen3-235B, 4 heads on 8 ranks",
            (Cache("full", 4, 128, 128),) * 94,
            widths(8),
            Use(10000, 0),
            139.5,
            194518,
            311.23,
        ),
    ],
)
def test_as_vllm_logged(case, caches, wide, use, gib, blocks, concurrency):
    found = blocks_of(caches, wide, use)
    assert gib * GIB // found.bytes_per_block == pytest.approx(blocks, abs=1 + blocks * 2e-4), case
    assert blocks / found.request_blocks == pytest.approx(concurrency, abs=0.006), case


def test_gemma_3_27b_is_padded_to_seven_groups_of_ten():
    caches = tuple(
        Cache("full" if n % 6 == 5 else "window", 16, 128, 128, None if n % 6 == 5 else 1024) for n in range(62)
    )
    found = blocks_of(caches, widths(), Use(131072, 2048))
    assert (found.groups, found.bytes_per_block) == (7, 10 * 16 * 2 * 16 * 128 * 2)
    # one full group of the whole length, six of the window, what is in flight, and one
    assert found.request_blocks == 8192 + 6 * ((1024 - 1 + 2048 + 15) // 16 + 1)


def test_few_more_layers_of_one_kind_pad_the_other():
    """gpt-oss-20b with a guessing layer: 12 windows and 13 full layers become two groups of 13, not three of 12."""
    window = Cache("window", 8, 64, 64, 128)
    caches = (*((window, Cache("full", 8, 64, 64)) * 12), Cache("full", 8, 64, 64))
    found = blocks_of(caches, widths(), Use(4096, 2048))
    assert (found.groups, found.bytes_per_block) == (2, 13 * 16 * 2 * 8 * 64 * 2)


def test_a_second_state_is_kept_where_prefixes_are_cached_and_one_for_each_guess():
    plain = blocks_of(QWEN_27B, widths(), Use(131072, 0))
    cached = blocks_of(QWEN_27B, widths(), Use(131072, 0, cached_prefixes=True))
    guessed = blocks_of(QWEN_27B, widths(), Use(131072, 0, guessed=2))
    assert cached.request_blocks == plain.request_blocks + 3
    # the longer convolution makes longer blocks: 800 tokens, of which 131,072 take 164; three groups of 1 + 2 states
    assert guessed.request_blocks == 164 + 3 * 3


def test_pages_of_two_widths_are_unified_by_longer_blocks():
    wide, narrow = Cache("full", 4, 512, 512), Cache("window", 8, 128, 128, 1024)
    found = blocks_of((wide, narrow, narrow, narrow), widths(), Use(16384, 0))
    # the narrow page goes twice into the wide one: its blocks have 32 tokens
    assert found.bytes_per_block == 4 * 1024 * 2 * 16
    assert found.request_blocks == 1024 + 3 * (1023 // 32 + 1 + 1)


def test_stages_hold_whole_layers_and_the_first_but_the_last_take_what_is_left():
    whole, cut = (
        blocks_of((FULL,) * 61, widths(), Use(1000, 0)),
        blocks_of((FULL,) * 61, widths(), Use(1000, 0), stages=8),
    )
    assert (whole.bytes_per_block, cut.bytes_per_block) == (61 * 65536, 8 * 65536)
    assert whole.request_blocks == cut.request_blocks


def test_nothing_is_kept_by_layers_without_attention():
    assert pool((Cache("none"),) * 3, widths(), Use(1000, 0)) is None


@pytest.mark.parametrize(
    ("case", "cache", "wide", "expected"),
    [
        ("16 bits", FULL, widths(), 4096),
        ("shared by two ranks", FULL, widths(2), 2048),
        ("fewer heads than ranks", FULL, widths(32), 512),
        ("fp8", FULL, widths(dtype="fp8"), 2048),
        ("nvfp4", FULL, widths(dtype="nvfp4"), 1152),
        ("int8 with scales", FULL, widths(dtype="int8_per_token_head"), 8 * (256 + 8)),
        ("int4 with scales", FULL, widths(dtype="int4_per_token_head"), 8 * (128 + 8)),
        ("latent on every rank", R1[0], widths(8), 1152),
        ("latent fp8", R1[0], widths(dtype="fp8"), 576),
        ("sparse latent fp8 is packed on Hopper", V32[0], widths(dtype="fp8"), 656),
        ("not on Blackwell", V32[0], widths(dtype="fp8_e4m3", capability=100), 576),
        ("packed where it is asked for", R1[0], widths(dtype="fp8_ds_mla"), 656),
        ("and in 4 bits", R1[0], widths(dtype="nvfp4_ds_mla"), 352),
    ],
)
def test_widths(case, cache, wide, expected):
    assert attention_bytes(cache, wide) == expected, case


def test_groups_of_a_state_that_are_fewer_than_the_ranks_are_copied():
    one = State("mamba2", 512 + 32, 3, 8, 64 * 16, None, None, 1, 32)
    assert state_bytes(one, widths(), 0) == (512 + 32) * 3 * 2 + 8 * 64 * 16 * 2
    assert state_bytes(one, widths(4), 0) == (512 + 4 * 32) * 3 * 2 // 4 + 2 * 64 * 16 * 2
    assert state_bytes(one, widths(), 2) == (512 + 32) * 5 * 2 + 8 * 64 * 16 * 2
