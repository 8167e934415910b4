"""A worker's line to its head: join, and the pure question whether the head is gone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import aiohttp

from manta_runtime.engine.adapters import copies_json

if TYPE_CHECKING:
    from manta_runtime.engine.adapters_copies import Copies
    from manta_runtime.engine.group import MemberStage
    from manta_runtime.engine.settings import EngineSettings

REFUSED_SECONDS = 3.0
"""Nobody listens on the head's port for this long: its launcher is gone."""
UNHEARD_SECONDS = 15.0
"""The head does not answer at all for this long: frozen, or cut off."""

_TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True)
class Answer:
    """One answer of the head: `address` is "" until workers may connect; `refusal` says why we must start again.

    `lasts`: to ask again changes nothing. `over`: why the head has ended the group. `missing`: the ranks that have not
    joined.
    """

    epoch: str = ""
    stage: str = ""
    address: str = ""
    token: str = ""
    refusal: str = ""
    lasts: bool = False
    over: str = ""
    missing: tuple[int, ...] = ()


@dataclass(frozen=True)
class Silence:
    """Since when (monotonic seconds) the head refuses connections, and since when it says nothing; None: it talks."""

    refused_since: float | None = None
    unheard_since: float | None = None


class Unreachable(Exception):
    """The head gave no answer; `refused`: its address resolves and nobody listens there."""

    def __init__(self, message: str, refused: bool) -> None:
        super().__init__(message)
        self.refused = refused


def after_failure(silence: Silence, refused: bool, now: float) -> Silence:
    """Return the silence after one more call without an answer."""
    unheard = now if silence.unheard_since is None else silence.unheard_since
    if not refused:
        return Silence(None, unheard)
    since = now if silence.refused_since is None else silence.refused_since
    return replace(silence, refused_since=since, unheard_since=unheard)


def is_gone(silence: Silence, now: float) -> bool:
    """Say whether the head has been away for too long."""
    refused = silence.refused_since is not None and now - silence.refused_since >= REFUSED_SECONDS
    unheard = silence.unheard_since is not None and now - silence.unheard_since >= UNHEARD_SECONDS
    return refused or unheard


def describe_end(answer: Answer) -> str:
    """Return why the head has ended the group, "" while it has not."""
    if answer.stage != "done":
        return ""
    return f"the head ended: {answer.over}" if answer.over else "the head has ended, and did not say why"


class HeadLink:
    """Calls to the head's POST /group/join in the name of this worker (`instance`: random, new at every start).

    `copies`: its adapters, of which every join tells.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: EngineSettings,
        instance: str,
        model: str = "",
        copies: Copies | None = None,
    ) -> None:
        self._copies = copies
        self._session = session
        self._url = f"http://{settings.head}:{settings.control_port}/group/join"
        self._who = {
            "rank": settings.rank,
            "podIp": settings.pod_ip,
            "podName": settings.pod_name,
            "instance": instance,
            "model": model,
        }
        self._headers = {"Authorization": f"Bearer {settings.group_token}"}
        self._epoch = ""

    async def join(self, stage: MemberStage, why: str = "") -> Answer:
        """Tell the head our stage, and why we end if we do; return its answer. Raises Unreachable."""
        body = {**self._who, "epoch": self._epoch, "stage": stage, "why": why}
        if self._copies:
            body["adapters"] = copies_json(self._copies.found)
        try:
            async with self._session.post(self._url, json=body, headers=self._headers, timeout=_TIMEOUT) as response:
                content = await response.json()
                status = response.status
        except aiohttp.ClientConnectorDNSError as error:
            raise Unreachable(f"its name does not resolve yet ({error.host})", refused=False) from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            refused = isinstance(error, aiohttp.ClientConnectorError)
            raise Unreachable(str(error) or "no answer within 5 s", refused=refused) from error
        return self._read(status, content)

    def _read(self, status: int, content: Any) -> Answer:
        if not isinstance(content, dict):
            raise Unreachable("the head answered with something that is not JSON", refused=False)
        if status != 200:
            # Who only waits for a head joins the next one: with the former's epoch it would be refused for ever.
            self._epoch = ""
            return Answer(refusal=str(content.get("message") or f"the head answered {status}"), lasts=status == 412)
        self._epoch = str(content.get("epoch", ""))
        return Answer(
            epoch=self._epoch,
            stage=str(content.get("stage", "")),
            address=str(content.get("address", "")),
            token=str(content.get("token", "")),
            over=str(content.get("over", "")),
            missing=tuple(rank for rank in content.get("missing") or () if isinstance(rank, int)),
        )
