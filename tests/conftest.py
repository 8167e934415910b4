"""What holds for all tests: examples of hypothesis, how often the schemas of Kubernetes are read, what is garbage."""

import functools
import gc

import kubernetes_validate.utils as kubernetes_schemas
from hypothesis import HealthCheck, settings

# How fast examples come says how busy the machine is, nothing about the code; the same ones in every run fail for the
# same reason on every machine. `make hostile` and `make chaos` look further, with seeds.
settings.register_profile("manta", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("manta")

# `kubernetes_validate.validate` reads a megabyte of JSON for every object: 17 ms each, for the same few files.
kubernetes_schemas.schema_contents = functools.cache(kubernetes_schemas.schema_contents)


def pytest_collection_finish():
    """Leave what imports and collection have made, 200,000 objects, out of every later look for garbage."""
    gc.collect()
    gc.freeze()
