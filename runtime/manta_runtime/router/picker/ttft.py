"""What a choice costs: the expected time to the first token on each replica, and the delay it causes to others.

In tokens of prefill work (divide by the rate for seconds). A replica computes prompts in the order in which they come
(vLLM's chunked prefill), so a request waits for the prompts sent before it, then computes what is not cached:

    time to first token = (pending + uncached) · (1 + decode interference) / rate

This is the estimate of Mooncake's Conductor (Qin et al., FAST'25, §6.1), which takes the replica with the smallest.
Alone it spreads a prefix over every replica as soon as there is a short queue: it counts what recomputing costs the
request itself and not what it costs the requests behind it, and what it pushes out of a cache. Preble (Srivatsa et
al., 2024, §3.2) adds such terms. We weigh uncached tokens by `1 + EXTERNALITY`.
"""

# How many later requests wait for each recomputed token, and what it pushes out of the cache; see ADR 0014.
EXTERNALITY = 1.0
# A running request takes this share of a step's time from prefill: one decode token in a step of 2,048, and as much
# again several times over for reading its KV cache.
INTERFERENCE = 1 / 256
# Until the first rate is learned; only its ratio to other replicas' matters then.
NOMINAL_RATE = 8000.0


def work(pending: int, uncached: int, running: int) -> float:
    """Weighed prefill tokens until the first token of a request, and behind it."""
    return (pending + uncached * (1.0 + EXTERNALITY)) * (1.0 + running * INTERFERENCE)


def seconds(pending: int, uncached: int, running: int, rate: float) -> float:
    """The expected time to the first token in seconds."""
    return (pending + uncached) * (1.0 + running * INTERFERENCE) / (rate or NOMINAL_RATE)
