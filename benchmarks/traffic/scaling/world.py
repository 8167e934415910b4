"""The box of the autoscaling test: engines so slow that a few requests a second fill them, on a machine of two cores.

A step of the simulator takes 6 ms / SPEED, four sequences run at once: about 68 tokens a second, which are 1.4 of the
driver's requests, of 47 tokens in the mean.
"""

from traffic.api import Object

SPEED = 0.1
SEQUENCES = 4
STARTUP_SECONDS = 3.0
HOLD_SECONDS = 60
TIMEOUT_SECONDS = 600.0
"""How long a client waits: longer than anything here may take."""


def changes(journal: str, autoscaling: Object, **more: Object) -> Object:
    """Return what the deployment of the traffic test has otherwise here; `more`: further fields of the spec."""
    args = [f"--simulate-startup-seconds={STARTUP_SECONDS:g}", f"--simulate-speed={SPEED:g}"]
    engine = {"maxNumSeqs": SEQUENCES, "args": [*args, f"--simulate-journal={journal}"]}
    return {"engine": engine, "rollout": {"drainSeconds": 120}, "autoscaling": autoscaling} | more


def autoscaling(least: int = 1, most: int = 5, **more: object) -> Object:
    """Return a spec.autoscaling that goes down within a test, too."""
    behaviour = {"stabilisationSeconds": 20, "downSeconds": 10}
    return {"minReplicas": least, "maxReplicas": most, "behaviour": behaviour} | more
