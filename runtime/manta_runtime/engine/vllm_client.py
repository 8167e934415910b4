"""The launcher's view of vLLM over HTTP: is it healthy, can it produce a token, how much is in flight."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp

from manta_runtime.engine.drain import count_begun, count_in_flight
from manta_runtime.engine.progress import Look, read_marks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manta_runtime.engine.settings import EngineSettings

# On a busy machine an engine that is fine takes seconds to answer.
_HEALTH_TIMEOUT = aiohttp.ClientTimeout(total=10)
_TOKEN_TIMEOUT = aiohttp.ClientTimeout(total=300)
_METRICS_TIMEOUT = aiohttp.ClientTimeout(total=5)

_COMPLETIONS = "/v1/completions"
# vLLM has the paths of what its model can do only: embeddings, classes, scores.
_QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (_COMPLETIONS, {"prompt": "Hello", "max_tokens": 1, "temperature": 0}),
    ("/v1/embeddings", {"input": "Hello"}),
    ("/classify", {"input": "Hello"}),
    ("/score", {"text_1": "Hello", "text_2": "Hello"}),
    ("/pooling", {"input": "Hello"}),
)


class VllmClient:
    """Requests to the vLLM of this pod. `api_key` is sent when vLLM was given one; `served_name` is the model's."""

    def __init__(
        self, session: aiohttp.ClientSession, host: str, port: int, served_name: str, api_key: str = ""
    ) -> None:
        self._session = session
        self._base = f"http://{host}:{port}"
        self._served_name = served_name
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def healthy(self) -> bool:
        """Say whether GET /health answers 200 within 10 s."""
        try:
            async with self._session.get(f"{self._base}/health", timeout=_HEALTH_TIMEOUT) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def produce_token(self, data_rank: int | None = None) -> str:
        """Generate one token, in the engine of a data rank if one is given; return "" or what went wrong.

        A model that generates none (embeddings, classes, scores) is asked for one of what it makes.
        """
        headers = self._headers if data_rank is None else {**self._headers, "X-data-parallel-rank": str(data_rank)}
        problem = ""
        for path, question in _QUESTIONS:
            status, answer = await self._ask(path, {"model": self._served_name, **question}, headers)
            if status == 200:
                return "" if path != _COMPLETIONS or _tokens_in(answer) == 1 else f"{path} produced no token"
            if status != 404:  # such a path is there: this is what the model is for
                return answer
            problem = problem or answer
        return problem

    async def _ask(self, path: str, question: dict[str, Any], headers: dict[str, str]) -> tuple[int, str]:
        """Return the status and the answer; other than 200 a sentence about it, 0: there was no answer."""
        try:
            async with self._session.post(
                f"{self._base}{path}", json=question, headers=headers, timeout=_TOKEN_TIMEOUT
            ) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return 0, f"{path} failed: {type(error).__name__} {error}"
        return response.status, text if response.status == 200 else f"{path} answered {response.status}: {text[:300]}"

    async def produce_tokens(self, data_ranks: int) -> str:
        """Generate one token in the engine of every data rank; return "" or what went wrong in the first that failed.

        A token that any of them produces says nothing of the others.
        """
        if data_ranks == 1:
            return await self.produce_token()
        for data_rank in range(data_ranks):
            if problem := await self.produce_token(data_rank):
                return f"data rank {data_rank} of {data_ranks}: {problem}"
        return ""

    async def activity(self) -> tuple[int | None, float | None]:
        """Return the requests running + waiting, and what grows with each one begun; None for what is not said."""
        metrics = await self._get("/metrics")
        return await asyncio.to_thread(count_in_flight, metrics), await asyncio.to_thread(count_begun, metrics)

    async def look(self) -> dict[str, Look] | None:
        """Return what tells progress from a hang, by engine: empty when vLLM keeps no such metrics, None: no answer."""
        metrics = await self._get("/metrics")
        marks = await asyncio.to_thread(read_marks, metrics)
        load = await self._get("/load")
        try:
            unanswered = int(json.loads(load)["server_load"])
        except (ValueError, KeyError, TypeError):
            return None
        if not metrics:
            return None
        return {engine: Look(moved, unanswered) for engine, moved in marks.items()}

    async def ask(self, method: str, path: str, body: dict[str, str] | None, seconds: float) -> tuple[int, str]:
        """Return the status and the text of an answer; 0 and what went wrong when there was none."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, f"{self._base}{path}", json=body, headers=self._headers, timeout=timeout
            ) as response:
                return response.status, await response.text()
        except TimeoutError:
            return 0, f"none within {seconds:.0f} s"
        except (aiohttp.ClientError, UnicodeDecodeError) as error:
            return 0, f"{type(error).__name__} {error}"

    async def _get(self, path: str) -> str:
        try:
            async with self._session.get(f"{self._base}{path}", timeout=_METRICS_TIMEOUT) as response:
                return await response.text() if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError):
            return ""


def _tokens_in(answer: str) -> int | None:
    try:
        return (json.loads(answer).get("usage") or {}).get("completion_tokens")
    except (ValueError, AttributeError):
        return None


def make_client(session: aiohttp.ClientSession, settings: EngineSettings, environ: Mapping[str, str]) -> VllmClient:
    """Return the client of this pod's vLLM, with the API key that vLLM itself was given."""
    return VllmClient(session, settings.pod_ip, settings.port, settings.served_name, settings.api_key(environ))
