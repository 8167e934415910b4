"""`manta keys` against an API server: the key once, its hash in the Secret, and nobody else's line lost."""

import asyncio
import base64
import hashlib
import json
import re
import threading

import pytest
import yaml

from manta_operator.cli import key_secret, keys_command
from manta_operator.cli.cluster import Where
from manta_operator.cli.failures import Refused
from manta_operator.cli.kubeconfig import from_files
from manta_operator.cli.rest import connect
from manta_runtime.router.picker.keys import LONGEST_KEY, Keyring

KEY = re.compile(r"manta-[A-Za-z0-9_-]{43}")


def sha(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def secrets(cluster):
    """The Secrets of the namespace, none at first."""
    for body in cluster.do("list", "Secret"):
        cluster.do("delete", "Secret", body["metadata"]["namespace"], body["metadata"]["name"])

    class Secrets:
        def make(self, name="manta-keys", **entries):
            data = {each: base64.b64encode(text.encode()).decode() for each, text in entries.items()}
            metadata = {"name": name, "namespace": "default"}
            return cluster.do("create", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

        def read(self, name="manta-keys", namespace="default"):
            found = cluster.do("find", "Secret", namespace, name)
            return found and key_secret.texts(found)

        def write(self, changes, name="manta-keys"):
            cluster.do("patch", "Secret", "default", name, {"data": key_secret.encoded(changes)})

    return Secrets()


def test_without_a_cluster_the_manifest_has_the_hash_and_the_key_goes_elsewhere(manta):
    result = manta("keys", "create", "team-a", "-n", "llm", "--secret", "mine", "--note", "for\ntests")
    assert result.exit_code == 0, result.output
    (key,) = KEY.findall(result.stderr)
    assert not KEY.search(result.stdout)
    (secret,) = yaml.safe_load_all(result.stdout)
    assert secret["metadata"] == {"name": "mine", "namespace": "llm"}
    assert secret["stringData"] == {"team-a": f"sha256:{sha(key)} # for tests\n"}


def test_keys_have_256_bits_of_their_own():
    made = {key_secret.new_key() for _ in range(50)}
    assert len(made) == 50
    assert all(KEY.fullmatch(key) for key in made)
    assert all(len(base64.urlsafe_b64decode(key[6:] + "=")) == 32 for key in made)


def test_write_makes_the_secret_and_then_adds_to_it(cluster, secrets, manta, tmp_path):
    made = []
    for tenant in ("ann", "bob", "ann"):
        result = manta("keys", "create", tenant, "--write", kubeconfig=cluster.kubeconfig())
        assert result.exit_code == 0, result.output
        assert KEY.fullmatch(result.stdout.strip()), "the key alone, for scripts"
        made.append(result.stdout.strip())
        assert f"key {sha(made[-1])[:12]} of {tenant} is in Secret default/manta-keys" in result.stderr
    entries = secrets.read()
    assert [line.split()[0] for line in entries["ann"].splitlines()] == [f"sha256:{sha(made[n])}" for n in (0, 2)]
    assert not any(KEY.search(text) for text in entries.values())
    folder = tmp_path / "mounted"  # and a router takes it as it is
    folder.mkdir()
    for tenant, text in entries.items():
        (folder / tenant).write_text(text)
    ring = Keyring()
    ring.refresh(folder)
    assert [ring.tenant_of({b"x-api-key": key.encode()}) for key in made] == ["ann", "bob", "ann"]
    assert ring.problems == ()


def test_write_keeps_what_others_wrote_by_hand(cluster, secrets, manta):
    other = "# the gateway's\n  sha256:" + "A" * 64 + "  # no line end"
    secrets.make(ann=other, bob="# none yet")
    assert manta("keys", "create", "ann", "--write", kubeconfig=cluster.kubeconfig()).exit_code == 0
    entries = secrets.read()
    assert entries["ann"].startswith(other + "\nsha256:")
    assert entries["bob"] == "# none yet"


def test_two_who_write_at_once_lose_nothing(cluster, secrets, manta, monkeypatch):
    """Another one writes between our reading and our writing: the version is another, so we read again."""
    secrets.make(ann=f"sha256:{sha('first')}\n")
    real, late = key_secret.with_key, []

    def slow(text, key):
        if not late:
            late.append(True)
            secrets.write({"ann": f"sha256:{sha('first')}\nsha256:{sha('second')}\n", "bob": f"sha256:{sha('b')}\n"})
        return real(text, key)

    monkeypatch.setattr(key_secret, "with_key", slow)
    result = manta("keys", "create", "ann", "--write", kubeconfig=cluster.kubeconfig())
    assert result.exit_code == 0, result.output
    entries = secrets.read()
    digests = [line.split()[0].removeprefix("sha256:") for line in entries["ann"].splitlines()]
    assert digests == [sha("first"), sha("second"), sha(result.stdout.strip())]
    assert entries["bob"] == f"sha256:{sha('b')}\n"


def test_many_who_write_at_once_lose_nothing(cluster, secrets):
    """Each in a thread of its own; the first of them makes the Secret."""
    target = from_files([cluster.kubeconfig()])
    keys = [key_secret.Key("all", sha(f"key {number}")) for number in range(4)]

    def create(key):
        def add(found):
            return {"all": key_secret.with_key(key_secret.texts(found).get("all", ""), key)}

        async def work():
            async with connect(target) as api:
                await keys_command._change(api, Where(target, "default"), "manta-keys", add, make=True)

        asyncio.run(work())

    threads = [threading.Thread(target=create, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    digests = [line.strip().removeprefix("sha256:") for line in secrets.read()["all"].splitlines()]
    assert sorted(digests) == sorted(key.digest for key in keys)


def test_who_writes_all_the_time_is_told_of(cluster, secrets, manta, monkeypatch):
    secrets.make(ann="")
    real = key_secret.with_key

    def beaten(text, key):
        secrets.write({"ann": text + "# again\n"})
        return real(text, key)

    monkeypatch.setattr(key_secret, "with_key", beaten)
    result = manta("keys", "create", "ann", "--write", kubeconfig=cluster.kubeconfig())
    assert (result.exit_code, "changed 8 times" in result.stderr) == (2, True)


def test_list(cluster, secrets, manta):
    secrets.make(bob=f"sha256:{sha('b')}\nnonsense\n", ann=f"sha256:{sha('a1')} # the gateway\n#\nsha256:{sha('a2')}\n")
    result = manta("keys", "list", kubeconfig=cluster.kubeconfig())
    rows = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert rows == [
        ["TENANT", "FINGERPRINT", "NOTE"],
        ["ann", sha("a1")[:12], "the gateway"],
        ["ann", sha("a2")[:12]],
        ["bob", sha("b")[:12]],
    ]
    assert "lines of bob that are no hash" in result.stderr
    assert "nonsense" not in result.output
    listed = json.loads(manta("keys", "list", "-o", "json", kubeconfig=cluster.kubeconfig()).stdout)
    assert listed[0] == {"tenant": "ann", "fingerprint": sha("a1")[:12], "note": "the gateway"}


@pytest.mark.parametrize("given", [sha("a1")[:8], sha("a1")[:12].upper(), "sha256:" + sha("a1")])
def test_revoke_takes_one_line(given, cluster, secrets, manta):
    secrets.make(ann=f"# mine\nsha256:{sha('a1')} # lost\nsha256:{sha('a2')}\n", bob=f"sha256:{sha('b')}\n")
    result = manta("keys", "revoke", given, kubeconfig=cluster.kubeconfig())
    assert result.exit_code == 0, result.output
    assert f"key {sha('a1')[:12]} of ann revoked" in result.stdout
    assert secrets.read() == {"ann": f"# mine\nsha256:{sha('a2')}\n", "bob": f"sha256:{sha('b')}\n"}


def test_revoke_takes_a_key_of_two_tenants_from_both_and_the_last_ones_entry_too(cluster, secrets, manta):
    secrets.make(ann=f"sha256:{sha('x')}\n", bob=f"sha256:{sha('x')}\nsha256:{sha('b')}\n")
    result = manta("keys", "revoke", sha("x")[:12], kubeconfig=cluster.kubeconfig())
    assert len(result.stdout.splitlines()) == 2
    assert secrets.read() == {"bob": f"sha256:{sha('b')}\n"}


@pytest.mark.parametrize(
    ("case", "args", "words"),
    [
        ("tenant with a space", ["create", "a b"], "'a b' is no name of a tenant"),
        ("a tenant of dots", ["create", ".."], "is no name of a tenant"),
        ("anonymous", ["create", "anonymous"], "choose another name"),
        ("another Secret", ["create", "ann", "--write", "--secret", "other"], "entries with other things"),
        ("a Secret of bytes", ["create", "ann", "--write", "--secret", "bytes"], "entry bin is no text"),
        ("list of bytes", ["list", "--secret", "bytes"], "entry bin is no text"),
        ("no Secret to list", ["list", "--secret", "nope"], "there is no Secret nope"),
        ("no Secret to revoke from", ["revoke", "a" * 12, "--secret", "nope"], "there is no Secret nope"),
        ("no such key", ["revoke", "a" * 12], "has no key aaaaaaaaaaaa"),
        ("too short", ["revoke", "abc"], "give 8 digits or more"),
        ("no namespace", ["create", "ann", "--write", "-n", "nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_is_named(case, args, words, cluster, secrets, manta):
    secrets.make(ann=f"sha256:{sha('a')}\n")
    secrets.make("other", password="hunter2")
    metadata = {"name": "bytes", "namespace": "default"}
    data = {"bin": base64.b64encode(b"\xff\xfe").decode()}
    cluster.do("create", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    result = manta(
        "keys", *args, **({} if args[0] == "create" and len(args) == 2 else {"kubeconfig": cluster.kubeconfig()})
    )
    assert (result.exit_code, words in result.stderr) == (2, True), (case, result.output)
    assert "hunter2" not in result.output
    assert secrets.read() == {"ann": f"sha256:{sha('a')}\n"}


def test_a_fingerprint_that_begins_several_is_refused():
    keys = [key_secret.Key("ann", "abcdef01" + "0" * 56), key_secret.Key("bob", "abcdef01" + "1" * 56)]
    with pytest.raises(Refused, match="begins several keys"):
        keys_command._meant(keys, "abcdef01", "x")


def test_hash(manta):
    key = "my-own-key-with-more-than-32-characters"
    result = manta("keys", "hash", stdin=f"{key}\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"sha256:{sha(key)}\n", "")
    weak = manta("keys", "hash", stdin="hunter2")
    assert weak.stdout == f"sha256:{sha('hunter2')}\n"
    assert "could guess it" in weak.stderr
    for wrong in ("", "\n", "two words", "schlüssel", "k" * (LONGEST_KEY + 1)):
        assert manta("keys", "hash", stdin=wrong).exit_code == 2, wrong
    assert manta("keys", "hash", stdin="k" * LONGEST_KEY).exit_code == 0
    assert key_secret.LONGEST_KEY == LONGEST_KEY, "what routers take"
