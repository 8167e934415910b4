"""An API server's refusal in one sentence that says what to do. Pure."""

import re

from manta_operator.api import names
from manta_operator.cli.rest import CallFailed, unknown_kind

_CERTIFICATE_WORDS = ("certificate", "SSL")
_NO_NAMESPACE = re.compile(r'namespaces "([^"]+)" not found')


def explain(error: CallFailed, title: str, server: str) -> str:
    """Return the sentence.

    Args:
        error: What happened.
        title: The cluster as people call it.
        server: Its address.
    """
    if error.code is None:
        return _unreachable(error, title, server)
    if error.code == 401:
        return f"{title} does not accept the credentials (expired?): log in again, or choose other ones with --context"
    if error.code == 403:
        return f"{error.message}; ask whoever runs {title} for a role that allows it, or choose another --namespace"
    if unknown_kind(error) and names.PLURAL in error.what:
        return (
            f"{title} does not know {names.KIND}: Manta's CustomResourceDefinition is not installed there; "
            "install Manta (docs/install.md), or choose another cluster with --context"
        )
    if error.code == 404 and (lost := _NO_NAMESPACE.match(error.message)):
        return (
            f"{title} has no namespace {lost[1]}: make it with `kubectl create namespace {lost[1]}`, "
            "or choose another one, in metadata.namespace or with --namespace"
        )
    if error.code == 429 or error.code >= 500:
        return f"{title} is in trouble ({error.code}: {error.message}); try again in a minute"
    return str(error)


def _unreachable(error: CallFailed, title: str, server: str) -> str:
    if any(word in error.message for word in _CERTIFICATE_WORDS):
        return f"{title}: {server} cannot be trusted: {error.message}; see certificate-authority in the kubeconfig"
    return (
        f"{title}: {server} does not answer: {error.message}; "
        "is it up, and the way there (network, VPN, proxy)? --context chooses another cluster"
    )
