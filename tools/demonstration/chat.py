"""Talking to a deployment with the OpenAI client, plain and streamed, and measuring what a user would feel."""

import time
from dataclasses import dataclass

from openai import AsyncOpenAI

REPLICA_HEADER = "x-manta-replica"
ANSWER_TOKENS = 96


@dataclass(frozen=True)
class Answer:
    """One answer: its text, who gave it, seconds to the first token and in all, and tokens generated."""

    text: str
    replica: str
    first_token: float
    seconds: float
    tokens: int

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second after the first one; 0 where there was only one."""
        after = self.seconds - self.first_token
        return (self.tokens - 1) / after if after > 0 and self.tokens > 1 else 0.0


class Chat:
    """A client of one deployment."""

    def __init__(self, base_url: str, model: str) -> None:
        self._client = AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=120)
        self._model = model

    async def __aenter__(self) -> "Chat":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """Address of the API, with a slash at its end."""
        return str(self._client.base_url)

    def with_model(self, model: str) -> "Chat":
        """Return a client of the same address that asks for another model."""
        return Chat(self.base_url, model)

    async def plain(self, question: str, max_tokens: int = ANSWER_TOKENS) -> Answer:
        """Ask and wait for the whole answer. Raises openai.APIError."""
        start = time.monotonic()
        raw = await self._client.chat.completions.with_raw_response.create(
            model=self._model,
            messages=[{"role": "user", "content": question}],
            max_completion_tokens=max_tokens,
            temperature=0,
        )
        seconds = time.monotonic() - start
        answer = raw.parse()
        tokens = answer.usage.completion_tokens if answer.usage else 0
        replica = raw.headers.get(REPLICA_HEADER, "unknown")
        return Answer(answer.choices[0].message.content or "", replica, seconds, seconds, tokens)

    async def streamed(self, question: str, max_tokens: int = ANSWER_TOKENS) -> Answer:
        """Ask and read the answer as it comes. Raises openai.APIError."""
        start = time.monotonic()
        raw = await self._client.chat.completions.with_raw_response.create(
            model=self._model,
            messages=[{"role": "user", "content": question}],
            max_completion_tokens=max_tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        text, first, tokens = "", 0.0, 0
        async for chunk in raw.parse():
            if chunk.choices and chunk.choices[0].delta.content:
                first = first or time.monotonic() - start
                text += chunk.choices[0].delta.content
            tokens = chunk.usage.completion_tokens if chunk.usage else tokens
        seconds = time.monotonic() - start
        return Answer(text, raw.headers.get(REPLICA_HEADER, "unknown"), first or seconds, seconds, tokens)

    def curl(self) -> str:
        """Return a command line that asks the first question."""
        body = f'{{"model": "{self._model}", "messages": [{{"role": "user", "content": "What is a manta ray?"}}]}}'
        return f"curl {self.base_url}chat/completions -H 'Content-Type: application/json' -d '{body}'"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
