"""What the launcher passes to vLLM and Ray, and what it refuses to be called with."""

from dataclasses import replace
from pathlib import Path

import pytest

from manta_runtime.engine.commands import engine_environment, ray_command, vllm_command
from manta_runtime.engine.settings import EngineSettings, SettingsError, check_group_token, check_model, check_settings
from manta_runtime.engine.vllm_flags import count_flag, find_flag, has_flag

UNI = EngineSettings(
    rank=0,
    group_size=1,
    pod_ip="127.1.1.2",
    pod_name="tiny-ab12-0-0",
    head="tiny-ab12-0-0.tiny-group.default.svc",
    port=8000,
    control_port=8001,
    executor="uni",
    accelerator="cpu",
    accelerators_per_pod=1,
    startup_seconds=1800,
    drain_seconds=60,
    scratch=Path("/tmp/m"),
    vllm_flags=("--model=/models/tiny", "--served-model-name=tiny", "--tensor-parallel-size=1"),
)
TP2 = ("--model=/models/tiny", "--tensor-parallel-size=2", "--pipeline-parallel-size", "1")
RAY = replace(UNI, executor="ray", group_size=2, vllm_flags=TP2)
MP = replace(RAY, executor="mp", group_size=1, accelerators_per_pod=2)


@pytest.mark.parametrize("settings", [UNI, RAY, MP])
def test_good_settings_pass(settings):
    check_settings(settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (replace(UNI, rank=1), "--rank=1 is not a rank of a group of 1"),
        (replace(UNI, rank=-1), "--rank=-1"),
        (replace(UNI, pod_ip="pod"), "is not an IP address"),
        (replace(UNI, pod_ip="0.0.0.0"), "every interface"),
        (replace(UNI, control_port=8000), "different ports"),
        (replace(RAY, head=""), "--head is empty"),
        (replace(UNI, vllm_flags=()), "no --model"),
        (replace(UNI, vllm_flags=("--model=/m", "--port", "1")), "--port after `--`"),
        (replace(UNI, vllm_flags=("--model=/m", "--master_addr=x")), "--master-addr after `--`"),
        (replace(UNI, vllm_flags=("--model=/m", "--tensor-parallel-size=two")), "--tensor-parallel-size=two"),
        (replace(RAY, executor="uni"), "use mp or ray"),
        (replace(RAY, executor="mp"), "--executor=mp works within one pod, and the group has 2: use --executor=ray"),
        (replace(RAY, accelerators_per_pod=2), "needs 2 accelerators, but the group has 4"),
        (replace(RAY, scratch=Path("/tmp/" + "x" * 80)), "TMPDIR"),
    ],
)
def test_bad_settings_say_what_to_do(settings, words):
    with pytest.raises(SettingsError, match=words.replace("(", r"\(")):
        check_settings(settings)


def test_only_a_group_of_several_pods_needs_a_token():
    check_group_token(UNI)
    check_group_token(replace(RAY, group_token="s3cret"))
    with pytest.raises(SettingsError, match="GROUP_TOKEN is empty: a group of 2 pods"):
        check_group_token(RAY)


def test_the_groups_token_stays_with_the_launcher():
    assert "s3cret" not in repr(replace(RAY, group_token="s3cret"))
    for settings in (UNI, RAY, MP):
        assert "s3cret" not in str(engine_environment(settings, {"GROUP_TOKEN": "s3cret", "KEPT": "1"}))
        assert engine_environment(settings, {"KEPT": "1"})["KEPT"] == "1"


def test_a_model_path_must_hold_a_model(tmp_path):
    with pytest.raises(SettingsError, match="no such file or folder"):
        check_model(replace(UNI, vllm_flags=(f"--model={tmp_path}/none",)))
    with pytest.raises(SettingsError, match=r"no config\.json"):
        check_model(replace(UNI, vllm_flags=(f"--model={tmp_path}",)))
    (tmp_path / "config.json").write_text("{}")
    check_model(replace(UNI, vllm_flags=(f"--model={tmp_path}",)))
    check_model(replace(UNI, vllm_flags=("--model=org/name",)))


def test_vllm_on_one_pod():
    command = vllm_command(UNI)
    assert command[1:] == [
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--host=127.1.1.2",
        "--port=8000",
        "--model=/models/tiny",
        "--served-model-name=tiny",
        "--tensor-parallel-size=1",
        "--disable-access-log-for-endpoints=/health,/metrics,/load",
        "--shutdown-timeout=60",
        "--enable-server-load-tracking",
        "--middleware=manta_runtime.engine.usage_header.UsageHeaders",
        "--middleware=manta_runtime.engine.dead_engine.DeadEngineAnswers",
        "--distributed-executor-backend=uni",
    ]


def test_mp_runs_in_one_pod():
    assert vllm_command(MP)[-1] == "--distributed-executor-backend=mp"


def test_every_ray_port_is_free_by_construction():
    head, worker = ray_command(RAY, "", 7001), ray_command(replace(RAY, rank=1), "127.1.1.2:6000", 7001)
    assert "--head" in head
    assert "--address=127.1.1.2:6000" in worker
    for command in (head, worker):
        assert "--temp-dir=/tmp/m/ray" in command
        assert "--num-gpus=1" in command
        assert {"--min-worker-port=0", "--max-worker-port=0", "--node-manager-port=0"} <= set(command)


def test_the_environment_follows_executor_and_accelerator():
    uni = engine_environment(UNI, {})
    assert uni["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert uni["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert uni["OMP_NUM_THREADS"] == "1"
    assert uni["HF_HUB_OFFLINE"] == "1"
    assert not [name for name in uni if name.startswith("RAY_AUTH")]
    ray = engine_environment(RAY, {"VLLM_TARGET_DEVICE": "cpu"}, "127.1.1.2:6000", "t0ken")
    assert ray["RAY_ADDRESS"] == "127.1.1.2:6000"
    assert ray["RAY_AUTH_TOKEN"] == "t0ken"
    assert ray["MANTA_CPU_RAY"] == "1"
    assert ray["RAY_worker_niceness"] == "0"
    assert "VLLM_TARGET_DEVICE" not in ray
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in ray


def test_gpu_pods_get_no_cpu_recipe_and_hub_models_stay_online():
    gpu = engine_environment(replace(RAY, accelerator="gpu", vllm_flags=("--model=org/name",)), {})
    for name in ("MANTA_CPU_RAY", "OMP_NUM_THREADS", "VLLM_CPU_OMP_THREADS_BIND", "HF_HUB_OFFLINE"):
        assert name not in gpu


def test_the_user_wins_over_defaults_but_not_over_the_pod():
    environ = {"OMP_NUM_THREADS": "8", "HF_HUB_OFFLINE": "0", "VLLM_HOST_IP": "1.2.3.4", "RAY_ADDRESS": "old:1"}
    result = engine_environment(RAY, environ, token="t")
    assert result["OMP_NUM_THREADS"] == "8"
    assert result["HF_HUB_OFFLINE"] == "0"
    assert result["VLLM_HOST_IP"] == "127.1.1.2"
    assert "RAY_ADDRESS" not in result


def test_the_cpu_request_sets_the_threads():
    assert engine_environment(UNI, {"MANTA_CPU_REQUEST": "4"})["OMP_NUM_THREADS"] == "4"
    assert engine_environment(UNI, {"MANTA_CPU_REQUEST": "500m"})["OMP_NUM_THREADS"] == "1"
    assert engine_environment(MP, {"MANTA_CPU_REQUEST": "4"})["OMP_NUM_THREADS"] == "2"
    assert engine_environment(MP, {"MANTA_CPU_REQUEST": "1"})["OMP_NUM_THREADS"] == "1"


def test_flags_are_read_in_both_spellings():
    flags = ("--model", "m", "--served-model-name=a", "--served-model-name=b", "--enforce-eager", "--x_y=1")
    assert find_flag(flags, "--model") == "m"
    assert find_flag(flags, "--served-model-name") == "a"
    assert find_flag(flags, "--enforce-eager") is None
    assert has_flag(flags, "--enforce-eager")
    assert has_flag(flags, "--x-y")
    assert count_flag(flags, "--tensor-parallel-size") == 1


def test_the_name_served_and_the_key_asked_for():
    assert UNI.served_name == "tiny"
    assert RAY.served_name == "/models/tiny"
    assert UNI.api_key({}) == ""
    assert UNI.api_key({"VLLM_API_KEY": "k"}) == "k"
    assert replace(UNI, vllm_flags=("--api-key=f",)).api_key({"VLLM_API_KEY": "k"}) == "f"
