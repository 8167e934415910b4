"""Which models can be asked for here: the served names, and the adapters that any usable replica has.

GET /v1/models is answered from this, so it does not depend on the replica that happens to be asked, nor on there being
one.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from manta_runtime.engine.adapters import TRIAL
from manta_runtime.router.picker.tenants import Tenant

Json = dict[str, Any]


class ModelsList:
    """`served`: names of the base model; `created`: seconds since 1970, told for names that no replica describes."""

    def __init__(self, served: tuple[str, ...], created: int) -> None:
        self._served = served
        self._created = created
        self._told: dict[str, dict[str, Json]] = {}  # replica → name → description
        self._lacked: dict[str, set[str]] = {}  # replica → names that its last answer lacked for the first time
        self._union: dict[str, Json] = {}
        self._usable: frozenset[str] = frozenset()
        self.names: frozenset[str] = frozenset(served)
        self.complete = False
        """Whether all usable replicas have told, and one at least: what is not among `names` does not exist."""
        self._refresh()

    @property
    def default(self) -> str:
        """The model of a request that names none."""
        return self._served[0]

    def learn(self, replica: str, body: bytes) -> frozenset[str]:
        """A replica's own answer; returns its adapters. ValueError if it is not a list of models.

        An adapter that is being replaced is missing for a few milliseconds (docs/adapters.md): only two answers in a
        row that lack a name take it away. Names of adapters on trial are nobody's to ask for.
        """
        try:
            data = msgspec.json.decode(body)["data"]
            told = {name: dict(model) for model in data if not (name := str(model["id"])).endswith(TRIAL)}
        except (msgspec.DecodeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not a list of models: {error}") from error
        before = self._told.get(replica, {})
        self._lacked[replica] = before.keys() - told.keys() - self._lacked.get(replica, set())
        told |= {name: before[name] for name in self._lacked[replica]}
        if self._told.get(replica) != told:
            self._told[replica] = told
            self._refresh()
        return frozenset(told).difference(self._served)

    def doubts(self, replica: str) -> bool:
        """Whether the replica's last answer lacked a name for the first time: it is to be asked again soon."""
        return bool(self._lacked.get(replica))

    def tells_none(self, replica: str) -> None:
        """A replica has answered, but not with a list of models: what it told before holds."""
        if replica not in self._told:
            self._told[replica] = {}
            self._refresh()

    def keep_only(self, replicas: Iterable[str]) -> None:
        """Forget replicas that are not usable any more; the last one's adapters stay until another tells its own."""
        self._usable = frozenset(replicas)
        kept = {name: told for name in self._usable if (told := self._told.get(name)) is not None}
        if kept:
            self._told = kept
        self._lacked = {name: lacked for name, lacked in self._lacked.items() if name in self._told}
        self._refresh()

    def visible(self, tenant: Tenant) -> list[str]:
        """The names that the tenant may use."""
        return [name for name in self._union if tenant.allows(name)]

    def answer(self, tenant: Tenant) -> bytes:
        """The body of GET /v1/models."""
        data = [model for name, model in self._union.items() if tenant.allows(name)]
        return msgspec.json.encode({"object": "list", "data": data})

    def one(self, name: str, tenant: Tenant) -> bytes | None:
        """The body of GET /v1/models/{name}; None if there is none that the tenant may use."""
        model = self._union.get(name)
        return msgspec.json.encode(model) if model is not None and tenant.allows(name) else None

    def _refresh(self) -> None:
        union = {name: self._bare(name) for name in self._served}
        for told in self._told.values():
            for name, model in told.items():
                if name not in union or "root" not in union[name]:
                    union[name] = model
        self._union = union
        self.names = frozenset(union)
        self.complete = bool(self._told) and self._usable <= self._told.keys()

    def _bare(self, name: str) -> Json:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "vllm"}
