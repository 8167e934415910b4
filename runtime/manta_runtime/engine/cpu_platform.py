"""Teach vLLM's CPU platform to run under Ray and to share experts, so that shapes can be tried without any GPU.

vLLM loads `plugin` in every process (entry point group `vllm.platform_plugins`), also where Manta only happens to be
installed: it must be free then. The launcher sets MANTA_CPU_RAY=1 with --accelerator=cpu, for a Ray group and for data
ranks.
"""

from __future__ import annotations

import os
from typing import Any

_PLATFORM = "manta_runtime.engine.cpu_platform.RayCpuPlatform"
_COMMUNICATOR = "manta_runtime.engine.cpu_communicator.CpuExpertsCommunicator"


def plugin() -> str | None:
    """Return the class path of the platform, or None unless MANTA_CPU_RAY=1."""
    return _PLATFORM if os.environ.get("MANTA_CPU_RAY") == "1" else None


def __getattr__(name: str) -> Any:
    # Made on first use: importing vLLM's CPU platform costs seconds, and vLLM imports this module to ask `plugin()`.
    if name != "RayCpuPlatform":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vllm.platforms.cpu import CpuPlatform  # noqa: PLC0415

    platform = type(
        "RayCpuPlatform",
        (CpuPlatform,),
        {
            "__module__": __name__,
            "__doc__": "CpuPlatform whose ranks take the `GPU` that `ray start --num-gpus` declares.",
            "ray_device_key": "GPU",
            "get_device_communicator_cls": classmethod(lambda _: _COMMUNICATOR),
        },
    )
    globals()[name] = platform
    return platform
