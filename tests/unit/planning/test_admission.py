"""What the webhook answers: refused with the condition's own sentence, warned, or let through; and never locked out."""

from dataclasses import replace

import pytest
from make import LLAMA_8B, TINY, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.planning.admission import WARNING_LIMIT, Evidence, is_news, judge, wanted
from manta_operator.planning.conditions import Situation, conditions
from manta_operator.planning.observe import Observed
from manta_operator.planning.status import status

HUGE = replace(LLAMA_8B, weights_bytes=900 * 2**30)
L4 = {"accelerator": {"type": "nvidia-l4", "perPod": 1}, "parallelism": {"tensor": 1}}
NOW = "2026-01-01T00:00:00Z"


def body(about, status_=None):
    spec = about.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return {"metadata": {"name": about.name}, "spec": spec} | ({"status": status_} if status_ else {})


def asked(**spec):
    return deployment(**(L4 | spec))


def stored(about, facts, **more):
    """An object as it stands, with the status that the operator wrote."""
    made = desire(about, facts, Observed())
    plan, problems = (made.plan, ()) if isinstance(made, Desired) else (None, made)
    return body(about, status(about, Situation(1, 1, plan, problems, Observed()), {}, NOW) | more)


def test_what_fits_is_let_through_without_a_word():
    answer = judge(deployment(accelerator={"type": "nvidia-h100-80gb"}), None, Evidence(LLAMA_8B))
    assert (answer.allowed, answer.warnings) == (True, ())


def test_what_cannot_fit_is_refused_with_the_sentence_of_the_condition():
    about = asked()
    answer = judge(about, None, Evidence(HUGE))
    problems = desire(about, HUGE, Observed())
    assert isinstance(problems, tuple)
    planned = conditions(Situation(1, 1, None, problems, Observed()))[0]
    assert (answer.allowed, answer.message) == (False, planned.message)
    assert planned.reason == "DoesNotFit"
    assert "spec.fit.policy to warn" in answer.message


def test_with_policy_warn_it_is_a_warning():
    answer = judge(asked(fit={"policy": "warn"}), None, Evidence(HUGE))
    assert answer.allowed
    assert "predicted not to fit" in answer.warnings[0]


@pytest.mark.parametrize(
    ("known", "words"),
    [(Evidence(), "cannot be seen from here"), (Evidence(trouble="its config.json is no JSON"), "is no JSON")],
)
def test_what_is_not_known_is_a_warning(known, words):
    answer = judge(asked(), None, known)
    assert answer.allowed
    assert words in answer.warnings[0]
    assert len(answer.warnings[0]) <= WARNING_LIMIT


def test_what_no_engine_runs_is_refused():
    answer = judge(asked(accelerator={"type": "nvidia-h1000"}, parallelism={}), None, Evidence(LLAMA_8B))
    assert not answer.allowed
    assert "is not an accelerator Manta knows" in answer.message


def test_an_edit_that_makes_it_not_fit_is_refused():
    fits = asked(accelerator={"type": "nvidia-h100-80gb"})
    longer = asked(engine={"maxModelLen": 131072})
    assert judge(fits, None, Evidence(LLAMA_8B)).allowed
    answer = judge(longer, stored(fits, LLAMA_8B), Evidence(LLAMA_8B))
    assert not answer.allowed


@pytest.mark.parametrize(
    "change", [{"replicas": 3}, {"engine": {"image": "x/y:2"}}, {"rollout": {"surge": "1"}}], ids=str
)
def test_what_serves_is_not_locked_out_of_edits_that_do_not_touch_the_fit(change):
    about = asked()
    running = stored(about, None, readyReplicas=1)
    answer = judge(asked(**change), running, Evidence(HUGE))
    assert answer.allowed
    assert "serve" in answer.warnings[0]


@pytest.mark.parametrize(
    "change",
    [{"replicas": 3}, {"engine": {"image": "x/y:2"}}, {"model": {"uri": "hf://org/model", "servedNames": ["a"]}}],
    ids=str,
)
def test_what_was_stored_while_nobody_looked_can_still_be_edited(change):
    answer = judge(asked(**change), stored(asked(), HUGE), Evidence(HUGE))
    assert answer.allowed
    assert "does not fit" in answer.warnings[0]


def test_of_an_object_that_does_not_fit_an_edit_of_the_fit_is_judged():
    answer = judge(asked(engine={"maxModelLen": 2048}), stored(asked(), HUGE), Evidence(HUGE))
    assert not answer.allowed or "does not fit" in answer.warnings[0]
    repaired = judge(asked(accelerator={"type": "nvidia-h100-80gb"}), stored(asked(), HUGE), Evidence(LLAMA_8B))
    assert (repaired.allowed, repaired.warnings) == (True, ())


def test_another_model_is_judged_for_itself():
    answer = judge(asked(model={"uri": "hf://org/huge"}), stored(asked(), LLAMA_8B), Evidence(HUGE))
    assert not answer.allowed


def test_what_is_no_news():
    old = body(asked())
    assert is_news(old, None)
    assert not is_news(old, old)
    assert not is_news({**old, "metadata": {"finalizers": []}}, old)
    assert is_news({**old, "spec": {**old["spec"], "replicas": 5}}, old)
    going = {"metadata": {"deletionTimestamp": NOW}, "spec": {}}
    assert not is_news(going, old)


@pytest.mark.parametrize(
    "body", [{}, {"spec": {}}, {"spec": None}, {"spec": {"model": 3}}, {"spec": [], "metadata": None}]
)
def test_what_cannot_be_read_says_why(body):
    assert isinstance(wanted(body), str)


def test_what_an_api_server_sends_is_read():
    found = wanted(body(deployment(accelerator={"type": "cpu"})))
    assert not isinstance(found, str)
    assert judge(found, None, Evidence(TINY)).allowed


@pytest.mark.parametrize("engine", [{"maxModelLen": 39000}, {"maxNumSeqs": 8}], ids=str)
def test_an_edit_that_makes_it_better_is_let_through_although_it_is_not_enough(engine):
    before = asked(engine={"maxModelLen": 40960})
    answer = judge(asked(engine={"maxModelLen": 40960} | engine), stored(before, HUGE), Evidence(HUGE))
    assert answer.allowed
    assert "does not fit" in answer.warnings[0]
    worse = judge(asked(engine={"maxModelLen": 65536}), stored(before, HUGE), Evidence(HUGE))
    assert not worse.allowed


def test_what_asks_for_no_replica_is_stored():
    assert judge(asked(replicas=0), None, Evidence(HUGE)).allowed
    assert not judge(asked(accelerator={"type": "nvidia-h1000"}, replicas=0), None, Evidence()).allowed


def test_an_edit_of_the_fit_is_judged_although_the_former_spec_serves():
    pinned = {"engine": {"maxNumBatchedTokens": 1048576}}
    running = stored(asked(), None, readyReplicas=1, replicas=1)
    assert judge(asked(), running, Evidence(HUGE)).allowed
    assert not judge(asked(**pinned), running, Evidence(HUGE)).allowed


def test_of_a_catalog_that_was_not_read_nothing_is_certain():
    own = asked(accelerator={"type": "acme-npu"}, parallelism={})
    answer = judge(own, None, Evidence(unread="ConfigMap a/b has not been read"))
    assert answer.allowed
    assert "has not been read" in answer.warnings[0]


def test_what_loads_is_not_locked_out_by_a_check_that_is_new():
    about = asked(engine={"quantization": "none"})
    loading = stored(about, None, replicas=1)
    answer = judge(
        asked(engine={"quantization": "none"}, replicas=2), loading, Evidence(replace(LLAMA_8B, quantization="awq"))
    )
    assert answer.allowed
    assert "quantization" in answer.warnings[0]


@pytest.mark.parametrize(
    ("replicas", "said"),
    [(1, "the 8 replicas of now go down to spec.replicas, which is 1, half of them each minute"), (8, "")],
)
def test_leaving_out_autoscaling_under_load_is_a_warning(replicas, said):
    fits = {"accelerator": {"type": "nvidia-h100-80gb"}}
    before = stored(deployment(autoscaling={"maxReplicas": 8}, **fits), LLAMA_8B, autoscaling={"replicas": 8})
    answer = judge(deployment(replicas=replicas, **fits), before, Evidence(LLAMA_8B))
    assert answer.allowed
    assert said in "".join(answer.warnings)
    assert bool(answer.warnings) == bool(said)
    assert not judge(deployment(autoscaling={"maxReplicas": 4}, **fits), before, Evidence(LLAMA_8B)).warnings
