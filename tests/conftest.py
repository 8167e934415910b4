"""What holds for all tests: how hypothesis looks for examples."""

from hypothesis import HealthCheck, settings

# How fast examples come says how busy the machine is, nothing about the code; the same ones in every run fail for the
# same reason on every machine. `make hostile` and `make chaos` look further, with seeds.
settings.register_profile("manta", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("manta")
