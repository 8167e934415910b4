"""The operator's configuration: typed, frozen, parsed once, by the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What a running operator needs to know.

    `namespaces` empty means all of them; `resync_seconds` is the longest time between two passes over an object;
    `host_paths` says where this process sees folders of the nodes, so that the fit can read `file://` checkpoints.
    """

    namespaces: tuple[str, ...] = ()
    resync_seconds: float = 60.0
    host_paths: Mapping[str, Path] = field(default_factory=dict)
