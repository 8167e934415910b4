"""What `/metrics` says of the autoscaler, and that it says nothing of what is gone."""

from manta_operator.controller import metrics, metrics_scaling
from manta_operator.scaling.decide import Decision

KEY = ("default", "measured")
NUMBERS = {"need": 2.6, "load": 2.1, "speed": 0.9, "coldStart": 61.0, "waiting": 4.0, "margin": 1.0}
MARK = 'name="measured",namespace="default"'


def exposed() -> list[str]:
    return [line for line in metrics.exposition().decode().splitlines() if MARK in line]


def labelled(metric: str, value: float, more: str = "") -> str:
    return f"{metric}{{{MARK}{more}}} {value}"


def test_a_decision_is_exposed_and_forgotten():
    metrics_scaling.decided(KEY, Decision(3, "3 replicas stay", NUMBERS, "need"), 1)
    metrics_scaling.decided(KEY, Decision(3, "3 replicas stay", NUMBERS, "missing"), 2)
    assert sorted(exposed()) == sorted(
        [
            labelled("manta_autoscaler_replicas", 3.0),
            labelled("manta_autoscaler_needed_replicas", 2.6),
            labelled("manta_autoscaler_load_replicas", 2.1),
            labelled("manta_autoscaler_speed_ratio", 0.9),
            labelled("manta_autoscaler_cold_start_seconds", 61.0),
            labelled("manta_autoscaler_waiting_requests", 4.0),
            labelled("manta_autoscaler_signals_missing", 2.0),
            labelled("manta_autoscaler_decisions_total", 1.0, ',reason="Needed"'),
            labelled("manta_autoscaler_decisions_total", 1.0, ',reason="SignalsMissing"'),
        ]
    )
    metrics_scaling.forgotten(KEY)
    assert exposed() == []
    metrics_scaling.forgotten(KEY)


def test_a_look_is_counted():
    def count() -> float:
        return metrics.REGISTRY.get_sample_value("manta_autoscaler_look_seconds_count") or 0.0

    before = count()
    metrics_scaling.looked(0.02)
    assert count() == before + 1
