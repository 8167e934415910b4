"""The router's configuration: `router.yaml` (written by the operator) parsed once, at the edge, into frozen values.

Both containers of a router pod read the same file: `bootstrap.py` builds Envoy's configuration
from it, `picker/` the endpoint picker.
"""

import math
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, Field(min_length=1)]
# Lower case, as Envoy and the picker compare names; none of the headers that steer Envoy.
HeaderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]

_TELLING_SECONDS = 60.0  # Envoy ends a request after requestSeconds, and tells of it at once


class ConfigError(Exception):
    """router.yaml cannot be used; the message names the file, the fields and what is wrong with each."""


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=False
    )


class HoldConfig(_Section):
    """How long a request may wait for a replica, and how many may wait at once. 0 seconds or places: none waits.

    `wake_seconds`: how long while no replica is usable, if that is longer: the first one may have to be started.
    """

    seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    wake_seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    queue_size: Annotated[int, Field(ge=0, le=100_000)] = 1000

    @property
    def longest_seconds(self) -> int:
        """How long a request is held at most: for the first replica, and then for room (`picker/holding.py`)."""
        return self.seconds if self.wake_seconds is None else max(self.wake_seconds, self.seconds) + self.seconds


class CacheConfig(_Section):
    """The response cache's bounds."""

    max_bytes: Annotated[int, Field(ge=1 << 16)]
    ttl_seconds: Annotated[int, Field(ge=1, le=30 * 86400)] = 3600


class TimeoutsConfig(_Section):
    """`request_seconds`: a whole request, retries and streaming included. `first_byte_seconds`: one try's headers."""

    request_seconds: Annotated[int, Field(ge=1, le=7 * 86400)] = 3600
    first_byte_seconds: Annotated[int, Field(ge=1, le=86400)] = 600


class TracingConfig(_Section):
    """Where Envoy sends OpenTelemetry spans (OTLP over HTTP: http://host:port[/path]) and of how many requests."""

    endpoint: Annotated[str, Field(pattern=r"^http://[A-Za-z0-9.\-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/\-]*)?$")]
    sampling_percent: Annotated[int, Field(ge=0, le=100)] = 100


class RouterConfig(_Section):
    """What the operator tells a router. Sizes are bytes, times are seconds."""

    deployment: Text
    namespace: Text
    served_names: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
    selector: Text
    mode: Literal["envoy", "inference-pool"] = "envoy"
    policy: Literal["prefix", "least-load", "round-robin", "session"] = "prefix"
    session_header: HeaderName = "x-session-id"
    max_num_seqs: Annotated[int, Field(ge=1)] | None = None
    router_selector: Text | None = None
    listen_port: Port = 8000
    picker_port: Port = 9002
    health_port: Port = 9901
    engine_port: Port = 8000
    drain_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    max_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20
    hold: HoldConfig = HoldConfig()
    auth: bool = False
    keys_dir: Annotated[Path, Field(strict=False)] = Path("/etc/manta/keys")
    tenants_file: Annotated[Path, Field(strict=False)] = Path("/etc/manta/router/tenants.yaml")
    cache: CacheConfig | None = None
    ext_proc_port: Port = 9005
    timeouts: TimeoutsConfig = TimeoutsConfig()
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    tracing: TracingConfig | None = None

    @property
    def longest_seconds(self) -> float:
        """After which a request has ended, heard or not; gateways have their own timeouts, and tell of every end."""
        return self.timeouts.request_seconds + _TELLING_SECONDS if self.mode == "envoy" else math.inf


def parse(text: str, source: str = "router.yaml") -> RouterConfig:
    """Parse YAML text; ConfigError says what is wrong in `source`, field by field."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{source} must be a mapping of fields, but is {type(document).__name__}")
    try:
        return RouterConfig.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{source} is not a router configuration: {problems}") from error


def load(path: Path) -> RouterConfig:
    """Read and parse the file; ConfigError if it cannot be read or used."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}. Mount the ConfigMap there or pass --config=FILE") from error
    return parse(text, str(path))
