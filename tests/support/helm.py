"""Renders the chart with the helm that `make install` puts into the virtual environment."""

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/manta"
HELM = Path(sys.executable).parent / "helm"


class Refused(Exception):
    """helm did not want to; the text is what it said."""


def run(*arguments: str) -> str:
    """Run helm. Raises Refused."""
    assert HELM.exists(), f"{HELM} is missing: run make install-dev"
    done = subprocess.run([HELM, *arguments], check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


IMAGE = {"image.repository": "registry.example/manta/operator"}
"""The one value that has no default."""


def render(values: dict[str, Any] | None = None, *, release: str = "manta") -> list[dict[str, Any]]:
    """Render the chart, hooks included, with an image unless one is named, and return the objects. Raises Refused."""
    given = [f"--set-json={key}={json.dumps(value)}" for key, value in (IMAGE | (values or {})).items()]
    return [body for body in parsed(_rendered(release, *given)) if body]


def parsed(text: str) -> Iterator[Any]:
    """The documents of a YAML text: as `yaml.safe_load_all`, ten times as fast."""
    return yaml.load_all(text, Loader=yaml.CSafeLoader)


@functools.cache
def _rendered(release: str, *given: str) -> str:
    return run("template", release, str(CHART), "--namespace=manta-system", "--kube-version=1.36.0", *given)
