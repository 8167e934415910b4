"""Downloads etcd and kube-apiserver for the cluster suite: the release that controller-runtime's setup-envtest uses.

    python tools/envtest.py --out build/envtest    prints the folder to name by KUBEBUILDER_ASSETS

Standard library only. Where the network does not allow it, it says so and what else there is: exit code 1.
"""

import argparse
import hashlib
import io
import os
import platform
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

VERSION = "1.36.0"
SOURCE = os.environ.get("ENVTEST_RELEASES", "https://github.com/kubernetes-sigs/controller-tools/releases/download")
PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
TIMEOUT_SECONDS = 60
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}


class Unavailable(Exception):
    """The binaries cannot be had; the message says why."""


def archive_url(version: str, system: str, machine: str) -> str:
    """Return where the archive for a machine lies; Unavailable if there is none for it."""
    known = _MACHINES.get(machine)
    if system not in ("Linux", "Darwin") or known is None:
        raise Unavailable(f"there is no envtest release for {system} on {machine}")
    return f"{SOURCE}/envtest-v{version}/envtest-v{version}-{system.lower()}-{known}.tar.gz"


def fetch(url: str) -> bytes:
    """Return what lies there; Unavailable if it cannot be had."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - one fixed URL
            return bytes(answer.read())
    except (OSError, urllib.error.URLError) as error:
        raise Unavailable(f"{url}: {getattr(error, 'reason', None) or error}") from error


def check(archive: bytes, published: str) -> None:
    """Compare an archive with its published SHA-512; Unavailable if they differ."""
    wanted, found = (published.split() or [""])[0], hashlib.sha512(archive).hexdigest()
    if wanted != found:
        raise Unavailable(f"the archive's SHA-512 is {found}, published is {wanted}: download it again")


def unpack(archive: bytes, folder: Path) -> list[Path]:
    """Write the programs of an archive; returns their paths. Unavailable if one is not in it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as bundle:
        for member in bundle:
            name = Path(member.name).name
            if member.isfile() and name in PROGRAMS and (content := bundle.extractfile(member)) is not None:
                part = folder / f"{name}.part"
                part.write_bytes(content.read())
                part.chmod(0o755)
                found.append(part.rename(folder / name))
    missing = set(PROGRAMS[:2]) - {path.name for path in found}
    if missing:
        raise Unavailable(f"the archive lacks {', '.join(sorted(missing))}")
    return found


def main() -> int:
    """Download unless it is there already; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/envtest"))
    parser.add_argument("--version", default=VERSION)
    options = parser.parse_args()
    folder = options.out / f"v{options.version}"
    try:
        if not all((folder / name).exists() for name in PROGRAMS[:2]):
            url = archive_url(options.version, platform.system(), platform.machine())
            archive = fetch(url)
            check(archive, fetch(f"{url}.sha512").decode())
            unpack(archive, folder)
    except Unavailable as error:
        print(f"envtest: {error}", file=sys.stderr)
        print(
            "envtest: no etcd and kube-apiserver could be downloaded. Put them into a folder yourself and name it by\n"
            "KUBEBUILDER_ASSETS, name a disposable cluster by MANTA_TEST_CLUSTER, or let the suite run on the box.",
            file=sys.stderr,
        )
        return 1
    print(f"KUBEBUILDER_ASSETS={folder.resolve()} make integration")
    return 0


if __name__ == "__main__":
    sys.exit(main())
