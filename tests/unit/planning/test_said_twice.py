"""What an object of before a field says in args, and now in the field, too."""

import pytest
from make import LLAMA_8B, deployment

from manta_operator.api.flags import PLANNED_FLAGS, planned_flag
from manta_operator.planning.said_twice import problems
from manta_operator.planning.search import decide

LORA = ["--enable-lora", "--max_lora_rank=8"]
SQL = {"uri": "hf://org/model", "adapters": [{"name": "sql", "uri": "hf://org/sql"}]}
NGRAM = {"method": "ngram", "tokens": 3}


@pytest.mark.parametrize(
    ("case", "spec", "said"),
    [
        ("args alone serve on", {"engine": {"args": LORA}}, []),
        ("the user's own", {"engine": {"args": ["--seed=7"], "lora": {}}}, []),
        ("a rank", {"engine": {"args": LORA, "lora": {"maxRank": 64}}},
         ["--enable-lora, --max_lora_rank=8 would win over what follows from spec.engine.lora or spec.model.adapters"]),
        ("the first adapter", {"engine": {"args": LORA[1:]}, "model": SQL}, ["--max_lora_rank=8 would win"]),
        ("a field that is off", {"engine": {"args": ["--enable-chunked-prefill"], "chunkedPrefill": False}},
         ["--enable-chunked-prefill would win over what follows from spec.engine.chunkedPrefill"]),
        ("a beginning", {"engine": {"args": ["--max-num-b=4096"], "maxNumBatchedTokens": 8192}},
         ["--max-num-b=4096 would win over what follows from spec.engine.maxNumBatchedTokens"]),
        ("a part of it", {"engine": {"args": ["--speculative-config.method=mtp"], "speculative": NGRAM}},
         ["--speculative-config.method=mtp would win over what follows from spec.engine.speculative"]),
        ("ranks", {"engine": {"args": ["--data-parallel-size=2"]}, "parallelism": {"data": 4}},
         ["--data-parallel-size=2 would win over what follows from spec.parallelism.data"]),
        ("a default is no word", {"engine": {"args": ["--structured-outputs-config={}"], "structuredOutputs": {}}}, []),
        ("a parser of one's own",
         {"engine": {"args": ["--tool-call-parser=mine", "--tool-parser-plugin=/a.py"], "reasoningParser": "qwen3"}},
         []),
        ("two fields", {"engine": {"args": ["--reasoning-parser=a", *LORA], "reasoningParser": "qwen3", "lora": {}}},
         ["--reasoning-parser=a would win", "--enable-lora, --max_lora_rank=8 would win"]),
    ],
)  # fmt: skip
def test_a_flag_beside_its_field(case, spec, said):
    found = problems(deployment(**spec).spec)
    assert len(found) == len(said), case
    for problem, words in zip(found, said, strict=True):
        assert problem.path == "spec.engine.args"
        assert problem.message.startswith(words)


def test_it_cannot_be_planned_and_says_what_to_do():
    spec = deployment(engine={"args": ["--max-lora-rank=8"], "lora": {"maxRank": 64}}).spec
    [problem] = decide(spec, LLAMA_8B)
    assert str(problem) == (
        "spec.engine.args: --max-lora-rank=8 would win over what follows from spec.engine.lora or spec.model.adapters, "
        "for vLLM takes the last of two flags; take it out, and say in spec.engine.lora what is wanted"
    )


@pytest.mark.parametrize("flag", PLANNED_FLAGS)
def test_each_flag_is_known_by_its_spellings(flag):
    assert planned_flag(f"{flag}=1") == planned_flag("--" + flag[2:].replace("-", "_")) == flag
    assert planned_flag(f"{flag}s=1") is None
