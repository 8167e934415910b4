"""Who asks, and may they: the key's tenant, the models it may use, its limits. Pure but for what `Keyring` reads."""

from manta_runtime.router.picker import decision
from manta_runtime.router.picker.decision import Refused
from manta_runtime.router.picker.keys import Keyring
from manta_runtime.router.picker.limits import Charge, Limits, Over
from manta_runtime.router.picker.models_list import ModelsList
from manta_runtime.router.picker.request import Request
from manta_runtime.router.picker.tenants import ANONYMOUS, Tenant, Tenants

_FORMS = b"multipart/"
_NAMELESS = (
    "this key is good for some models only: name one in the form's field `model`, once, and send the form as "
    "multipart/form-data with a quoted name for each part"
)


class Access:
    """Without a keyring everybody is the tenant `anonymous`."""

    def __init__(self, keyring: Keyring | None, tenants: Tenants, limits: Limits, models: ModelsList) -> None:
        self._keyring = keyring
        self._tenants = tenants
        self._limits = limits
        self._models = models

    @property
    def open(self) -> bool:
        """Whether anybody may ask without a key."""
        return self._keyring is None

    def who(self, headers: dict[bytes, bytes]) -> Tenant | Refused:
        """The tenant that asks."""
        if self._keyring is None:
            return self._tenants.get(ANONYMOUS)
        name = self._keyring.tenant_of(headers)
        if name is None:
            why = self._keyring.denial(headers)
            return decision.denied(why.text, why.status, why.kind, why.code, why.headers)
        return self._tenants.get(name)

    def early(self, tenant: Tenant, now: float) -> Refused | None:
        """What speaks against any request of the tenant, before its body costs us anything."""
        over = self._limits.check(tenant, None, now)
        return None if over is None else _limited(over)

    def may(self, tenant: Tenant, request: Request, content_type: bytes, now: float) -> Refused | None:
        """What speaks against the request; None: nothing."""
        model = request.model
        if model is None:  # the engine takes its own, or finds one in a form that we cannot read
            if tenant.models is not None and content_type[:10].lower() == _FORMS:
                return decision.bad_request(_NAMELESS, "invalid_value")
            allowed = tenant.allows(self._models.default)
        else:
            allowed = model in self._models.names and (tenant.models is None or model in tenant.models)
        if not allowed:
            return decision.unknown_model(model or self._models.default, self._models.visible(tenant))
        over = self._limits.check(tenant, request, now)
        return None if over is None else _limited(over)

    def is_unsure(self, tenant: Tenant, request: Request) -> bool:
        """Whether a model that is not known yet may still turn out to exist, as far as this tenant is concerned."""
        model, models = request.model, self._models
        return not models.complete and model is not None and model not in models.names and tenant.allows(model)

    def started(self, tenant: Tenant, request: Request, now: float) -> Charge | None:
        """Charge a request that was let in."""
        return self._limits.started(tenant, request, now)

    def ended(self, charge: Charge | None, tokens: int | None, now: float, sent: int | None = None) -> None:
        """Settle the charge; see `Limits.ended`."""
        if charge is not None:
            self._limits.ended(charge, tokens, now, sent)

    def taken_back(self, charge: Charge | None, now: float) -> None:
        """The request will be charged anew; see `Limits.taken_back`."""
        self._limits.taken_back(charge, now)


def _limited(over: Over) -> Refused:
    return decision.too_many(over.text, over.kind, over.code, over.retry_after or 0)
