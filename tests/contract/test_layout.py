"""The house rules that a machine can check: sizes, docstrings, source roots, hosts, paths, documented dependencies."""

import ast
import functools
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40
# PyTorch's index of CPU builds may be named where it is needed and explained: a newcomer has no other.
TORCH_INDEX = "download.pytorch.org/whl/cpu"
TORCH_INDEX_FILES = {
    "tools/install.py",
    "CONTRIBUTING.md",
    "README.md",
    "images/runtime-cpu.Dockerfile",
    "tests/contract/test_layout.py",
}
FORBIDDEN = {
    "registry host": re.compile(
        r"\b(?:(?:test\.)?pypi\.org|files\.pythonhosted\.org|download\.pytorch\.org|ghcr\.io|quay\.io|docker\.io"
        r"|registry\.k8s\.io|[a-z0-9-]*\.?gcr\.io|nvcr\.io|registry-1\.docker\.io)\b"
    ),
    "home folder": re.compile(r"(?<![\w.])/(?:root|home/[a-z][\w-]*|Users/\w+)/[\w.]"),
    "machine path": re.compile(r"(?<![\w.])/(?:work/(?:main|shared)|opt/(?:wheels|pypi))\b"),
}


def tracked(*patterns: str) -> list[str]:
    """Files that git knows or would take, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted({line for line in listed.stdout.splitlines() if (ROOT / line).is_file()})


PYTHON = tracked("*.py")
TEXTS = [path for path in tracked() if not path.endswith((".png", ".svg", ".ico", ".gz"))]


@functools.cache
def problems() -> dict[str, dict[str, list[str]]]:
    """What is wrong with which file, by rule. Every file is parsed once, for all rules that look at its tree."""
    found: dict[str, dict[str, list[str]]] = {"long functions": {}, "no docstring": {}}
    for path in PYTHON:
        module = ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=path)
        if long := list(long_functions(module, MAX_FUNCTION_LINES)):
            found["long functions"][path] = long
        if module.body and not ast.get_docstring(module):
            found["no docstring"][path] = ["it opens without one"]
    return found


def test_there_is_something_to_check() -> None:
    assert len(PYTHON) > 10
    assert "pyproject.toml" in TEXTS


def test_files_are_short() -> None:
    lines = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in PYTHON}
    assert {path: count for path, count in lines.items() if count > MAX_FILE_LINES} == {}, "split these files"


def long_functions(node: ast.AST, limit: int) -> Iterator[str]:
    """Only lines as many as the limit can hold a function that is longer, and only statements hold statements."""
    for child in ast.iter_child_nodes(node):
        lines = getattr(child, "end_lineno", limit + 1) - getattr(child, "lineno", 0) + 1
        if lines > limit and not isinstance(child, ast.expr):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"line {child.lineno}: {child.name} has {lines} lines"
            yield from long_functions(child, limit)


def test_functions_are_short() -> None:
    assert problems()["long functions"] == {}, "split these functions"


def test_long_functions_are_seen() -> None:
    module = ast.parse("async def f():\n    a = 1\n    def g():\n        pass\n    return a\n")
    assert list(long_functions(module, 4)) == ["line 1: f has 5 lines"]


def test_modules_say_what_they_do() -> None:
    assert problems()["no docstring"] == {}, "these open without a docstring"


@pytest.mark.parametrize("root", ["operator", "runtime"])
def test_source_root_is_no_package(root: str) -> None:
    assert not (ROOT / root / "__init__.py").exists(), f"{root}/__init__.py would make it a package (style.md §2)"


def forbidden_words(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        seen = line.replace(TORCH_INDEX, "") if path in TORCH_INDEX_FILES else line
        for kind, pattern in FORBIDDEN.items():
            if match := pattern.search(seen):
                yield f"{path}:{number}: {kind} {match[0]!r}"


def test_no_registry_hosts_or_machine_paths() -> None:
    here = Path(__file__).relative_to(ROOT).as_posix()
    found = [
        problem
        for path in TEXTS
        if path != here
        for problem in forbidden_words(path, (ROOT / path).read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("image: ghcr.io/org/image:1", "registry host"),
        ("see /home/someone/notes.txt", "home folder"),
        ("pip install --find-links /opt/wheels", "machine path"),
    ],
)
def test_forbidden_words_are_seen(line: str, kind: str) -> None:
    assert [problem for problem in forbidden_words("x.md", line) if kind in problem]


def declared_dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    engine = (ROOT / "requirements/engine.txt").read_text(encoding="utf-8").splitlines()
    lines += [line for line in engine if line and not line.startswith("#")]
    return {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in lines} - {"manta"}  # an extra of another


def test_dependencies_are_documented() -> None:
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8").lower()
    documented = {
        name for row in re.findall(r"^\|([^|]*)\|", text, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)
    }
    missing = declared_dependencies() - documented
    assert missing == set(), "what do they do for us, what else did we look at, size, licence, status?"


def test_constraints_are_exact_pins() -> None:
    lines = (ROOT / "requirements/constraints.txt").read_text(encoding="utf-8").splitlines()
    wrong = [line for line in lines if not line.startswith("#") and not re.fullmatch(r"[\w.-]+==[\w.!-]+", line)]
    assert wrong == []
