"""Which replica is chosen, by policy: tables of what the router knows and what it should do."""

import json

import msgspec
import pytest

from manta_runtime.router.picker import ttft
from manta_runtime.router.picker.chooser import Chooser
from manta_runtime.router.picker.core import Candidate
from manta_runtime.router.picker.lengths import Lengths
from manta_runtime.router.picker.request import Request, parse
from manta_runtime.router.picker.share import FADE_SECONDS, Share


def c(replica, load=0, **more):
    return Candidate(replica=replica, endpoint=f"{replica}:8000", load=load, **more)


def ask(text="", model="m", session=""):
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return parse("/v1/chat/completions", b"", json.dumps(body).encode(), session)


SHORT, LONG = ask("hi"), ask("tell me of the sea. " * 1000)


def chosen(policy, candidates, request=SHORT, held_by="", routers=1):
    chooser = Chooser(policy)
    chooser.routers = routers
    if held_by:
        chooser.index.insert(held_by, request.blocks)
    return chooser.choose(request, candidates, 0.0)


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        pytest.param([c("a", 2), c("b", 1)], "b", id="fewest in flight"),
        pytest.param([c("a", 1, last_pick=5), c("b", 1, last_pick=4)], "b", id="tie: least recently picked"),
        pytest.param([c("a", suspect=True), c("b", 9)], "b", id="suspects are left out"),
        pytest.param([c("a", saturated=True), c("b", 9)], "b", id="saturated ones are left out"),
        pytest.param([c("a", suspect=True), c("b", 9, saturated=True)], "b", id="rather a queue than a failure"),
        pytest.param([c("a", 3, suspect=True), c("b", 2, suspect=True)], "b", id="all suspect: try"),
        pytest.param([c("a", 3, saturated=True), c("b", 2, saturated=True)], "b", id="all saturated: queue"),
        pytest.param([c("a"), c("b", 9, adapters=frozenset("m"))], "b", id="who has the adapter"),
        pytest.param(
            [c("a"), c("b", 9, adapters=frozenset("m"), suspect=True)], "b", id="the adapter before everything: no 404"
        ),
        pytest.param([c("a"), c("b", 1, adapters=frozenset("other"))], "a", id="nobody has it yet: anyone"),
    ],
)
def test_least_load_and_filters(candidates, expected):
    assert chosen("least-load", candidates).candidate.replica == expected


@pytest.mark.parametrize("policy", ["prefix", "least-load", "round-robin", "session"])
def test_nobody_and_only_one(policy):
    assert chosen(policy, []) is None
    choice = chosen(policy, [c("a")])
    assert choice.candidate.replica == "a"
    assert choice.fallbacks == ()


WORK = int(ttft.work(LONG.prompt_tokens, 0))


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        pytest.param([c("a"), c("b")], "a", id="idle: who holds the prompt"),
        pytest.param([c("a", 3), c("b")], "a", id="a few more in flight"),
        pytest.param([c("a", 1, pending_tokens=WORK), c("b")], "a", id="a short queue costs less than recomputing"),
        pytest.param([c("a", 5, pending_tokens=WORK * 20), c("b")], "b", id="a long queue costs more"),
        pytest.param([c("a", 60), c("b", 1), c("d", 1)], "b or d", id="far above the mean load"),
        pytest.param([c("a", suspect=True), c("b")], "b", id="suspect"),
        pytest.param([c("a", 4, pending_tokens=WORK * 5, prefill_rate=4e3), c("b", prefill_rate=4e4)], "b", id="slow"),
    ],
)
def test_prefix_against_load(candidates, expected):
    choice = chosen("prefix", candidates, LONG, held_by="a")
    assert choice.candidate.replica in expected.split(" or ")
    held = choice.candidate.replica == "a"
    assert choice.reason == (f"prefix {len(LONG.blocks)}/{len(LONG.blocks)}" if held else "least-cost")
    assert choice.matched == (len(LONG.blocks) if held else 0)
    assert (choice.work < WORK / 10) is held


def test_the_longest_match_wins():
    chooser = Chooser("prefix")
    chooser.index.insert("a", LONG.blocks[:4])
    chooser.index.insert("b", LONG.blocks)
    assert chooser.choose(LONG, [c("a"), c("b"), c("d")], 0.0).candidate.replica == "b"


def test_a_pick_is_remembered_where_it_went():
    chooser = Chooser("prefix")
    names = [c(name) for name in "abdefghi"]
    first = chooser.choose(LONG, names, 0.0)
    assert first.matched == 0
    chooser.commit(LONG, first)
    assert chooser.choose(LONG, names, 1.0).reason.startswith("prefix")
    assert chooser.choose(LONG, names, 1.0).candidate == first.candidate
    chooser.forget(first.candidate.replica)
    assert chooser.choose(LONG, names, 2.0).matched == 0


def test_a_hot_prefix_spreads_before_it_piles_up():
    """One system prompt asked for all day, never a queue: no replica gets much more than its share."""
    chooser = Chooser("prefix")
    names = [c(name) for name in "abdefghi"]
    asked = dict.fromkeys("abdefghi", 0)
    for second in range(2000):
        choice = chooser.choose(LONG, names, float(second))
        chooser.commit(LONG, choice)
        asked[choice.candidate.replica] += 1
    assert max(asked.values()) <= 1.25 * 2000 / 8


def test_new_prompts_go_where_other_routers_would_send_them():
    names = [c(f"r{number}") for number in range(8)]
    one, other = Chooser("prefix"), Chooser("prefix")
    homes = set()
    for number in range(40):
        request = ask(f"{number} " * 1000)
        homes.add(one.choose(request, names, 0.0).candidate.replica)
        assert one.choose(request, names, 0.0).candidate == other.choose(request, names, 0.0).candidate
    assert len(homes) >= 6


def test_with_several_routers_a_home_outweighs_a_queue():
    """Another router may have sent the conversation there before: worth more than half of its computation."""
    names = [c(f"r{number}") for number in range(8)]
    home = chosen("prefix", names, LONG).candidate.replica
    queued = [c(n.replica, 1, pending_tokens=WORK) if n.replica == home else n for n in names]
    assert chosen("prefix", queued, LONG, routers=1).candidate.replica != home
    assert chosen("prefix", queued, LONG, routers=2).candidate.replica == home


def test_round_robin_takes_turns():
    names = [c("a", 9, last_pick=1), c("b", last_pick=3), c("d", 5, last_pick=2)]
    choice = chosen("round-robin", names)
    assert [choice.candidate.replica, *[f.replica for f in choice.fallbacks]] == ["a", "d", "b"]


@pytest.mark.parametrize(
    ("load", "stays"),
    [pytest.param(0, True, id="idle"), pytest.param(2, True, id="busy"), pytest.param(40, False, id="overloaded")],
)
def test_a_session_stays_while_its_replica_can_take_it(load, stays):
    names = [c(name) for name in "abdefghi"]
    request = ask("first", session="user-7")
    home = chosen("session", names, request).candidate.replica
    later = [c(n.replica, load if n.replica == home else 1) for n in names]
    choice = chosen("session", later, ask("second " * 500, session="user-7"))
    assert (choice.candidate.replica == home) is stays
    assert choice.reason == "session"


def test_without_a_session_its_policy_goes_by_prefix():
    assert chosen("session", [c("b"), c("a")], LONG, held_by="a").candidate.replica == "a"


def test_sessions_move_little_when_a_replica_leaves():
    names = [c(f"r{number}") for number in range(8)]
    asks = [ask("hi", session=f"s{number}") for number in range(200)]
    before = [chosen("session", names, one).candidate.replica for one in asks]
    after = [chosen("session", names[:-1], one).candidate.replica for one in asks]
    assert all(old == new for old, new in zip(before, after, strict=True) if old != "r7")
    assert 10 <= before.count("r7") <= 45


def test_fallbacks_are_the_next_best_then_those_left_out():
    choice = chosen("least-load", [c("a", 3), c("b", 1), c("d", 2), c("e", 4)])
    assert [f.replica for f in choice.fallbacks] == ["d", "a"]
    choice = chosen("least-load", [c("a", saturated=True), c("b")])
    assert [f.replica for f in choice.fallbacks] == ["a"]


def test_explain_tells_every_candidate():
    told = chosen("prefix", [c("a", 1, pending_tokens=800), c("b", suspect=True), c("d")], LONG, held_by="a").explain()
    assert json.loads(msgspec.json.encode(told)) == told
    assert told["replica"] == "a"
    assert told["reason"] == f"prefix {told['blocks']}/{len(LONG.blocks)}"
    rows = {row["replica"]: row for row in told["candidates"]}
    assert list(rows) == ["a", "d", "b"]
    assert rows["b"]["left_out"] == "suspect"
    assert rows["a"]["matched"] == len(LONG.blocks)
    assert rows["a"]["ttft_ms"] < rows["d"]["ttft_ms"]
    assert rows["a"]["cost"] < rows["d"]["cost"]


def test_what_has_no_prompt_goes_to_the_idlest_in_turn():
    form = Request("/v1/audio/transcriptions")
    assert chosen("prefix", [c("a", 1), c("b", 0, last_pick=2), c("d", 0, last_pick=1)], form).candidate.replica == "d"


def test_characters_per_token_are_learned():
    lengths = Lengths()
    assert lengths.chars_per_token == 4.0
    for _ in range(300):
        lengths.learn(1500, 1000, 50)
    assert lengths.chars_per_token == pytest.approx(1.5, abs=0.2)
    assert lengths.answer_chars == pytest.approx(75, abs=10)
    for _ in range(5000):
        lengths.learn(100_000, 1000, 0)
    assert lengths.chars_per_token == 8.0


def test_a_tokenizer_makes_the_index_larger_or_smaller():
    chooser = Chooser("prefix")
    for _ in range(500):
        chooser.learned(LONG, LONG.prompt_tokens * 2, 10)
    assert chooser.index.chars_per_token == pytest.approx(2.0, abs=0.1)


def test_shares_fade_and_newcomers_start_with_as_much_as_any():
    share = Share()
    for second in range(100):
        share.add("a", 1000, float(second))
        share.add("b", 1000, float(second))
    share.join("new")
    assert share.sent["new"] == max(share.sent["a"], share.sent["b"])
    before = share.sent["a"]
    share.add("b", 0, 100.0 + FADE_SECONDS)
    assert share.sent["a"] == pytest.approx(before / 2.718, rel=0.02)
    share.keep_only(["a"])
    assert share.scale()[0] == pytest.approx(share.sent["a"])
    share.keep_only([])
    assert share.scale() == (0.0, 1.0)


@pytest.mark.parametrize(
    ("prompt", "cached", "expected"),
    [
        pytest.param(0, 0, 0, id="nothing"),
        pytest.param(1000, 1000, 0, id="all cached"),
        pytest.param(1000, 0, 1015, id="short: the weights"),
        pytest.param(65536, 0, 131072, id="long: attention costs as much"),
        pytest.param(65536, 64512, 3056, id="the end of a long one"),
    ],
)
def test_work(prompt, cached, expected):
    assert ttft.work(prompt, cached) == pytest.approx(expected, rel=0.01)


def test_what_is_told_fits_a_header():
    told = chosen("least-load", [c(f"r{n}", suspect=n > 19) for n in range(50)]).explain()
    assert (len(told["candidates"]), told["not_told"]) == (32, 18)
    assert [row.get("left_out") for row in told["candidates"]] == [None] * 20 + ["suspect"] * 12
    assert "not_told" not in chosen("least-load", [c("a")]).explain()
