"""Reads the facts of one `hf://` model from a hub: its config.json and the headers of its safetensors files.

The bytes of the weights stay where they are: a header is the first kilobytes of a file. What was fetched is laid out in
a folder as in a checkpoint whose files end after their headers, and read by `facts.models.read` like any other.
Everything is of one commit, the one that config.json came from.
"""

import asyncio
import re
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from manta_operator.controller.facts_http import Away, Refused, get, get_json
from manta_operator.facts.models import FactsError, ModelFacts, read

PUBLIC = "https://huggingface.co"
"""The hub of `hf://` where nobody names another."""
CONFIG_BYTES = 4 * 2**20
INDEX_BYTES = 24 * 2**20
"""The index of the largest models has 14 MB; as Python's values it is a few times as large."""
HEADER_BYTES = 8 * 2**20
ALL_BYTES = 28 * 2**20
"""Of all headers of a model. They are in a scratch folder for a moment: the chart's has 256 MiB, and webhook and loop
read four models each at a time."""
MOST_FILES = 1000
FIRST_BYTES = 64 * 1024
"""Of a file whose header may be longer: most are not."""
AT_ONCE = 8
READ_SECONDS = 120.0
_INDEX = "model.safetensors.index.json"
_REPOSITORY = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*")
_FILE = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*\.safetensors")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Question:
    """A model of a hub: `hf://repository` at a revision, at the hub with this address."""

    repository: str
    revision: str
    endpoint: str


@dataclass(frozen=True)
class Found:
    """The facts, the commit they are of ("" if the hub does not say), and why they are not of the tensors, too."""

    facts: ModelFacts
    commit: str
    note: str = ""


def question(uri: str, revision: str | None, endpoint: str) -> Question | None:
    """Return what to ask about a model URI; None if it is no model of a hub."""
    repository = uri.removeprefix("hf://").rstrip("/")
    if not uri.startswith("hf://") or not _REPOSITORY.fullmatch(repository) or ".." in repository:
        return None
    return Question(repository, revision or "main", endpoint.rstrip("/"))


async def ask(client: aiohttp.ClientSession, about: Question, token: str = "") -> Found:
    """Read the facts.

    Raises:
        Away: the hub cannot be reached.
        Refused: it does not give them, or what it gives is no model; the message says which.
    """
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _Reading(client, about, token).run()
    except TimeoutError as error:
        said = f"reading it from {about.endpoint} takes longer than {READ_SECONDS:g} s"
        raise Refused(said, passing=True) from error


class _Reading:
    """One read, while it lasts."""

    def __init__(self, client: aiohttp.ClientSession, about: Question, token: str) -> None:
        self._client, self._about, self._token = client, about, token
        self._left = ALL_BYTES
        self._revision = about.revision

    async def run(self) -> Found:
        _, answer = await get_json(self._client, self._url("config.json"), self._token, CONFIG_BYTES)
        said = answer.headers.get("x-repo-commit", "")
        commit = said if _COMMIT.fullmatch(said) else ""
        self._revision = commit or self._revision
        heads: dict[str, bytes] = {}
        note = ""
        try:
            heads = await self._heads()
        except Refused as error:
            if error.passing:
                raise  # they may come later
            note = "it has no safetensors files, or not all of them" if error.status == 404 else str(error)
        return Found(await asyncio.to_thread(_facts, answer.body, heads), commit, note)

    async def _heads(self) -> dict[str, bytes]:
        """Return the heads of all files of weights, by name: of some of them the sum would be a lie."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> bytes:
            async with turns:
                return await self._head(name)

        names = sorted(await self._files())
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {name: group.create_task(one(name)) for name in names}
        except ExceptionGroup as errors:
            raise max(errors.exceptions, key=_weight) from None
        return {name: task.result() for name, task in tasks.items()}

    async def _files(self) -> set[str]:
        try:
            index, _ = await get_json(self._client, self._url(_INDEX), self._token, INDEX_BYTES)
        except Refused as error:
            if error.status == 404:
                return {"model.safetensors"}
            raise
        found: Any = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
            raise Refused(f"{_INDEX} is no index of safetensors files")
        names = set(found.values())
        if len(names) > MOST_FILES or not all(_FILE.fullmatch(name) for name in names):
            raise Refused(f"{_INDEX} names files that no model has")
        return names

    async def _head(self, name: str) -> bytes:
        """Return the head of a file: eight bytes of length (little endian), then so much JSON."""
        first = (await get(self._client, self._url(name), self._token, FIRST_BYTES, start=0)).body
        if len(first) < 8:
            raise Refused(f"{name} is no safetensors file")
        size = 8 + int(struct.unpack("<Q", first[:8])[0])
        self._left -= size
        if size > HEADER_BYTES or self._left < 0:
            raise Refused(f"{name} has a header that is too long to be read from here")
        if size > len(first) == FIRST_BYTES:
            rest = await get(self._client, self._url(name), self._token, size - len(first), start=len(first))
            first += rest.body
        if len(first) < size:
            raise Refused(f"{name} ends within its header")
        return first[:size]

    def _url(self, path: str) -> str:
        about = self._about
        return f"{about.endpoint}/{about.repository}/resolve/{quote(self._revision, safe='')}/{path}"


def _weight(error: Exception) -> tuple[bool, bool]:
    """Of several errors the one counts that is about the hub, then one that passes."""
    return isinstance(error, Away), isinstance(error, Refused) and error.passing


def _facts(config: bytes, heads: Mapping[str, bytes]) -> ModelFacts:
    """Lay it out as a checkpoint, and read that. Raises Refused: it is no model."""
    with tempfile.TemporaryDirectory(prefix="manta-facts-") as scratch:
        folder = Path(scratch)
        (folder / "config.json").write_bytes(config)
        for name, head in heads.items():
            (folder / name).write_bytes(head)
        try:
            facts = read(folder)
        except (FactsError, RecursionError) as error:
            raise Refused(str(error).replace(f"{folder}/", "")) from error
    if facts is None:
        raise Refused("its config.json cannot be read")
    return facts
