"""Which model this pod has: ranks compare it when they join, and /facts tells it. Reads the list that a fetch leaves.

Every pod may have fetched for itself: a branch that moved between two of them would mix weights within one engine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from manta_runtime.models.manifest import read_manifest

if TYPE_CHECKING:
    from manta_runtime.engine.settings import EngineSettings


def model_revision(settings: EngineSettings) -> str:
    """Return the commit of a hub, or the hash of the list of files; "" for a model that no fetch has made."""
    return revision_of(Path(settings.model).expanduser()) if settings.model_is_local else ""


def revision_of(folder: Path) -> str:
    """Return the same for any folder that a fetch has made, such as an adapter's; "" for another."""
    manifest = read_manifest(folder)
    if manifest is None:
        return ""
    if manifest.resolved:
        return str(manifest.resolved)
    keys = "\n".join(sorted(file.key for file in manifest.files))
    return "sha256:" + hashlib.sha256(keys.encode()).hexdigest()
