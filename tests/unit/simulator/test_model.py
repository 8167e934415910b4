"""The pure parts of the engine simulator: answers, KV cache, scheduler, latency, flags."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_runtime.simulator.answers import answer, detokenize, tokenize
from manta_runtime.simulator.kv_cache import KvCache, block_names
from manta_runtime.simulator.latency import LatencyModel
from manta_runtime.simulator.scheduler import Limits, Scheduler, Sequence
from manta_runtime.simulator.settings import SettingsError, parse


def sequence(tokens, length=4):
    """A prompt of these tokens; its answer is of tokens no prompt has."""
    return Sequence((*tokens, *range(10**6, 10**6 + length)), len(tokens), length)


def work_off(scheduler, steps=10_000):
    """Run steps until nothing is left; return them."""
    taken = []
    while step := scheduler.plan():
        taken.append(step)
        assert scheduler.cache.used <= scheduler.cache.total
        assert len(scheduler.running) <= scheduler.limits.sequences
        assert sum(count for _, count in step.shares) <= scheduler.limits.step_tokens
        scheduler.finish(step)
        assert len(taken) < steps, "the scheduler makes no progress"
    return taken


@given(st.text())
def test_every_text_survives_its_tokens(text):
    assert detokenize(tokenize(text)) == text


def test_the_simulators_tokens_alone_are_text():
    with pytest.raises(ValueError, match="token 1 is not one of the simulator's"):
        detokenize([1])


def test_an_answer_is_a_function_of_its_prompt():
    asked = {"max_tokens": 20, "natural": 0}
    first, again, other = answer("a", **asked), answer("a", **asked), answer("b", **asked)
    assert first == again
    assert first.text != other.text
    assert len(tokenize(first.text)) == 20
    assert first.finish_reason == "length"
    assert answer("a", **asked, choice=1).text != first.text


def test_an_answer_that_nobody_cuts_short_ends_by_itself():
    ended = answer("a", max_tokens=1000, natural=10)
    assert ended.finish_reason == "stop"
    assert 5 <= len(ended.pieces) < 15
    assert ended.text == answer("a", max_tokens=1000, natural=0).text[: len(ended.text)]


def test_a_stop_word_ends_an_answer_and_is_left_out_of_it():
    whole = answer("a", max_tokens=20, natural=0)
    word = whole.text[9:15]
    cut = answer("a", max_tokens=20, natural=0, stop=("never there", word))
    assert cut.text == whole.text[:9]
    assert (cut.finish_reason, cut.stop_reason) == ("stop", word)
    assert len(cut.pieces) == 4, "tokens are generated until the word is complete"


def test_equal_prefixes_share_blocks_and_the_oldest_idle_one_goes_first():
    cache = KvCache(3)
    first, second = block_names(range(8), 4), block_names((*range(4), 9, 9, 9, 9), 4)
    assert first[0] == second[0]
    assert first[1] != second[1]
    for name in first:
        cache.take(name)
    cache.take(second[0])
    assert cache.used == 2
    cache.give_back(first, 0)
    cache.give_back(second[:1], 0)
    assert (cache.used, cache.known(first)) == (0, 2)
    cache.take()
    cache.take()
    assert cache.known(first) == 1, "the end of a prefix is evicted before its beginning"


def test_a_prompt_seen_before_is_computed_from_where_it_differs():
    scheduler = Scheduler(Limits(block_size=4))
    scheduler.add(sequence(range(10)))
    assert work_off(scheduler)[0].prefill_tokens == 10
    scheduler.add(same := sequence(range(10)))
    assert work_off(scheduler)[0].prefill_tokens == 2
    assert same.cached == 8


def test_without_prefix_caching_everything_is_computed():
    scheduler = Scheduler(Limits(block_size=4, prefix_caching=False))
    for _ in range(2):
        scheduler.add(sequence(range(10)))
        assert work_off(scheduler)[0].prefill_tokens == 10


def test_a_long_prompt_is_computed_in_chunks_beside_those_who_decode():
    scheduler = Scheduler(Limits(step_tokens=8, block_size=4))
    scheduler.add(short := sequence([1], length=9))
    scheduler.finish(scheduler.plan())
    scheduler.add(sequence(range(20), length=1))
    shares = [[count for _, count in step.shares] for step in work_off(scheduler)]
    assert shares[:3] == [[1, 7], [1, 7], [1, 6]]
    assert short.done


def test_no_more_sequences_run_than_allowed_and_the_rest_waits_in_order():
    scheduler = Scheduler(Limits(sequences=2))
    all_of_them = [sequence([number]) for number in range(5)]
    for each in all_of_them:
        scheduler.add(each)
    steps = work_off(scheduler)
    assert [each for step in steps for each in step.admitted] == all_of_them


def test_without_room_the_youngest_gives_way_and_is_computed_again():
    scheduler = Scheduler(Limits(block_size=4, blocks=4))
    old, young = sequence([1, 2, 3, 4], length=8), sequence([5, 6, 7, 8], length=8)
    scheduler.add(old)
    scheduler.add(young)
    work_off(scheduler)
    assert (old.preemptions, young.preemptions) == (0, 1)
    assert scheduler.preempted == 1
    assert old.done
    assert young.done
    assert scheduler.cache.used == 0


def test_a_client_that_leaves_frees_its_blocks():
    scheduler = Scheduler(Limits(sequences=1))
    runs, waits = sequence(range(40)), sequence(range(40))
    scheduler.add(runs)
    scheduler.add(waits)
    scheduler.finish(scheduler.plan())
    scheduler.drop(waits)
    scheduler.drop(runs)
    assert scheduler.plan() is None
    assert scheduler.cache.used == 0


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20), st.integers(0, 2)), min_size=1, max_size=12),
    st.integers(1, 4),
    st.integers(1, 40),
)
def test_whatever_comes_everything_is_answered_and_nothing_is_held(asked, places, budget):
    scheduler = Scheduler(Limits(sequences=places, step_tokens=budget, block_size=4, blocks=13))
    found = [sequence([kind] * prompt, length) for prompt, length, kind in asked]
    for each in found:
        scheduler.add(each)
    work_off(scheduler)
    assert all(each.generated == each.length for each in found)
    assert scheduler.cache.used == 0


def test_steps_grow_with_what_they_compute_and_repeat_with_their_seed():
    model = LatencyModel(jitter=0)
    chance = random.Random(0)
    alone, batch = model.seconds(1, 0, 500, chance), model.seconds(64, 0, 32_000, chance)
    prefill = model.seconds(1, 8000, 0, chance)
    assert 0.004 < alone < 0.008
    assert alone < batch < 3 * alone, "a batch shares the reading of the weights"
    assert 0.2 < prefill < 0.4, "8,000 tokens of an 8B model on half an H100's 990 TFLOP/s"
    assert LatencyModel(jitter=0, speed=2).seconds(1, 0, 500, chance) == pytest.approx(alone / 2)
    varied = [LatencyModel().seconds(1, 0, 0, random.Random(seed)) for seed in (1, 1, 2)]
    assert varied[0] == varied[1] != varied[2]


def test_vllms_flags_are_read_and_unknown_ones_ignored():
    flags = ["--model=/m", "--served-model-name", "a", "b", "--max_num_seqs=7", "--enforce-eager", "--dtype", "auto"]
    found = parse([*flags, "--no-enable-prefix-caching", "--port", "81", "--shutdown-timeout=9"], {})
    assert (found.served_names, found.port, found.shutdown_timeout) == (("a", "b"), 81, 9)
    assert (found.limits.sequences, found.limits.prefix_caching) == (7, False)
    assert parse(["--model=/m"], {"VLLM_API_KEY": "k"}).api_key == "k"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "no --model"),
        (["--model=m", "--port=http"], "--port=http is no port"),
        (["--model=m", "--simulate-speeed=2"], "--simulate-speeed=2 is not one of the simulator's flags"),
        (["--model=m", "--simulate-kv-cache-tokens=100"], "holds less than one request"),
    ],
)
def test_wrong_flags_are_named(flags, words):
    with pytest.raises(SettingsError, match=words):
        parse(flags, {})
