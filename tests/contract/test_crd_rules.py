"""Every CEL rule of the CRD: a body it accepts, and one it refuses with its message at its path."""

import copy
from typing import Any

import pytest
from crd_cases import MINIMAL, problems
from crd_rule_cases import CASES as OTHER_CASES
from crd_rule_cases import Case, engine
from crd_scaling_cases import SCALING_CASES

from manta_operator.api import names
from manta_operator.api.crd import llmdeployment_schema
from manta_operator.api.flags import ARGS_RULES, PLANNED_FLAGS, PLUGINS
from manta_operator.api.rules import RULES

MESSAGES = {rule.message for rules in RULES.values() for rule in rules} - {rule.message for rule in ARGS_RULES[1:]}

CASES = OTHER_CASES + SCALING_CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rule(case: Case) -> None:
    [message] = [message for message in MESSAGES if message.startswith(case.rule)]
    assert problems(body(case.accepted)) == []
    said = problems(body(case.refused, case.metadata))
    assert [text.partition(": ")[0] for text in said] == [case.path]
    assert said[0].endswith(f": {case.said or message}")


def test_every_rule_has_a_case_where_it_stands() -> None:
    there = [(path.replace("[*]", "[0]"), rule.message) for path, rules in RULES.items() for rule in rules]
    flags = {rule.message for rule in ARGS_RULES[1:]}
    tried = [
        (path, message)
        for path, message in there
        if any(message.startswith(case.rule) and case.path.startswith(path) for case in CASES)
    ]
    assert [entry for entry in there if entry not in tried and entry[1] not in flags] == []


def flag_message(flag: str) -> str:
    instead = PLANNED_FLAGS[flag]
    words = (
        f"Manta sets {flag} itself; use {instead}" if instead.startswith("spec.") else f"leave {flag} out: {instead}"
    )
    return f"spec.engine.args: Invalid value: {words}"


@pytest.mark.parametrize("flag", PLANNED_FLAGS)
def test_flags_that_manta_sets(flag: str) -> None:
    underscored = "--" + flag[2:].replace("-", "_")
    mixed = "--" + flag[2:].replace("-", "_", 1)
    for arg in {flag, f"{flag}=1", underscored, f"{underscored}=1", f"{mixed}=1"}:
        assert problems(body(engine(args=["--seed=1", arg]))) == [flag_message(flag)]
    assert problems(body(engine(args=[f"{flag}s=1", f"--other={flag}"]))) == []


@pytest.mark.parametrize(
    ("arg", "flag"),
    [
        ("--tensor-par=4", "--tensor-parallel-size"),
        ("--tens", "--tensor-parallel-size"),
        ("--gpu_memory-utilization=0.5", "--gpu-memory-utilization"),
        ("--gpu_mem=0.5", "--gpu-memory-utilization"),
        ("--ho=::", "--host"),
        ("--device_mem=0.5", "--device-memory-utilization"),
        ("--data-parallel-siz=2", "--data-parallel-size"),
    ],
)
def test_argparse_takes_a_beginning_for_the_flag_and_so_do_we(arg: str, flag: str) -> None:
    assert problems(body(engine(args=[arg]))) == [flag_message(flag)]


@pytest.mark.parametrize(("flag", "plugin"), PLUGINS.items())
def test_a_parser_of_the_users_own_is_named_by_its_flag(flag: str, plugin: str) -> None:
    assert problems(body(engine(args=[f"{flag}=mine", f"{plugin}=/a.py"]))) == []
    assert problems(body(engine(args=[f"{flag}=mine", "--chat-template-content-format=string"]))) == [
        flag_message(flag)
    ]


def test_a_part_of_a_flag_that_takes_json_is_that_flag() -> None:
    assert problems(body(engine(args=["--speculative-config.method=ngram"]))) == [flag_message("--speculative-config")]


def test_an_ambiguous_beginning_is_refused_for_each_flag_it_could_be() -> None:
    flags = ("--master-addr", "--master-port")
    assert problems(body(engine(args=["--master=a"]))) == [flag_message(flag) for flag in flags]


@pytest.mark.parametrize("arg", ["--model-impl=vllm", "--config-format=hf", "--chat-template-content-format=string"])
def test_flags_that_only_begin_alike_are_the_users(arg: str) -> None:
    assert problems(body(engine(args=[arg, "--api-server-count=2", "--max-num-partial-prefills=2"]))) == []


def test_names_of_children_stay_labels() -> None:
    # A StatefulSet controller labels pods with <name of the StatefulSet>-<10 characters>; labels have at most 63.
    longest = "a-1" + "b" * 35
    assert problems(body({}, {"name": longest})) == []
    group = names.group_name(longest, revision="0" * 8, index=999)
    assert len(f"{group}-{'0' * 10}") <= 63


def test_unknown_parallelism_is_left_to_the_planner() -> None:
    assert problems(body({"accelerator": {"type": "nvidia-l4", "perPod": 3}, "parallelism": {"tensor": 2}})) == []


def body(spec: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    changed = copy.deepcopy(MINIMAL)
    changed["spec"] |= copy.deepcopy(spec)
    changed["metadata"] |= metadata or {}
    return changed


def test_an_object_that_took_adapters_by_flags_may_still_be_scaled() -> None:
    """The API server leaves an unchanged list alone, but looks at spec as soon as anything in it changes."""
    schema = llmdeployment_schema()
    stored = schema.default(body(engine(args=["--enable-lora", "--lora-modules=sql=/adapters/sql"])))
    scaled = copy.deepcopy(stored)
    scaled["spec"]["replicas"] = 3
    assert schema.validate(scaled, stored) == ()
    assert [str(error) for error in schema.validate(stored)] == [flag_message("--enable-lora")]
