"""What holds for all tests: examples of hypothesis, schemas of Kubernetes, what is garbage, parts of a run."""

import functools
import gc
import zlib

import kubernetes_validate.utils as kubernetes_schemas
from hypothesis import HealthCheck, settings

# How fast examples come says how busy the machine is, nothing about the code; the same ones in every run fail for the
# same reason on every machine. `make hostile` and `make chaos` look further, with seeds.
settings.register_profile("manta", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("manta")

# `kubernetes_validate.validate` reads a megabyte of JSON for every object: 17 ms each, for the same few files.
kubernetes_schemas.schema_contents = functools.cache(kubernetes_schemas.schema_contents)

# Next to nothing that is imported and collected is garbage, and each look for some goes through all of it.
gc.disable()


def pytest_addoption(parser):
    parser.addoption("--part", default="1/1", metavar="I/N", help="run only the files of the I-th of N parts")


def pytest_ignore_collect(collection_path, config):
    """Leave the files of the other parts to the processes that run those; by its name, a file stays in its part."""
    number, parts = map(int, config.getoption("part").split("/"))
    place = collection_path.relative_to(config.rootpath).as_posix().encode()
    return True if collection_path.is_file() and zlib.crc32(place) % parts != number - 1 else None


def pytest_collection_finish():
    """Leave what imports and collection have made, 200,000 objects, out of every later look for garbage."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)  # with Python's 700, tests spend a tenth of their time on looks
    gc.enable()
