"""vLLM as a child process, started by head.py; it runs in the head's pod only. Effects.

What it says of why it ends is kept: it knows which rank of the group was the first to go, and the launcher only which
of its own pod's processes are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manta_runtime.engine.commands import vllm_command
from manta_runtime.engine.log_lines import read_line
from manta_runtime.engine.processes import Child
from manta_runtime.engine.vllm_words import cause_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manta_runtime.engine.settings import EngineSettings

_DIED = " died unexpectedly"
_MOST_CAUSES = 3


async def start_vllm(settings: EngineSettings, environment: Mapping[str, str], hear: Callable[[str], None]) -> Child:
    """Start vLLM (or its simulator); `hear` gets every line that it prints. Raises OSError."""
    causes: list[str] = []

    def listen(text: str) -> None:
        # Looked for before the line is read: most lines say something else.
        if _DIED in text and len(causes) < _MOST_CAUSES and (cause := cause_of(read_line(text))):
            causes.append(cause)
        hear(text)

    child = await Child.start("vLLM", vllm_command(settings), environment, listen)
    child.causes = causes
    return child
