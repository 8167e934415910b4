"""vLLM's side of adapters over HTTP: which it has, load one, unload one, and its words when it will not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manta_runtime.engine.vllm_client import VllmClient

_LIST_SECONDS = 10.0
_LOAD_SECONDS = 300.0
"""The engine reads the files between two of its steps, from a volume that may be slow."""
_LONGEST_WORDS = 500
_CALL = "Call to add_lora method failed: "


class AdaptersClient:
    """Adapters of the vLLM of this pod. Raises nothing."""

    def __init__(self, client: VllmClient) -> None:
        self._client = client

    async def listed(self) -> dict[str, str] | None:
        """Return name → path of the adapters that can be asked for; None when vLLM does not say."""
        status, text = await self._client.ask("GET", "/v1/models", None, _LIST_SECONDS)
        try:
            models: list[dict[str, Any]] = json.loads(text)["data"] if status == 200 else []
            adapters = {str(model["id"]): str(model.get("root")) for model in models if model.get("parent")}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return adapters if models else None

    async def load(self, name: str, path: str) -> str:
        """Load an adapter; return "" or why not, in vLLM's words."""
        return await self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    async def unload(self, name: str) -> str:
        """Let no new request have an adapter; those in flight go on with it (vLLM 0.32). Returns "" or why not."""
        return await self._post("/v1/unload_lora_adapter", {"lora_name": name})

    async def _post(self, path: str, body: dict[str, str]) -> str:
        status, text = await self._client.ask("POST", path, body, _LOAD_SECONDS)
        return "" if status == 200 else _words(status, text, path)


def _words(status: int, text: str, path: str) -> str:
    """Return what vLLM says of a failure, without the parts that say nothing."""
    if not status:
        return f"vLLM gave no answer: {text}"
    try:
        found = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        found = f"{path} answered {status}: {text}"
    return " ".join(str(found).removeprefix(_CALL).split())[:_LONGEST_WORDS]
