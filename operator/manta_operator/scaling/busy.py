"""How many replicas the requests under way occupy, whatever is thought of what comes: these are not taken away. Pure.

    busy  = ready x max(work, room) / utilisation
    work  = served / speed                                what the engines do, of what they can do         capacity.py
    room  = mean of the KV cache that is in use

Demand is counted when it comes, and answers of many minutes are under way long after: who came an hour ago still needs
a place. It only keeps what there is: to ask for more is for demand and queues. What a replica has not finished when it
has drained is cut off all the same (spec.rollout.drainSeconds): no number of replicas finishes an answer sooner.
"""

from manta_operator.scaling.settings import Target
from manta_operator.scaling.signals import Signals
from manta_operator.scaling.state import State


def busy(target: Target, state: State, signals: Signals) -> float:
    """Return the replicas that what is under way occupies; 0 where no engine could be seen."""
    engines, known = signals.engines.values(), state.capacity
    if not engines:
        return 0.0
    room = sum(min(1.0, engine.kv_usage) for engine in engines) / len(engines)
    return signals.replicas.ready * max(known.served / known.speed, room) / target.utilisation
