"""Requests and tokens per minute and concurrency of tenants. Pure: time is passed in, `peers.py` brings news.

    check → started → … → ended      without waiting between check and started; ended once, however it ended

Exact in one router: in no 60 s does a tenant start more than its limit. Across routers what others admitted counts
when they tell, once a second: docs/tenancy.md says how much can get through in between. Tokens are charged to the
second in which a request starts: an estimate at first, corrected to what the engine counted at the end.
"""

import math
import secrets
from dataclasses import dataclass
from typing import Literal

import msgspec

from manta_runtime.router.picker.request import Request
from manta_runtime.router.picker.spending import Account, Peer, Spent, Usage, by_our_clock
from manta_runtime.router.picker.tenants import Tenant
from manta_runtime.router.picker.window import SECONDS, Window

RESERVE_UNKNOWN = 256
"""Tokens charged at the start for an answer whose length the client does not limit."""
RESERVE_MOST = 2048
"""And at most, since many clients ask for as much as the model could ever write."""
SILENT_SECONDS = 5.0
"""A peer that has told nothing for so long no longer holds places of the concurrency."""
_NO_ANSWER = ("/embeddings", "/rerank", "/score")
_GONE_SECONDS = SECONDS + 5.0

Kind = Literal["requests", "tokens", "concurrency"]


@dataclass(frozen=True, slots=True)
class Over:
    """A refusal (429). `kind` is also OpenAI's `type`; `retry_after` in whole seconds, None: no waiting helps."""

    text: str
    kind: Kind
    retry_after: int | None
    code: str = "rate_limit_exceeded"


class Charge(msgspec.Struct, gc=False):
    """What a request that runs was charged; kept by the caller until it ends."""

    tenant: str
    second: int
    prompt: int
    tokens: int
    stream: bool
    open: bool = True


class Limits:
    """Accounts of the tenants that have limits; the others cost nothing."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._peers: dict[str, Peer] = {}
        self._instance = secrets.token_hex(8)

    def check(self, tenant: Tenant, request: Request | None, now: float) -> Over | None:
        """Whether the request would go beyond a limit; the one that takes longest to free is told.

        None: nobody has read it yet. Then it needs one token at least.
        """
        if not tenant.limited:
            return None
        account = self._account(tenant.name, now)
        rpm, tpm, most = tenant.requests_per_minute, tenant.tokens_per_minute, tenant.concurrency
        if (
            (most is None or account.running + account.others < most)
            and (rpm is None or account.requests.total < rpm)
            and (tpm is None or account.tokens.total + _needed(request, tpm) <= tpm)
        ):
            return None
        return _refusal(tenant, request, account, now)

    def started(self, tenant: Tenant, request: Request, now: float) -> Charge | None:
        """Enter a request that was let in, waiting ones too; None for a tenant without limits."""
        if not tenant.limited:
            return None
        account, second = self._account(tenant.name, now), int(now)
        tokens = estimate(request, tenant.tokens_per_minute)
        account.running += 1
        account.requests.add(1, second)
        account.tokens.add(tokens, second)
        return Charge(tenant.name, second, request.prompt_tokens, tokens, request.stream)

    def taken_back(self, charge: Charge | None, now: float) -> None:
        """The same request will be started again: its charge is as if it had never been."""
        if charge is not None and charge.open:
            self.ended(charge, 0, now)
            self._account(charge.tenant, now).requests.add(-1, charge.second)

    def ended(self, charge: Charge | None, tokens: int | None, now: float, sent: int | None = None) -> None:
        """Correct the charge; the second time it is ignored.

        Args:
            charge: From `started`.
            tokens: Prompt and completion as the engine counted, 0 if it never worked on the request, None if unknown:
                then a stream that was cut off costs its prompt and what was sent of it, anything else what was
                estimated.
            now: The time.
            sent: Events of a stream that passed, which hold a token each, or more; None if nobody knows.
        """
        if charge is None or not charge.open:
            return
        charge.open = False
        account = self._account(charge.tenant, now)
        account.running = max(0, account.running - 1)
        if tokens is None:
            tokens = charge.tokens
            if charge.stream and sent is not None:
                tokens = charge.prompt + sent
        # Too much is given back where it was taken; too little is charged now, however long the answer took.
        change = tokens - charge.tokens
        account.tokens.add(change, charge.second if change < 0 else int(now))

    def running(self) -> dict[str, int]:
        """Requests in flight here, by tenant that has limits, for metrics."""
        return {name: account.running for name, account in self._accounts.items()}

    def usage(self, now: float) -> Usage:
        """What to tell other routers: our own part only."""
        for account in self._accounts.values():
            account.advance(int(now))
        told = {name: account.told() for name, account in self._accounts.items() if not account.idle}
        return Usage(self._instance, now - int(now), told)

    def peers(self, name: str, usage: Usage, now: float) -> None:
        """Another router's news: they replace what it told before. One that began anew keeps its old spending too."""
        if usage.instance == self._instance:
            return
        key, second = f"{name}/{usage.instance}", int(now)
        before = self._peers.get(key) or Peer()
        told = {
            tenant: Spent(
                spent.running,
                by_our_clock(spent.requests, usage.fraction, now),
                by_our_clock(spent.tokens, usage.fraction, now),
            )
            for tenant, spent in usage.tenants.items()
        }
        for tenant in {**before.tenants, **told}:
            account, old, new = self._account(tenant, now), before.aged(tenant, second), told.get(tenant) or Spent()
            account.others += new.running - old.running
            account.requests.replace_others(old.requests, new.requests)
            account.tokens.replace_others(old.tokens, new.tokens)
        self._peers[key] = Peer(now, second, told)

    def forget_silent(self, now: float) -> None:
        """Give back the places of routers that tell nothing any more; what they spent runs out by itself."""
        for key, peer in list(self._peers.items()):
            if now - peer.heard > SILENT_SECONDS:
                for tenant, spent in peer.tenants.items():
                    self._account(tenant, now).others -= spent.running
                    spent.running = 0
            if now - peer.heard > _GONE_SECONDS:
                del self._peers[key]
        self._drop_idle(now)

    def _drop_idle(self, now: float) -> None:
        for name, account in list(self._accounts.items()):
            account.advance(int(now))
            if account.idle:
                del self._accounts[name]

    def _account(self, name: str, now: float) -> Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account()
        if now >= account.until:
            account.advance(int(now))
        return account


def estimate(request: Request, limit: int | None = None) -> int:
    """Tokens a request is charged when it starts: its prompt, and a bounded guess at its answer.

    The guess never makes a request impossible whose prompt fits into the limit.
    """
    prompt = request.prompt_tokens
    if request.path.endswith(_NO_ANSWER):
        return prompt
    reserve = request.max_tokens or RESERVE_UNKNOWN
    whole = prompt + min(reserve, RESERVE_MOST)
    return whole if limit is None or whole <= limit else max(prompt, limit)


def _needed(request: Request | None, limit: int) -> int:
    return 1 if request is None else estimate(request, limit)


def _refusal(tenant: Tenant, request: Request | None, account: Account, now: float) -> Over:
    """The limit that takes longest to free; `check` has found one at least."""
    found: list[Over | None] = []
    if (most := tenant.concurrency) is not None and (running := account.running + account.others) >= most:
        text = f"tenant {tenant.name}: {running} of {most} requests at a time are running; wait until one ends"
        found.append(Over(text, "concurrency", 1 if most else None))
    if (rpm := tenant.requests_per_minute) is not None:
        found.append(_over(tenant.name, "requests", account.requests, rpm, 1, now))
    if (tpm := tenant.tokens_per_minute) is not None:
        found.append(_over(tenant.name, "tokens", account.tokens, tpm, _needed(request, tpm), now))
    refused = [over for over in found if over is not None]
    return max(refused, key=lambda over: math.inf if over.retry_after is None else over.retry_after)


def _over(tenant: str, kind: Kind, window: Window, limit: int, needed: int, now: float) -> Over | None:
    excess = window.total + needed - limit
    if excess <= 0:
        return None
    text = f"tenant {tenant}: limit of {limit} {kind} per minute: {window.total} used, {needed} asked for"
    if needed > limit:
        return Over(f"{text}; more than the limit, so no waiting helps", kind, None)
    seconds = math.ceil(window.frees(excess) - now)
    return Over(f"{text}; try again in {seconds} s", kind, seconds)
