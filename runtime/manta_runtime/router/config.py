"""The router's configuration: `router.yaml` (written by the operator) parsed once, at the edge, into frozen values.

Both containers of a router pod read the same file: `bootstrap.py` builds Envoy's configuration
from it, `picker/` the endpoint picker.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, Field(min_length=1)]


class ConfigError(Exception):
    """router.yaml cannot be used; the message names the file, the fields and what is wrong with each."""


class RouterConfig(BaseModel):
    """What the operator tells a router. Sizes are bytes, times are seconds."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=False
    )

    deployment: Text
    namespace: Text
    served_names: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
    selector: Text
    policy: Literal["least-load"] = "least-load"
    listen_port: Port = 8000
    picker_port: Port = 9002
    access_log_port: Port = 9003
    health_port: Port = 9901
    engine_port: Port = 8000
    drain_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    max_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20


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
