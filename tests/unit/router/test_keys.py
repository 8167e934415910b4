"""API keys: what is read from the Secret's folder, whom a request's headers belong to, and what is said otherwise."""

import hashlib
import logging

import pytest

from manta_runtime.router.picker.keys import Keyring

KEY, OTHER = "manta-" + "k" * 43, "manta-" + "o" * 43


def line(key):
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def folder(path, **files):
    """Write files named after tenants, in place."""
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / name).write_text(content)
    return path


def mounted(path, version, **files):
    """Write them as a kubelet does: into a folder of their own, and `..data` is pointed to it in one step."""
    path.mkdir(exist_ok=True)
    folder(path / f"..{version}", **files)
    for name in files:
        if not (path / name).is_symlink():
            (path / name).symlink_to(f"..data/{name}")
    (path / "..new").symlink_to(f"..{version}")
    (path / "..new").replace(path / "..data")
    for link in path.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink()
    return path


def keyring(path):
    ring = Keyring()
    ring.refresh(path)
    return ring


def bearer(key, scheme="Bearer"):
    return {b"authorization": f"{scheme} {key}".encode()}


@pytest.fixture
def ring(tmp_path):
    return keyring(folder(tmp_path / "keys", ann=f"# laptop\n\n{line(KEY)}\n", bob=line(OTHER)))


@pytest.mark.parametrize(
    ("case", "headers", "tenant"),
    [
        ("bearer", {b"authorization": f"Bearer {KEY}".encode()}, "ann"),
        ("any case", {b"authorization": f"bEaReR {KEY}".encode()}, "ann"),
        ("odd whitespace", {b"authorization": f" \tBearer \t  {KEY}  ".encode()}, "ann"),
        ("as Anthropic's clients", {b"x-api-key": OTHER.encode()}, "bob"),
        ("x-api-key with spaces around", {b"x-api-key": f"  {OTHER} ".encode()}, "bob"),
        ("both the same", bearer(KEY) | {b"x-api-key": KEY.encode()}, "ann"),
        ("an empty bearer beside x-api-key", {b"authorization": b"Bearer ", b"x-api-key": KEY.encode()}, "ann"),
        ("an empty x-api-key beside bearer", bearer(KEY) | {b"x-api-key": b" "}, "ann"),
    ],
)
def test_a_key_gives_its_tenant(case, headers, tenant, ring):
    assert ring.tenant_of(headers) == tenant, case


@pytest.mark.parametrize(
    ("case", "headers", "words"),
    [
        ("none", {}, "no API key"),
        ("empty", {b"authorization": b""}, "no API key"),
        ("scheme alone", {b"authorization": b"Bearer"}, "no API key"),
        ("both empty", {b"authorization": b"Bearer ", b"x-api-key": b""}, "no API key"),
        ("another scheme", {b"authorization": b"Basic YTpi"}, "not 'Bearer KEY'"),
        ("another scheme beside a good key", {b"authorization": b"Basic YTpi", b"x-api-key": KEY.encode()}, "not 'B"),
        ("a key without a scheme", {b"authorization": KEY.encode()}, "not 'Bearer KEY'"),
        ("two keys in one", bearer(f"{KEY} {OTHER}"), "not 'Bearer KEY'"),
        ("a header that was sent twice", bearer(f"{KEY},Bearer {KEY}"), "not 'Bearer KEY'"),
        ("both, different, each good", bearer(KEY) | {b"x-api-key": OTHER.encode()}, "different keys"),
        ("both, one wrong", bearer(KEY) | {b"x-api-key": b"x"}, "different keys"),
        ("wrong", bearer(KEY[:-1] + "x"), "not valid"),
        ("the digest itself", bearer(line(KEY)), "not valid"),
        ("bytes of no alphabet", {b"x-api-key": b"\xff\x00\xfe"}, "not valid"),
        ("endless", {b"x-api-key": b"k" * 100_000}, "not valid"),
        ("a tenant's name", {b"x-manta-tenant": b"ann"}, "no API key"),
    ],
)
def test_anything_else_is_denied(case, headers, words, ring):
    assert ring.tenant_of(headers) is None, case
    denial = ring.denial(headers)
    assert words in denial.text, case
    assert (denial.status, denial.code, dict(denial.headers)) == (
        401,
        "invalid_api_key",
        {"www-authenticate": "Bearer"},
    )
    assert KEY not in denial.text


@pytest.mark.parametrize(
    ("case", "wrong", "said"),
    [
        ("half a line, half written", line(OTHER)[:40], "line 2"),
        ("a key itself", OTHER, "line 2"),
        ("a key itself behind the prefix", f"sha256:{OTHER}", "line 2"),
        ("not hex", "sha256:" + "z" * 64, "line 2"),
        ("another hash", "sha512:" + "a" * 64, "line 2"),
        ("two in a line", f"{line(OTHER)} {line(OTHER)}", "line 2"),
    ],
)
def test_a_wrong_line_costs_only_itself(case, wrong, said, tmp_path, caplog):
    path = folder(tmp_path / "keys", ann=f"{line(KEY)}\n{wrong}\n{line('third')} # a note\r\n")
    ring = keyring(path)
    assert (ring.loaded, ring.tenant_of(bearer(KEY)), ring.tenant_of(bearer("third"))) == (2, "ann", "ann"), case
    assert ring.tenant_of(bearer(OTHER)) is None
    problem = next(record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert f"{path / 'ann'}, {said}" in problem
    assert "manta keys hash" in problem
    assert wrong not in caplog.text
    assert OTHER[6:] not in caplog.text


def test_bytes_that_are_no_text_cost_only_their_line(tmp_path):
    path = folder(tmp_path / "keys")
    (path / "ann").write_bytes(b"\xff\xfe\x00\n" + line(KEY).upper().replace("SHA256", "sha256").encode())
    ring = keyring(path)
    assert (ring.tenant_of(bearer(KEY)), len(ring.problems)) == ("ann", 1)


def test_a_key_of_two_tenants_is_refused_for_both(tmp_path, caplog):
    ring = keyring(folder(tmp_path / "keys", ann=f"{line(KEY)}\n{line('a')}", bob=line(KEY), cid=line("c")))
    assert ring.tenant_of(bearer(KEY)) is None
    assert (ring.tenant_of(bearer("a")), ring.tenant_of(bearer("c"))) == ("ann", "cid")
    digest = line(KEY).removeprefix("sha256:")
    assert f"the key {digest[:12]} is there for ann and bob" in caplog.text
    assert digest[:13] not in caplog.text


def test_a_key_twice_in_one_file_is_one_key(tmp_path):
    ring = keyring(folder(tmp_path / "keys", ann=f"{line(KEY)}\n{line(KEY)}"))
    assert (ring.loaded, ring.problems, ring.tenant_of(bearer(KEY))) == (1, (), "ann")


@pytest.mark.parametrize("name", ["anonymous", "ann bob", "änn"])
def test_a_file_whose_name_is_no_tenants_is_left_out(name, tmp_path):
    ring = keyring(folder(tmp_path / "keys", **{name: line(KEY)}))
    assert (ring.loaded, ring.tenant_of(bearer(KEY))) == (0, None)
    assert f"{name} is left out" in ring.problems[0]


@pytest.mark.parametrize("case", ["absent", "empty", "comments alone", "a file"])
def test_without_any_key_nobody_comes_in(case, tmp_path, caplog):
    path = tmp_path / "keys"
    if case == "a file":
        path.write_text(line(KEY))
    elif case != "absent":
        folder(path, **({"ann": "# none yet\n"} if case == "comments alone" else {}))
    ring = keyring(path)
    assert (ring.loaded, ring.tenant_of(bearer(KEY))) == (0, None)
    assert f"{path} holds no usable key: every request is refused with 401" in caplog.text
    assert "no keys are set up here" in ring.denial(bearer(KEY)).text


def test_the_secret_is_followed(tmp_path):
    path = mounted(tmp_path / "keys", "1", ann=line(KEY))
    ring = keyring(path)
    assert not ring.refresh(path), "nothing has changed"
    mounted(path, "2", ann=line(KEY), bob=line(OTHER))
    assert ring.refresh(path)
    assert (ring.tenant_of(bearer(KEY)), ring.tenant_of(bearer(OTHER))) == ("ann", "bob")
    mounted(path, "3", bob=line(OTHER))
    assert ring.refresh(path)
    assert (ring.tenant_of(bearer(KEY)), ring.tenant_of(bearer(OTHER))) == (None, "bob")


def test_files_that_are_written_in_place_are_followed_too(tmp_path):
    ring = keyring(folder(tmp_path / "keys", ann=line(KEY)))
    folder(tmp_path / "keys", ann=f"{line(KEY)}\n{line(OTHER)}")
    assert ring.refresh(tmp_path / "keys")
    assert ring.tenant_of(bearer(OTHER)) == "ann"
    (tmp_path / "keys" / "ann").unlink()
    assert ring.refresh(tmp_path / "keys")
    assert ring.loaded == 0


def test_a_swap_while_it_is_read_gives_one_version_or_the_other(tmp_path, monkeypatch):
    """The old folder is deleted between two files of it; never half of each."""
    from manta_runtime.router.picker import key_files

    path = mounted(tmp_path / "keys", "1", ann=line(KEY), bob=line(OTHER))
    real, swapped = key_files._digests, []

    def swapping(shown, file):
        yield from real(shown, file)
        if not swapped:
            swapped.append(True)
            mounted(path, "2", ann=line("new"), bob=line("newer"))

    monkeypatch.setattr(key_files, "_digests", swapping)
    ring = keyring(path)
    assert [ring.tenant_of(bearer(key)) for key in ("new", "newer", KEY, OTHER)] == ["ann", "bob", None, None]


def test_the_folder_that_goes_before_it_is_listed_is_read_anew(tmp_path, monkeypatch):
    from pathlib import Path

    path = mounted(tmp_path / "keys", "1", ann=line(KEY))
    real, swapped = Path.iterdir, []

    def swapping(self):
        if self.name == "..1" and not swapped:
            swapped.append(True)
            mounted(path, "2", ann=line("new"))
            raise FileNotFoundError(2, "No such file or directory")
        return real(self)

    monkeypatch.setattr(Path, "iterdir", swapping)
    assert keyring(path).tenant_of(bearer("new")) == "ann"


@pytest.mark.parametrize("mount", [folder, lambda path, **files: mounted(path, "1", **files)], ids=["plain", "mounted"])
def test_a_file_that_leads_nowhere_costs_only_its_tenant(mount, tmp_path):
    path = mount(tmp_path / "keys", ann=line(KEY))
    (((path / "..1") if (path / "..1").exists() else path) / "bob").symlink_to("gone")
    ring = keyring(path)
    assert (ring.loaded, ring.tenant_of(bearer(KEY))) == (1, "ann")
    assert ring.problems == (f"{path / 'bob'} cannot be read: No such file or directory; its keys are refused",)


def test_a_file_that_may_not_be_read_costs_only_its_tenant(tmp_path, monkeypatch):
    from pathlib import Path

    path = folder(tmp_path / "keys", ann=line(KEY), bob=line(OTHER))
    real = Path.read_bytes

    def refused(self):
        if self.name == "bob":
            raise PermissionError(13, "Permission denied")
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", refused)
    ring = keyring(path)
    assert (ring.tenant_of(bearer(KEY)), ring.tenant_of(bearer(OTHER))) == ("ann", None)
    assert "bob cannot be read: Permission denied" in ring.problems[0]
