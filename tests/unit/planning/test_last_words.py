"""Which line of a log is taken for the cause, and which problems mean that the model cannot be had."""

import pytest

from manta_operator.planning.last_words import cannot_fetch, last_words, too_old
from manta_operator.planning.observe_pods import engine_end, pod_problem, slim_pod

SUMMARY = "12:00:00 manta rank 0: vLLM ended by itself with code 1; its own last words are above"
GATED = "huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1)"
HIDDEN = "OSError: You are trying to access a gated repo."


@pytest.mark.parametrize(
    ("case", "log", "expected"),
    [
        ("nothing", " \n", ""),
        ("the last line", "loading\nkilled", "killed"),
        ("the launcher gave up itself", "ValueError: x\n12:00 manta rank 0: gave up after 9 s", None),
        (
            "an error before the summary",
            f"Traceback\nValueError: no such layer\n  at x\n{SUMMARY}",
            "ValueError: no such layer",
        ),
        ("the last of several errors", f"KeyError: a\nRuntimeError: b\n{SUMMARY}", "RuntimeError: b"),
        (
            "an error that points at another",
            f"ValueError: too long\nRuntimeError: Engine core initialization failed. See root cause above.\n{SUMMARY}",
            "ValueError: too long",
        ),
        (
            "another one that only points",
            f"KeyError: a\nEngineDeadError: an issue. See stack trace (above) for the root cause.\n{SUMMARY}",
            "KeyError: a",
        ),
        (
            "an error before a summary that names the processes",
            "KeyError: a\nvLLM ended by itself with code 1; before that VLLM::EngineCore (process 9) had ended",
            "KeyError: a",
        ),
        ("a model that cannot be had goes first", f"{GATED}\nRuntimeError: b\n{SUMMARY}", GATED),
        ("no error at all", f"loading\n{SUMMARY}", SUMMARY.partition("rank 0: ")[2]),
        (
            "the kubelet's 2 KiB, from mid-line",
            f"yError: cut\n{SUMMARY:>2036}",
            SUMMARY.partition("rank 0: ")[2],
        ),
        (
            "a fetch, whenever it ended",
            "a\n12:00:59 manta fetch: hf://a/b: 404: no such model",
            "hf://a/b: 404: no such model",
        ),
        ("long", "x" * 999, "x" * 300),
    ],
)
def test_last_words(case, log, expected):
    assert last_words(log) == (log.splitlines()[-1] if expected is None else expected), case
    assert last_words(last_words(log)) == last_words(log)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (GATED, True),
        (HIDDEN, True),
        ("OSError: a/b is not a local folder and is not a valid model identifier listed on the hub", True),
        ("OSError: We couldn't connect to 'https://hub' to load the files", True),
        ('CreateContainerConfigError: secret "hub" not found', True),
        ("CreateContainerConfigError: Secret default/hub does not exist: create it", True),
        ("CreateContainerConfigError: Secret default/hub has no key 'HF_TOKEN': add it", True),
        ("CreateContainerConfigError: ConfigMap default/hub does not exist: create it", False),
        ('Unschedulable: persistentvolumeclaim "models" not found', True),
        ("Unschedulable: pod has unbound immediate PersistentVolumeClaims", True),
        ("OSError: [Errno 28] No space left on device", True),
        ("CrashLoopBackOff: back-off 20s restarting failed container=fetch pod=a_b(c)", True),
        ("CrashLoopBackOff: back-off 20s restarting failed container=fetcher pod=a_b(c)", False),
        ("CreateContainerConfigError: couldn't find key AWS_ACCESS_KEY_ID in Secret default/s", True),
        ("Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu", False),
        ("ImagePullBackOff: Back-off pulling image", False),
        ("torch.OutOfMemoryError: CUDA out of memory", False),
    ],
)
def test_cannot_fetch(problem, expected):
    assert cannot_fetch(problem) is expected


USAGE = """Usage: manta-runtime [OPTIONS] COMMAND [ARGS]...
Try 'manta-runtime -h' for help.

Error: No such command 'fetch'.
"""


def test_an_image_without_fetch_is_told_from_a_model_that_cannot_be_had():
    problem = (
        f"CrashLoopBackOff: back-off 40s restarting failed container=fetch pod=x; it last said: {last_words(USAGE)}"
    )
    assert too_old(problem)
    assert cannot_fetch(problem)
    assert not too_old(
        "CrashLoopBackOff: restarting failed container=fetch; it last said: hf://a/b: 404: no such model"
    )


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("AttributeError: '_OpNamespace' '_C' object has no attribute 'cpu_gemm_wna16'", "this CPU has no AVX-512"),
        (
            "ValueError: Failed to find a kernel that can implement the WNA16 linear layer. Reasons:",
            "vLLM has no kernel",
        ),
        ("Error: No such option '--hang-seconds'. Did you mean '--drain-seconds'?", "spec.engine.image is older"),
        ("Error: No such option: --adapters", "spec.engine.image is older"),
        ("Error: No such command 'adapters'.", "spec.engine.image is older"),
    ],
)
def test_words_that_name_the_code_are_explained(said, means):
    told = last_words(f"(EngineCore pid=9394) ERROR 11-21 17:06:11 [core.py:1512] {said}\n{SUMMARY}")
    assert told.startswith(f"{said} ({means}")
    assert last_words(told) == told


def test_the_explanation_is_given_once_of_a_pod_in_the_store():
    said = f"AttributeError: '_OpNamespace' '_C' object has no attribute 'cpu_gemm_wna16' {'x' * 300}"
    ended = {"exitCode": 1, "reason": "Error", "finishedAt": "2026-11-21T17:00:00Z", "message": f"{said}\n{SUMMARY}"}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}}
    engine = {"name": "engine", "restartCount": 2, "state": waiting, "lastState": {"terminated": ended}}
    whole = {"metadata": {"name": "demo-a-0-0"}, "spec": {}, "status": {"containerStatuses": [engine]}}
    slim = slim_pod(whole)
    assert slim_pod(slim) == slim
    assert pod_problem(slim["status"]) == pod_problem(whole["status"])
    assert pod_problem(slim["status"]).count("this CPU has no AVX-512") == 1
    assert engine_end(slim["status"]) == engine_end(whole["status"])


def test_a_terminal_is_not_written_to():
    assert last_words("\x1b[31mValueError: no\tsuch\x07 layer\x1b[0m") == "[31mValueError: no such layer[0m"


def test_the_same_failure_is_the_same_sentence():
    first, second = (
        f"(EngineCore pid={n}) ERROR 11-21 17:06:{n} [core.py:15] ValueError: x\n{SUMMARY}" for n in (10, 20)
    )
    assert last_words(first) == last_words(second) == "ValueError: x"
