"""Makes every Python process of a pod in the box resolve Service names: the box's stand-in for a cluster's DNS.

Python imports this at start because the kubelet puts its folder on PYTHONPATH. It does nothing until `socket` is
imported, and only if
MANTA_HOSTS names the hosts file (written by box/names.py, read again when it changes). Standard library only: it
runs in any venv.
"""
# ruff: noqa: INP001 - a folder of PYTHONPATH, not a package

import os
import sys

TYPE_CHECKING = False  # spelled out: importing typing would cost every process 10 ms
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_DOMAIN = ".cluster.local"


class _Names:
    """The hosts file: name → addresses, as of its last change."""

    def __init__(self, path: str, namespace: str) -> None:
        self._path = path
        self._namespace = namespace
        self._stamp: tuple[int, int, int] | None = None
        self._known: dict[str, list[str]] = {}

    def addresses(self, host: object) -> list[str]:
        """Addresses of a name, tried as the resolver of a pod would; empty if it is none of ours."""
        if isinstance(host, (bytes, bytearray)):
            host = host.decode("ascii", "replace")
        if not isinstance(host, str) or not host:
            return []
        self._refresh()
        name = host.rstrip(".").lower()
        for candidate in (f"{name}.{self._namespace}", name):
            found = self._known.get(candidate)
            if found:
                return found
        return []

    def _refresh(self) -> None:
        try:
            info = os.stat(self._path)  # noqa: PTH116 - pathlib would have to be imported
            stamp = (info.st_mtime_ns, info.st_ino, info.st_size)
            if stamp == self._stamp:
                return
            with open(self._path, encoding="utf-8") as file:  # noqa: PTH123
                lines = file.read().splitlines()
        except OSError:
            return
        known: dict[str, list[str]] = {}
        for line in lines:
            address, *names = line.split()
            for name in names:
                known.setdefault(name.lower(), []).append(address)
        self._known, self._stamp = known, stamp


def _patch_socket(socket: "ModuleType", names: _Names) -> None:
    """Put our lookup in front of the real one; whatever the file does not know falls through."""
    real_getaddrinfo = socket.getaddrinfo
    real_gethostbyname = socket.gethostbyname
    real_gethostbyname_ex = socket.gethostbyname_ex

    def getaddrinfo(
        host: "Any",
        port: "Any",
        family: int = 0,
        type: int = 0,  # noqa: A002 - the real one names it so
        proto: int = 0,
        flags: int = 0,
    ) -> "list[Any]":
        """As socket.getaddrinfo, with the box's names."""
        found = names.addresses(host) if family in (0, socket.AF_INET) else []
        if not found:
            return list(real_getaddrinfo(host, port, family, type, proto, flags))
        return [info for address in found for info in real_getaddrinfo(address, port, family, type, proto, flags)]

    def gethostbyname(hostname: str) -> str:
        """As socket.gethostbyname, with the box's names."""
        found = names.addresses(hostname)
        return found[0] if found else str(real_gethostbyname(hostname))

    def gethostbyname_ex(hostname: str) -> "tuple[str, list[str], list[str]]":
        """As socket.gethostbyname_ex, with the box's names."""
        found = names.addresses(hostname)
        if found:
            return hostname, [], list(found)
        name, aliases, addresses = real_gethostbyname_ex(hostname)
        return name, aliases, addresses

    replacements = {"getaddrinfo": getaddrinfo, "gethostbyname": gethostbyname, "gethostbyname_ex": gethostbyname_ex}
    for name, function in replacements.items():
        setattr(socket, name, function)


class _WhenSocketIsImported:
    """A finder that lets `socket` be found as always, then patches it once it has run."""

    def __init__(self, names: _Names) -> None:
        self._names = names

    def find_spec(self, fullname: str, *_: "Any") -> "ModuleSpec | None":
        """Answer for `socket` alone, once."""
        if fullname != "socket":
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec  # noqa: PLC0415 - only processes that resolve pay for it

        spec = find_spec("socket")
        if spec is None or spec.loader is None:
            return spec
        loader, names = spec.loader, self._names
        run = loader.exec_module

        def exec_module(module: "ModuleType") -> None:
            run(module)
            _patch_socket(module, names)

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _install() -> None:
    path = os.environ.get("MANTA_HOSTS")
    if not path:
        return
    namespace = os.environ.get("POD_NAMESPACE") or os.environ.get("MANTA_NAMESPACE") or "default"
    names = _Names(path, namespace)
    if "socket" in sys.modules:
        _patch_socket(sys.modules["socket"], names)
    else:
        sys.meta_path.insert(0, _WhenSocketIsImported(names))


def _run_the_next_one() -> None:
    """Python imports one sitecustomize only: run the one we stand in front of, if any."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    for folder in sys.path:
        path = os.path.join(folder or ".", "sitecustomize.py")  # noqa: PTH118
        if os.path.dirname(os.path.abspath(path)) != here and os.path.isfile(path):  # noqa: PTH100, PTH113, PTH120
            with open(path, "rb") as file:  # noqa: PTH123
                code = compile(file.read(), path, "exec")
            exec(code, {"__name__": "sitecustomize", "__file__": path})  # noqa: S102
            return


_install()
if __name__ == "sitecustomize":
    _run_the_next_one()
