"""Traces are read as they are written, and bad ones are refused with the place and the reason."""

import gzip
import json

import pytest
from affinity import synthetic
from affinity.main import main
from affinity.prompts import CHARACTERS_PER_TOKEN, body, prompt, request
from affinity.traces import Ask, TraceError, best_possible, find, load
from click.testing import CliRunner

ROWS = [
    {"timestamp": 2500, "input_length": 700, "output_length": 5, "hash_ids": [1, 2]},
    {"timestamp": 500, "input_length": 1100, "output_length": 0, "hash_ids": [1, 3, 4]},
    {"timestamp": 4500, "input_length": 1100, "output_length": 9, "hash_ids": [1, 3, 5]},
]


def write(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_found_with_and_without_suffix(tmp_path, suffix):
    path = write(tmp_path / f"some{suffix}", ROWS)
    assert find("some", [tmp_path]) == find(f"some{suffix}", [tmp_path]) == find(tmp_path / "some", []) == path


def test_read_in_order_of_time(tmp_path):
    asks = load(write(tmp_path / "some.jsonl.gz", ROWS), rate_scale=2)
    assert asks[0] == Ask(0, 0.0, 1100, 1, (1, 3, 4)), "an answer has at least one token"
    assert [ask.at for ask in asks] == [0.0, 1.0, 2.0]
    assert len(load(tmp_path / "some.jsonl.gz", limit=2)) == 2
    assert best_possible(asks) == 3 / 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no requests"),
        ("nothing\n", "bad.jsonl:1: not a JSON object"),
        ("\n[]\n", "bad.jsonl:2: not a JSON object"),
        ('{"timestamp": 0}\n', "bad.jsonl:1: wants numbers"),
        ('{"timestamp": 0, "input_length": 0, "output_length": 1, "hash_ids": []}\n', "at least 1"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, message):
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(TraceError, match=message):
        load(tmp_path / "bad.jsonl")


def test_broken_archive(tmp_path):
    whole = write(tmp_path / "some.jsonl.gz", ROWS).read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-12])
    with pytest.raises(TraceError, match="cannot be read"):
        load(tmp_path / "cut.jsonl.gz")


def test_missing_trace_says_what_would_do(tmp_path):
    result = CliRunner().invoke(main, ["--trace", "no/such/trace", "--out", str(tmp_path / "out.json")])
    assert result.exit_code == 1
    assert "no trace at no/such/trace" in result.output
    assert "hash_ids" in result.output


def test_command_writes_what_it_promises(tmp_path):
    trace = write(tmp_path / "some.jsonl", [row | {"timestamp": 100 * i} for i, row in enumerate(ROWS * 3)])
    out = tmp_path / "build" / "out.json"
    result = CliRunner().invoke(main, ["--trace", str(trace), "--out", str(out), "--policy", "round_robin"])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert set(found) == {"manta", "round_robin", "meta"}
    for name in ("manta", "round_robin"):
        assert {"hit_ratio", "hit_ratio_of_best", "imbalance", "ttft_p90_s"} <= set(found[name])
    assert found["meta"]["engines"] == 8
    assert "affinity_lost" in found["meta"]["two_routers"]["manta"]


def test_equal_blocks_give_equal_text():
    one, other = Ask(0, 0.0, 1100, 1, (1, 3, 4)), Ask(1, 0.0, 1200, 1, (1, 3, 5))
    assert len(prompt(one)) == int(1100 * CHARACTERS_PER_TOKEN)
    shared = int(1024 * CHARACTERS_PER_TOKEN)
    assert prompt(one)[:shared] == prompt(other)[:shared]
    assert prompt(one)[shared : shared + 20] != prompt(other)[shared : shared + 20]


def test_tokens_beyond_the_ids_are_a_requests_own():
    texts = [prompt(Ask(index, 0.0, 900, 1, (1,)))[2304:] for index in range(2)]
    assert len(texts[0]) == int(900 * CHARACTERS_PER_TOKEN) - 2304
    assert texts[0] != texts[1]


def test_the_router_sees_the_shared_prefix():
    one, other = (request(Ask(i, 0.0, 3000, 1, (1, 3, 4 + i))) for i in range(2))
    same = [a == b for a, b in zip(one.blocks, other.blocks, strict=True)]
    assert same.index(False) >= 4, "1,024 tokens are shared"
    assert not any(same[same.index(False) :])
    assert json.loads(body(Ask(0, 0.0, 5, 1, ())))["stream"] is True


@pytest.mark.parametrize("kind", ["hot", "turns", "unshared", "agents"])
def test_made_up_traces(kind):
    asks = synthetic.make(kind, rate=10, count=300)
    assert asks == synthetic.make(kind, rate=10, count=300)
    assert [ask.at for ask in asks] == sorted(ask.at for ask in asks)
    assert all(len(ask.blocks) == -(-ask.prompt_tokens // 512) for ask in asks)
    shared = best_possible(asks)
    assert shared == 0 if kind == "unshared" else shared > 0.3


def test_made_up_trace_without_its_data(tmp_path):
    with pytest.raises(TraceError, match="give the folder"):
        synthetic.make("azure", rate=1, count=1, data=tmp_path)
