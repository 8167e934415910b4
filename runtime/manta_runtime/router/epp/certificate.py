"""The certificate of the endpoint picker: a mounted one, or one made for this process.

Gateways dial the picker with TLS and do not verify it (the protocol's reference picker signs its own certificate, too).
"""

from dataclasses import dataclass
from pathlib import Path

import trustme

FOLDER = Path("/etc/manta/epp-tls")


@dataclass(frozen=True)
class Certificate:
    """PEM."""

    key: bytes
    chain: bytes


def load_or_make(names: tuple[str, ...], folder: Path = FOLDER) -> Certificate:
    """`tls.key` and `tls.crt` of `folder` (a Secret kubernetes.io/tls); without them a fresh one for `names`."""
    key, chain = folder / "tls.key", folder / "tls.crt"
    if key.is_file() and chain.is_file():
        return Certificate(key.read_bytes(), chain.read_bytes())
    made = trustme.CA(organization_name="Manta endpoint picker").issue_cert(*names)
    return Certificate(made.private_key_pem.bytes(), b"".join(pem.bytes() for pem in made.cert_chain_pems))
