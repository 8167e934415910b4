"""What a choice costs: the expected time to the first token on each replica, and the delay it causes to others.

Unit: work, the time to compute one token at the start of a prompt (divide by a replica's rate for seconds). A replica
computes prompts in the order in which they come (vLLM's chunked prefill), so a request waits for the prompts sent
before it, then computes what is not cached of its own:

    time to first token = (pending + work) · (1 + decode interference) / rate

This is the estimate of Mooncake's Conductor (Qin et al., FAST'25, section 6), which takes the replica with the least.
Alone it spreads a prefix over every replica as soon as there is a short queue: it counts what recomputing costs the
request itself, not what it costs the requests behind it and what it pushes out of a cache. Preble (Srivatsa et al.,
2024, section 3) adds such terms. Here own work counts `1 + EXTERNALITY` times, and a replica that has got much more
than the others, of requests or of tokens, costs more (`excess`): a soft form of consistent hashing with bounded loads
(Mirrokni et al., 2016). ADR 0014 has the reasons.
"""

# How many times a recomputed token is paid for by others: at a utilization of 0.8 about 4 requests wait for it
# (0.8 / (1 - 0.8)), and it pushes a token out of the cache that as many would have wanted. From 5 to 16 changes little.
EXTERNALITY = 8.0
# Tokens of context at which attention costs as much as the weights: parameters / (2 · layers · hidden), about
# 6 · hidden (Kaplan et al., 2020, table 1). 24,000 to 49,000 for models of 8 to 70 billion parameters.
ATTENTION_TOKENS = 32768
# A running request takes this share of a prefill step: its own token and the reading of its KV cache.
INTERFERENCE = 1 / 1024
# Until the first rate is learned.
NOMINAL_RATE = 8000.0
# A replica that got this much more than the mean, of prompt tokens over minutes or of requests in flight, is no better
# than to recompute the whole prompt elsewhere. The fourth power: at half of it, a sixteenth as bad.
TOKENS_BOUND, LOAD_BOUND = 0.25, 0.8
# Learned rates this close to the mean are noise: under load a sample says more of queues and decoding than of the
# engine, and those of equal engines differ by a factor of two.
SAME_RATE = 3.0
# With several routers: the share of a prompt that is not cached, presumably, where another router would have sent it.
HOME = 0.4
# Costs this close (in work, weighed) are equal.
TIE = 256.0
# Learned rates beyond this factor of the mean count no more.
_MOST_RATE = 4.0


def work(prompt: int, cached: int) -> float:
    """Work to compute a prompt of `prompt` tokens of which the first `cached` are in the cache."""
    uncached = prompt - cached
    return uncached * (1.0 + (cached + uncached / 2) / ATTENTION_TOKENS)


def excess(above: float, bound: float) -> float:
    """What being `above` the mean (0.3: by 30 %) costs, in multiples of computing the whole prompt."""
    return (above / bound) ** 4 if above > 0.0 else 0.0


def slowness(rate: float, mean: float) -> float:
    """How many times as long as on an average replica work takes on one of this rate; 1 if it is unknown (0)."""
    return min(_MOST_RATE, max(1 / _MOST_RATE, mean / rate)) if rate else 1.0


def seconds(pending: float, own: float, running: int, rate: float) -> float:
    """The expected time to the first token, in seconds."""
    return (pending + own) * (1.0 + running * INTERFERENCE) / (rate or NOMINAL_RATE)
