"""Who may use what: `tenants.yaml`, which the operator writes from `spec.router.tenants`, read anew when it changes.

A file that cannot be used changes nothing: the last good one counts on, and the log says what is wrong where.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from manta_runtime.router.picker.reloading import Stamp, stamp

log = logging.getLogger(__name__)

ANONYMOUS = "anonymous"
"""The tenant of everybody where no keys are asked for."""
NAME = r"^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$"
LONGEST_NAME = 63
_MOST = 1 << 53


@dataclass(frozen=True, slots=True)
class Tenant:
    """What one tenant may do; None: as much as it likes. `weight`: share of the queue among equal priorities."""

    name: str
    models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    priority: int = 0
    weight: int = 1

    @property
    def limited(self) -> bool:
        """Whether anything of it has to be counted."""
        return not (self.requests_per_minute is self.tokens_per_minute is self.concurrency is None)

    def allows(self, model: str) -> bool:
        """Whether it may use the model."""
        return self.models is None or model in self.models


class TenantsError(ValueError):
    """tenants.yaml cannot be used; the message names the file, the entries and what is wrong with each."""


_Limit = Annotated[int, Field(ge=0, le=_MOST)] | None


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=False
    )


class _Entry(_Strict):
    name: Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
    models: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    requests_per_minute: _Limit = None
    tokens_per_minute: _Limit = None
    concurrency: _Limit = None
    priority: int = 0
    weight: Annotated[int, Field(ge=1, le=100)] = 1


class _File(_Strict):
    tenants: Annotated[tuple[_Entry, ...], Field(strict=False)] = ()


class Tenants:
    """The tenants by name. `ready` tells that a file was read, or that there is none, at least once."""

    def __init__(self) -> None:
        self._tenants: dict[str, Tenant] = {}
        self._unlisted: dict[str, Tenant] = {}  # made once each: there are no more of them than of files with keys
        self._seen: Stamp | None = None
        self.ready = False

    def get(self, name: str) -> Tenant:
        """The tenant; one that the file does not name has no limits."""
        tenant = self._tenants.get(name) or self._unlisted.get(name)
        if tenant is None:
            tenant = self._unlisted[name] = Tenant(name)
        return tenant

    @property
    def names(self) -> tuple[str, ...]:
        """Those that the file names."""
        return tuple(self._tenants)

    def refresh(self, file: Path) -> bool:
        """Reload if the file is another one than at the last call; return whether it was. Never raises."""
        seen = stamp(file)
        if seen == self._seen:
            return False
        self._seen = seen
        self.reload(file)
        return True

    def reload(self, file: Path) -> None:
        """Read the file; one that is not there means no limits for anybody. Never raises."""
        try:
            self._tenants = parse(file.read_text(encoding="utf-8"), str(file))
        except FileNotFoundError:
            self._tenants = {}
        except (OSError, UnicodeDecodeError, TenantsError) as error:
            kept = f"the {len(self._tenants)} tenants of before count on" if self.ready else "no tenant has limits yet"
            log.error("%s; %s", error if isinstance(error, TenantsError) else f"cannot read {file}: {error}", kept)  # noqa: TRY400
            return
        self.ready = True
        log.info("%s: limits for %d tenants", file, len(self._tenants))


def parse(text: str, source: str = "tenants.yaml") -> dict[str, Tenant]:
    """Parse YAML text; TenantsError says what is wrong in `source`, entry by entry."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TenantsError(f"{source} is not YAML: {error}") from error
    try:
        entries = _File.model_validate({} if document is None else document).tenants
    except ValidationError as error:
        problems = "; ".join(f"{_place(item['loc'], document)}: {item['msg']}" for item in error.errors())
        raise TenantsError(f"{source} cannot be used: {problems}") from error
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TenantsError(f"{source} cannot be used: named more than once: {', '.join(twice)}")
    return {entry.name: _tenant(entry) for entry in entries}


def _tenant(entry: _Entry) -> Tenant:
    fields = entry.model_dump(exclude={"models"})
    return Tenant(**fields, models=None if entry.models is None else frozenset(entry.models))


def _place(location: tuple[int | str, ...], document: Any) -> str:
    """The path of a problem, with the tenant's name where it has one."""
    path = ".".join(map(str, location)) or "the file"
    try:
        return f"{path} ({document[location[0]][location[1]]['name']})"
    except (LookupError, TypeError):
        return path
