"""vLLM 0.32's metrics, name for name (compared in tests/e2e): moved where the simulator models them, 0 elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from manta_runtime.simulator.scheduler import Scheduler, Sequence
    from manta_runtime.simulator.settings import Settings

_SECONDS = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_FIRST = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
_BETWEEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_HISTOGRAMS: dict[str, tuple[float, ...]] = {
    "request_prompt_tokens": _TOKENS,
    "request_generation_tokens": _TOKENS,
    "iteration_tokens_total": (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    "request_max_num_generation_tokens": _TOKENS,
    "request_params_n": (1, 2, 5, 10, 20),
    "request_params_max_tokens": _TOKENS,
    "time_to_first_token_seconds": _FIRST,
    "inter_token_latency_seconds": _BETWEEN,
    "request_time_per_output_token_seconds": _BETWEEN,
    "e2e_request_latency_seconds": _SECONDS,
    "request_queue_time_seconds": _SECONDS,
    "request_inference_time_seconds": _SECONDS,
    "request_prefill_time_seconds": _SECONDS,
    "request_decode_time_seconds": _SECONDS,
    "request_num_preemptions": (1, 2, 3, 4, 5, 10, 20),
    "request_prefill_kv_computed_tokens": _TOKENS,
}
_COUNTERS = (
    "estimated_flops_per_gpu", "estimated_read_bytes_per_gpu", "estimated_write_bytes_per_gpu", "prefix_cache_queries",
    "prefix_cache_hits", "external_prefix_cache_queries", "external_prefix_cache_hits", "mm_cache_queries",
    "mm_cache_hits", "num_preemptions", "prompt_tokens", "prompt_tokens_cached", "generation_tokens",
)  # fmt: skip
_BY_LABEL: dict[str, tuple[str, tuple[str, ...]]] = {
    "prompt_tokens_by_source": ("source", ("local_compute", "local_cache_hit", "external_kv_transfer")),
    "prompt_tokens_cached_by_source": ("source", ("device", "host", "p2p", "disk", "external_unspecified")),
    "request_success": ("finished_reason", ("stop", "length", "abort", "error", "repetition")),
}


@dataclass(frozen=True)
class Times:
    """When a request came, was first computed, had its first and its last token (seconds of one clock)."""

    arrived: float
    scheduled: float
    first: float
    last: float


class Metrics:
    """One engine's metrics, in a registry of their own."""

    def __init__(self, settings: Settings, scheduler: Scheduler) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # routers tell by its start that an engine is another one
        self._labels = {"engine": "0", "model_name": settings.served_names[0]}
        names = tuple(self._labels)
        self._count = {
            name: Counter(f"vllm:{name}", name, names, registry=self._registry).labels(**self._labels)
            for name in _COUNTERS
        }
        self._observe = {
            name: Histogram(f"vllm:{name}", name, names, buckets=buckets, registry=self._registry).labels(
                **self._labels
            )
            for name, buckets in _HISTOGRAMS.items()
        }
        self._by_label = {name: self._family(name, *found) for name, found in _BY_LABEL.items()}
        self._gauges(scheduler, settings)
        rejected = Counter("vllm:admission_rejections", "-", ("model_name", "reason"), registry=self._registry)
        self._rejected = rejected.labels(self._labels["model_name"], "max_num_queued_reqs")
        rejected.labels(self._labels["model_name"], "max_num_queued_tokens")

    def _family(self, name: str, label: str, values: tuple[str, ...]) -> dict[str, Counter]:
        family = Counter(f"vllm:{name}", name, (*self._labels, label), registry=self._registry)
        return {value: family.labels(**self._labels, **{label: value}) for value in values}

    def _gauge(self, name: str, **labels: str) -> Gauge:
        every = self._labels | labels
        return Gauge(f"vllm:{name}", name, tuple(every), registry=self._registry).labels(**every)

    def _gauges(self, scheduler: Scheduler, settings: Settings) -> None:
        self._gauge("num_requests_running").set_function(lambda: len(scheduler.running))
        self._gauge("num_requests_waiting").set_function(lambda: len(scheduler.waiting))
        cache = scheduler.cache
        self._gauge("kv_cache_usage_perc").set_function(lambda: cache.used / cache.total)
        reasons = Gauge("vllm:num_requests_waiting_by_reason", "-", (*self._labels, "reason"), registry=self._registry)
        reasons.labels(**self._labels, reason="capacity").set_function(lambda: len(scheduler.waiting))
        reasons.labels(**self._labels, reason="deferred").set(0)
        sleeping = Gauge("vllm:engine_sleep_state", "-", (*self._labels, "sleep_state"), registry=self._registry)
        for state in ("awake", "weights_offloaded", "discard_all"):
            sleeping.labels(**self._labels, sleep_state=state).set(state == "awake")
        limits = settings.limits
        config = {
            "block_size": str(limits.block_size),
            "enable_prefix_caching": str(limits.prefix_caching),
            "num_gpu_blocks": str(limits.blocks),
        }
        self._gauge("cache_config_info", **config).set(1)

    def step(self, tokens: int, preempted: int) -> None:
        """A step has computed `tokens` and taken the blocks of `preempted` sequences."""
        self._observe["iteration_tokens_total"].observe(tokens)
        self._count["num_preemptions"].inc(preempted)

    def first_token(self, sequence: Sequence, seconds: float) -> None:
        """A prompt has been computed, `seconds` after it came."""
        self._observe["time_to_first_token_seconds"].observe(seconds)
        cached, prompt = sequence.cached, sequence.prompt_tokens
        self._count["prompt_tokens"].inc(prompt)
        self._count["prefix_cache_queries"].inc(prompt)
        self._count["prefix_cache_hits"].inc(cached)
        self._count["prompt_tokens_cached"].inc(cached)
        self._count["generation_tokens"].inc()
        self._by_label["prompt_tokens_by_source"]["local_compute"].inc(prompt - cached)
        self._by_label["prompt_tokens_by_source"]["local_cache_hit"].inc(cached)
        self._by_label["prompt_tokens_cached_by_source"]["device"].inc(cached)

    def next_token(self, seconds: float) -> None:
        """A sequence got one more token, `seconds` after the one before."""
        self._observe["inter_token_latency_seconds"].observe(seconds)
        self._count["generation_tokens"].inc()

    def ended(self, sequence: Sequence, reason: str, times: Times, asked: int, n: int) -> None:
        """A sequence is complete; its request allowed `asked` tokens and wanted `n` answers."""
        decode = times.last - times.first
        found = {
            "request_prompt_tokens": sequence.prompt_tokens,
            "request_generation_tokens": sequence.generated,
            "request_max_num_generation_tokens": sequence.generated,
            "request_params_n": n,
            "request_params_max_tokens": asked,
            "request_num_preemptions": sequence.preemptions,
            "request_prefill_kv_computed_tokens": sequence.prompt_tokens - sequence.cached,
            "e2e_request_latency_seconds": times.last - times.arrived,
            "request_queue_time_seconds": times.scheduled - times.arrived,
            "request_inference_time_seconds": times.last - times.scheduled,
            "request_prefill_time_seconds": times.first - times.scheduled,
            "request_decode_time_seconds": decode,
            "request_time_per_output_token_seconds": decode / max(1, sequence.generated - 1),
        }
        for name, value in found.items():
            self._observe[name].observe(value)
        self._by_label["request_success"][reason].inc()

    def rejected(self) -> None:
        """A request found the queue full."""
        self._rejected.inc()

    def aborted(self) -> None:
        """A client left before its answer was complete."""
        self._by_label["request_success"]["abort"].inc()

    def render(self) -> bytes:
        """Prometheus' text."""
        return generate_latest(self._registry)
