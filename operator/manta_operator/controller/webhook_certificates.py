"""The certificates of the admission webhook: made here for some days, or read from files that somebody else renews.

A process makes its own authority, signs one certificate with it and forgets the authority's key: nothing secret is ever
stored, and nothing else can be signed. What is published is the authority's certificate alone (`webhook_bundle`).
"""

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

LASTS_DAYS = 30.0
RENEWED_AFTER = 2 / 3
"""Of that time."""
SLACK = timedelta(hours=1)
"""How far behind the clock of an API server may be."""
CERTIFICATE, KEY = "tls.crt", "tls.key"
"""Names of the files in a Secret of type kubernetes.io/tls, mounted."""


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, in PEM."""

    chain: bytes
    key: bytes
    authority: str = ""
    """Certificate of who signed it; empty where others see to it that it is trusted."""
    renew_at: float = float("inf")
    """Epoch seconds."""


def make(names: tuple[str, ...], now: float, days: float = LASTS_DAYS) -> Certificate:
    """Make a certificate for DNS names or addresses.

    Args:
        names: What the API server calls the server.
        now: Epoch seconds.
        days: How long it is good for.
    """
    begins = datetime.fromtimestamp(now, UTC)
    authority = trustme.CA(organization_name="Manta admission webhook")
    made = authority.issue_cert(
        *names, common_name=names[0][:64], not_before=begins - SLACK, not_after=begins + timedelta(days=days)
    )
    return Certificate(
        chain=b"".join(blob.bytes() for blob in made.cert_chain_pems),
        key=made.private_key_pem.bytes(),
        authority=authority.cert_pem.bytes().decode(),
        renew_at=now + days * RENEWED_AFTER * 86400,
    )


def read(folder: Path) -> Certificate:
    """Read the certificate that somebody else keeps in a folder. Raises OSError."""
    return Certificate((folder / CERTIFICATE).read_bytes(), (folder / KEY).read_bytes())


def empty_context() -> ssl.SSLContext:
    """Return a server's context that has no certificate yet: no handshake succeeds."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def context_of(certificate: Certificate) -> ssl.SSLContext:
    """Return a server's context. Raises ssl.SSLError: certificate and key do not belong together, or are none."""
    context = empty_context()
    replace(context, certificate)
    return context


def replace(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Have new connections see another certificate; those that are open go on.

    OpenSSL takes files alone: the key is in one, which only we can read, for a moment.

    Raises:
        ssl.SSLError: certificate and key do not belong together, or are none; what was shown is shown on.
    """
    with tempfile.NamedTemporaryFile(prefix="manta-webhook-") as file:
        file.write(certificate.key + certificate.chain)
        file.flush()
        empty_context().load_cert_chain(file.name)  # a context that has refused a key has lost the one it had
        context.load_cert_chain(file.name)
