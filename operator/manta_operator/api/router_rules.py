"""The CEL rules about `spec.router`. They stand on `spec`, for they read what has a default of its own."""

from manta_operator.api.rule import Rule

_NO_SESSION = (
    "authorization", "x-api-key", "x-request-id", "host", "connection", "content-length", "expect", "keep-alive",
    "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip
"""What Envoy makes or takes away by itself, passed on to the picker as a client said it, breaks every request."""
_GATEWAY_ALONE = "self.router.mode != 'inference-pool' || !has(self.router.{})"

ROUTER_RULES = (
    Rule(
        "has(self.router.auth) || self.router.tenants.all(t, t.name == 'anonymous')",
        "without API keys everybody is the tenant anonymous, and no other entry has an effect: "
        "name a Secret of keys in spec.router.auth.secret, or limit anonymous",
        field_path=".router.tenants",
    ),
    Rule(
        "!self.router.session.header.matches('^x-(manta|envoy|gateway)-')",
        "clients cannot send headers that begin with x-manta-, x-envoy- or x-gateway-, the router removes them: "
        "choose another name",
        field_path=".router.session.header",
    ),
    Rule(
        f"!(self.router.session.header in {list(_NO_SESSION)})",
        "this header is for keys, or belongs to the connection, or is the router's own: choose one in which clients "
        "name their session, such as x-session-id",
        field_path=".router.session.header",
    ),
    Rule(
        _GATEWAY_ALONE.format("cache"),
        "in mode inference-pool answers do not come by the router: leave the cache out, or use mode envoy",
        field_path=".router.cache",
    ),
    Rule(
        _GATEWAY_ALONE.format("tracing"),
        "in mode inference-pool the gateway makes the traces: set them up there, or use mode envoy",
        field_path=".router.tracing",
    ),
)
