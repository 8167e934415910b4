"""How much work comes, from the routers' counters: its rate, how it fluctuates, where it is going. Pure.

    work      = tokens in / prefill rate + pairs of their attention + requests x tokens of a mean answer / decode rate
                in seconds of a replica as estimated
    answer    = the mean of those that ended; at least what engines made in the last hour, for each request that came
    rate      = work / seconds, in bins of 15 s; D = the mean of the last `window` seconds, in replicas
    grain     = mean of (x_i - x_i-1)^2 / (x_i + x_i-1), x = work of 5 s             seconds: E[S^2] / E[S] of requests
    trend     = least squares over the last two starts, times the start to come, where it is twice its standard error

For requests that come at random (compound Poisson), the variance of a stretch's work over its mean is E[S^2] / E[S],
whatever the rate: how large the requests are, as far as fluctuation goes. Differences of neighbours take the trend out,
and the largest tenth counts as what is just below it (so a mean falls to 0.83): rushes are not chance.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from manta_operator.scaling.settings import Estimate
from manta_operator.scaling.signals import Demand
from manta_operator.scaling.state import BIN_SECONDS, MOST_BINS, Bin, Look, State

TICK_SECONDS = 5.0
_TICKS = 60
_CAPPED = 0.83
"""The mean of chi squared with one degree of freedom, its largest tenth cut to 2.706."""

_INSTANT = 1e-6
"""Seconds that are none but for rounding."""

_COUNT = 1e-3
"""Requests below which there were none: a gap's are spread over it, so that parts of one are."""

_MADE_SECONDS, _ENOUGH = 1800.0, 10.0
"""Half-life of what engines have made, and the requests from which on it counts."""

_PER_ANSWER = 128.0
"""Tokens of an answer before any has ended."""

_ANSWERS, _PROMPTS = 50.0, 500.0
"""So many weigh as much as all before them; the first ones as much as they are."""


def arrived(before: Demand, now: Demand, per_answer: float, estimate: Estimate) -> float | None:
    """Return the work that came between two looks (s of a replica); None where the counters began again."""
    requests, tokens = now.requests - before.requests, now.tokens_in - before.tokens_in
    if requests < 0 or tokens < 0 or now.pairs < before.pairs:
        return None
    return estimate.prompts(tokens, now.pairs - before.pairs) + estimate.answers(requests * per_answer)


def each(state: State, estimate: Estimate) -> tuple[float, float]:
    """Return the work of a mean request, and of a prompt's mean token (s of a replica)."""
    if state.per_prompt is None:
        return 0.0, estimate.prompts(1, 0)
    tokens, pairs, _ = state.per_prompt
    work = estimate.prompts(tokens, pairs)
    return work + estimate.answers(answer(state.per_answer, state.made)), work / tokens if tokens else estimate.prompts(
        1, 0
    )


def answer(known: tuple[float, float] | None, made: tuple[float, float] = (0.0, 0.0)) -> float:
    """Return the tokens of a mean answer: of those that ended, or more where engines have made more for each request.

    None at all is known of embeddings, so that 0 is a number like any other.
    """
    requests, tokens = made
    least = tokens / requests if requests >= _ENOUGH else 0.0
    return max(_PER_ANSWER if known is None else known[0], least)


def making(state: State, demand: Demand, now: float, looks: Mapping[str, Look], fresh: float) -> State:
    """Take in what engines made for the requests of about the last hour: also of answers that are not finished.

    For those that are there already at the first look they make some, too, so these count as if they had just come.
    """
    if state.demand is None:
        return replace(state, made=(float(demand.in_flight + demand.held), 0.0))
    seconds = now - state.now if state.now is not None else 0.0
    if not 0 < seconds <= fresh:
        return state
    pairs = [(state.engines[name], look) for name, look in looks.items() if name in state.engines]
    counts = [(then.generated_tokens, engine.generated_tokens) for (_, then), (_, engine) in pairs]
    tokens = sum(max(0.0, later - sooner) for sooner, later in counts if sooner is not None and later is not None)
    kept, came = 0.5 ** (seconds / _MADE_SECONDS), max(0.0, demand.requests - state.demand.requests)
    return replace(state, made=(state.made[0] * kept + came, state.made[1] * kept + tokens))


def mean_answer(before: Demand | None, now: Demand, known: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the tokens of a mean answer, and how many answers weigh in it; None until one has ended."""
    answers = now.answers - (before.answers if before else 0.0)
    tokens = now.tokens_out - (before.tokens_out if before else 0.0)
    if answers < _COUNT or tokens < 0:
        return known
    mean, weight = known or (0.0, 0.0)
    return mean + answers / (answers + weight) * (tokens / answers - mean), min(_ANSWERS, weight + answers)


def mean_prompt(
    before: Demand | None, now: Demand, known: tuple[float, float, float] | None
) -> tuple[float, float, float] | None:
    """Return tokens and pairs of a mean prompt, and how many prompts weigh in it; None until one has come."""
    requests = now.requests - (before.requests if before else 0.0)
    tokens, pairs = now.tokens_in - (before.tokens_in if before else 0.0), now.pairs - (before.pairs if before else 0.0)
    if requests < _COUNT or tokens < 0 or pairs < 0:
        return known
    length, squares, weight = known or (0.0, 0.0, 0.0)
    share = requests / (requests + weight)
    length, squares = length + share * (tokens / requests - length), squares + share * (pairs / requests - squares)
    return length, squares, min(_PROMPTS, weight + requests)


def observe(state: State, demand: Demand, now: float, estimate: Estimate, fresh: float) -> State:
    """Take in one look at the routers. A gap, or a clock that jumped, ends what is known without a gap."""
    before, then = state.demand, state.now
    seconds = now - then if then is not None else 0.0
    per_answer = mean_answer(before, demand, state.per_answer)
    per_prompt = mean_prompt(before, demand, state.per_prompt)
    state = replace(state, per_answer=per_answer, per_prompt=per_prompt, came=False)
    if before is None or not 0 < seconds <= fresh:
        kept = () if seconds < 0 else state.bins
        return replace(state, now=now, since=now, demand=demand, ticks=(), bins=kept)
    work = arrived(before, demand, answer(per_answer, state.made), estimate)
    if work is None:
        return replace(state, now=now, demand=demand)
    bins = add(state.bins, now - seconds, work, seconds)
    ticks = add(state.ticks, now - seconds, work, seconds, TICK_SECONDS)[-_TICKS:]
    return replace(state, now=now, demand=demand, bins=bins, ticks=ticks, came=work > 0)


def add(bins: tuple[Bin, ...], at: float, work: float, seconds: float, length: float = BIN_SECONDS) -> tuple[Bin, ...]:
    """Put the work of `seconds` from `at` on into bins that are cut at `length` sharp, however long a look is."""
    rate, end = work / seconds, at + seconds
    found = list(bins)
    while end - at > _INSTANT:
        last = found[-1] if found else None
        if last and last.seconds < length - _INSTANT and abs(at - last.at - last.seconds) < seconds:
            part = min(end - at, length - last.seconds)
            both = last.seconds + part
            found[-1] = Bin(last.at, (last.rate * last.seconds + rate * part) / both, both)
        else:
            part = min(end - at, length)
            found.append(Bin(at, rate, part))
        at += part
    return tuple(found[-MOST_BINS:])


def recent(bins: Sequence[Bin], seconds: float) -> float:
    """Return the mean rate of the last `seconds`, as far as known; 0 where nothing is."""
    work = length = 0.0
    for each in reversed(bins):
        if length >= seconds:
            break
        part = min(each.seconds, seconds - length)
        work += each.rate * part
        length += part
    return work / length if length else 0.0


def grain(ticks: Sequence[Bin]) -> float:
    """Return E[S^2] / E[S] of the requests' work (s of a replica), as the fluctuation of the ticks shows it."""
    whole = (each.rate * each.seconds for each in ticks if each.seconds > TICK_SECONDS - _INSTANT)
    pairs = itertools.pairwise(whole)
    shares = sorted((b - a) ** 2 / (a + b) for a, b in pairs if a + b > 0)
    if not shares:
        return 0.0
    cap = shares[len(shares) * 9 // 10]
    return sum(min(share, cap) for share in shares) / len(shares) / _CAPPED


def trend(bins: Sequence[Bin], ahead: float) -> float:
    """Return by how much the rate will have grown after `ahead` seconds; 0 where it does not certainly grow."""
    first = bins[-1].at - max(2 * ahead, 20 * BIN_SECONDS) if bins else 0.0
    points = [(each.at, each.rate) for each in bins if each.at >= first and each.seconds > BIN_SECONDS / 2]
    count = len(points)
    if count < 12:
        return 0.0
    middle = sum(at for at, _ in points) / count
    mean = sum(rate for _, rate in points) / count
    spread = sum((at - middle) ** 2 for at, _ in points)
    slope = sum((at - middle) * rate for at, rate in points) / spread
    rest = sum((rate - mean - slope * (at - middle)) ** 2 for at, rate in points)
    error = math.sqrt(rest / (count - 2) / spread)
    return max(0.0, slope * ahead) if slope > 2 * error else 0.0
