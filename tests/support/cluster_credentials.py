"""Whom a kubeconfig names, where, and how: the few ways of clusters made for tests. Writes kubeconfigs of other users.

Tests and doubles connect with it; nothing here is the operator's, whose own way to a kubeconfig is under test too.
"""

import base64
import ssl
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import urllib3
import yaml

_KEEP = []


@dataclass(frozen=True)
class Credentials:
    """One user of one API server. Without `authority` (a file) its certificate is not checked."""

    url: str
    authority: str | None = None
    token: str | None = None
    certificate: str | None = None
    key: str | None = None

    def pool(self):
        """Connections for any number of threads."""
        checks = {"ca_certs": self.authority} if self.authority else {"ssl_context": self._as_it_is()}
        headers = {"User-Agent": "manta-tests"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        pools = {"maxsize": 64, "retries": False, "headers": headers}
        files = {"cert_file": self.certificate, "key_file": self.key} if self.authority else {}
        return urllib3.PoolManager(assert_hostname=None if self.authority else False, **files, **checks, **pools)

    def _as_it_is(self):
        """Trust the certificate that the server shows now: unchecked connections warn, and warnings are errors."""
        address = urllib3.util.parse_url(self.url)
        context = ssl.create_default_context(cadata=ssl.get_server_certificate((address.host, address.port or 443)))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def of(self, token):
        """The same server as somebody else."""
        return replace(self, token=token, certificate=None, key=None)

    def write(self, path):
        """Write a kubeconfig; returns its path."""
        cluster = {"server": self.url}
        cluster |= {"certificate-authority": self.authority} if self.authority else {"insecure-skip-tls-verify": True}
        user = {"token": self.token, "client-certificate": self.certificate, "client-key": self.key}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {key: value for key, value in user.items() if value}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.touch(0o600)
        path.write_text(yaml.safe_dump(document))
        return path


def read(kubeconfig):
    """The user and the server of a kubeconfig's current context."""
    document = yaml.safe_load(Path(kubeconfig).read_text())
    entries = {kind: {e["name"]: e[kind[:-1]] for e in document[kind]} for kind in ("clusters", "users", "contexts")}
    context = entries["contexts"][document["current-context"]]
    cluster, user = entries["clusters"][context["cluster"]], entries["users"].get(context.get("user")) or {}
    if "exec" in user:
        reason = f"{kubeconfig}: its user is an exec plugin; make one with a token or a client certificate"
        raise ValueError(reason)
    token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if "tokenFile" in user else None)
    folder = Path(kubeconfig).resolve().parent
    return Credentials(
        cluster["server"].rstrip("/"),
        _file(folder, cluster, "certificate-authority"),
        token,
        _file(folder, user, "client-certificate"),
        _file(folder, user, "client-key"),
    )


def _file(folder, entry, key):
    """The path of a file that is named, or written out here from what stands in the kubeconfig itself."""
    if entry.get(key):
        return str(folder / entry[key])
    if not entry.get(f"{key}-data"):
        return None
    file = tempfile.NamedTemporaryFile(prefix="manta-", suffix=".pem")  # noqa: SIM115 - kept until this process ends
    file.write(base64.b64decode(entry[f"{key}-data"]))
    file.flush()
    _KEEP.append(file)
    return file.name
