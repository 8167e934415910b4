"""How many more replicas the cluster has place for: what a surge needs against what is free. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """Free places: whole groups that fit beside everything that runs, and the sentence that says how that was seen."""

    groups: int
    sentence: str
