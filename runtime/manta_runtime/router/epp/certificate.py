"""The certificate of the endpoint picker: a mounted one, or one made for this process.

Gateways dial the picker with TLS, and most do not verify it (the protocol's reference picker signs its own certificate,
too). For those that do: a Secret `<deployment>-epp-tls`, which is read again when it changes.
"""

import logging
from pathlib import Path
from typing import Any

import grpc
import trustme

log = logging.getLogger(__name__)

FOLDER = Path("/etc/manta/epp-tls")


def credentials(names: tuple[str, ...], folder: Path = FOLDER) -> Any:
    """Server credentials from `tls.key` and `tls.crt` of `folder`; without them a fresh certificate for `names`."""
    certificate = _Certificate(names, folder)
    return grpc.dynamic_ssl_server_credentials(certificate.first, certificate.changed)


class _Certificate:
    def __init__(self, names: tuple[str, ...], folder: Path) -> None:
        self._folder = folder
        self._read_at = 0
        self.first = self.changed() or _made(names)

    def changed(self) -> Any | None:
        """What is mounted, if it is new: grpc asks at every handshake. A broken renewal leaves what there was."""
        key, chain = self._folder / "tls.key", self._folder / "tls.crt"
        try:
            written = max(key.stat().st_mtime_ns, chain.stat().st_mtime_ns)
            if written == self._read_at:
                return None
            fresh = grpc.ssl_server_certificate_configuration([(key.read_bytes(), chain.read_bytes())])
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cannot read the certificate in %s: %s", self._folder, error)
            return None
        self._read_at = written
        return fresh


def _made(names: tuple[str, ...]) -> Any:
    made = trustme.CA(organization_name="Manta endpoint picker").issue_cert(*names)
    chain = b"".join(pem.bytes() for pem in made.cert_chain_pems)
    return grpc.ssl_server_certificate_configuration([(made.private_key_pem.bytes(), chain)])
