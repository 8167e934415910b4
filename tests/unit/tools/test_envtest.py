"""The download of etcd and kube-apiserver: what it takes, and what it refuses."""

import hashlib
import io
import tarfile

import pytest

import envtest


def archive(**files):
    """A release: programs in a folder, as controller-tools packs them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as bundle:
        for name, text in files.items():
            member = tarfile.TarInfo(f"controller-tools/envtest/{name.replace('_', '-')}")
            member.size, member.mode = len(text), 0o644
            bundle.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def test_programs_are_unpacked_and_can_be_started(tmp_path):
    found = envtest.unpack(archive(etcd="1", kube_apiserver="2", kubectl="3", README="4"), tmp_path / "bin")
    assert sorted(path.name for path in found) == ["etcd", "kube-apiserver", "kubectl"]
    assert all(path.stat().st_mode & 0o111 for path in found)
    assert not (tmp_path / "bin" / "README").exists()


def test_an_archive_without_a_server_is_refused(tmp_path):
    with pytest.raises(envtest.Unavailable, match="lacks kube-apiserver"):
        envtest.unpack(archive(etcd="1"), tmp_path)


def test_a_wrong_checksum_is_refused():
    content = archive(etcd="1")
    envtest.check(content, f"{hashlib.sha512(content).hexdigest()}  envtest.tar.gz\n")
    with pytest.raises(envtest.Unavailable, match="SHA-512"):
        envtest.check(content, "0" * 128)


def test_machines_without_a_release_are_told():
    assert envtest.archive_url("1.36.0", "Linux", "x86_64").endswith("envtest-v1.36.0-linux-amd64.tar.gz")
    with pytest.raises(envtest.Unavailable, match="riscv64"):
        envtest.archive_url("1.36.0", "Linux", "riscv64")
