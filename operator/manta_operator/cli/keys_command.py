"""`manta keys`: API keys of tenants, in the Secret that `spec.router.auth` names.

The key is shown once and kept nowhere; the Secret has its hash. Writing changes one entry of what was just read and
says which version that was: whoever else writes at the same time loses nothing, and neither do we (`_change`).
"""

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import click

from manta_operator.cli import key_secret
from manta_operator.cli.cluster import Where, options_of_cluster, run
from manta_operator.cli.documents import documents
from manta_operator.cli.failures import Refused
from manta_operator.cli.key_secret import Key
from manta_operator.cli.kubeconfig import Object
from manta_operator.cli.options import Decorator
from manta_operator.cli.rest import MERGE, Api, CallFailed, path_of
from manta_operator.cli.table import Column, lay_out

DEFAULT_SECRET = "manta-keys"  # noqa: S105 - a name
_MANAGER = {"fieldManager": "manta-keys"}
_ATTEMPTS = 8
_WHEN = "routers follow within about two minutes (docs/tenancy.md)"

Read = TypeVar("Read")
Change = Callable[[Object], dict[str, str | None]]
"""The entries of a Secret to write, None to remove one; nothing to write if it is empty."""

_secret: Decorator = click.option(
    "--secret", "name", default=DEFAULT_SECRET, show_default=True, help="Secret that spec.router.auth names."
)


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of tenants.

    The Secret that spec.router.auth names has an entry for each tenant, with a line for each of its keys: its SHA-256
    hash. The key itself is shown once, when it is made, and is kept nowhere.
    """


@keys.command()
@click.argument("tenant")
@_secret
@click.option("--note", default="", help="What the key is for; stands beside its hash. Default: the day.")
@click.option("--write", is_flag=True, help="Add it to the Secret in the cluster, which is made if need be.")
@options_of_cluster()
def create(tenant: str, name: str, note: str, write: bool, choose: Callable[[], Where]) -> None:
    """Make a new key for TENANT.

    With --write its hash is added to the Secret in the cluster and the key alone goes to standard output. Without, no
    cluster is asked: a Secret with the hash goes to standard output, the key to standard error.
    """
    if problem := key_secret.name_problem(tenant):
        raise Refused([problem])
    secret = key_secret.new_key()
    key = Key(tenant, key_secret.digest_of(secret), note or f"made {datetime.now(UTC):%Y-%m-%d}")
    if not write:
        _print(name, click.get_current_context().params["namespace"], key, secret)
        return
    where = _one_namespace(choose())

    def add(found: Object) -> dict[str, str | None]:
        _refuse_strange(name, found)
        return {tenant: key_secret.with_key(key_secret.texts(found).get(tenant, ""), key)}

    async def work(api: Api) -> int:
        await _change(api, where, name, add, make=True)
        click.echo(f"key {key.fingerprint} of {tenant} is in Secret {where.namespace}/{name}; {_WHEN}", err=True)
        click.echo("this is the only time that the key is shown:", err=True)
        click.echo(secret)
        return 0

    run(where, work)


@keys.command("hash")
def hash_() -> None:
    """Print the line that the Secret needs for a key of your own, which is read from standard input."""
    key = click.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    key = key.strip()
    if not key or key.split() != [key] or not key.isascii():
        raise Refused(["give one key on standard input, of ASCII letters, digits and signs, without spaces in it"])
    if len(key) > key_secret.LONGEST_KEY:
        raise Refused([f"the key has {len(key)} characters; routers refuse keys of more than {key_secret.LONGEST_KEY}"])
    if len(key) < key_secret.SHORTEST_KEY:
        click.echo(
            f"the key has {len(key)} characters: who can read the Secret could guess it; take one of "
            f"{key_secret.SHORTEST_KEY} or more random ones, as `manta keys create` does",
            err=True,
        )
    click.echo(key_secret.line_of(Key("", key_secret.digest_of(key))), nl=False)


@keys.command("list")
@_secret
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@options_of_cluster()
def list_(name: str, output: str, choose: Callable[[], Where]) -> None:
    """List tenants and the fingerprints of their keys."""
    where = _one_namespace(choose())

    async def work(api: Api) -> int:
        secret = await _the_secret(api, where, name)
        found, strange = _readable(
            lambda: (key_secret.keys_in(secret), key_secret.strange_entries(secret)), where, name
        )
        if output == "json":
            listed = [{"tenant": key.tenant, "fingerprint": key.fingerprint, "note": key.note} for key in found]
            click.echo(json.dumps(listed, indent=2))
        else:
            rows = [[key.tenant, key.fingerprint, key.note] for key in found]
            columns = [Column("TENANT"), Column("FINGERPRINT"), Column("NOTE")]
            click.echo(
                "\n".join(lay_out(columns, rows, None)) if rows else f"no keys in Secret {where.namespace}/{name}"
            )
        if strange := key_secret.strange_entries(secret):
            click.echo(
                f"routers leave out lines of {', '.join(strange)} that are no hash; their logs name them", err=True
            )
        return 0

    run(where, work)


@keys.command()
@click.argument("fingerprint")
@_secret
@options_of_cluster()
def revoke(fingerprint: str, name: str, choose: Callable[[], Where]) -> None:
    """Take the key with that FINGERPRINT out of the Secret: 8 or more digits of `manta keys list`.

    Requests that run end as they would have; new ones are refused once the routers know.
    """
    wanted = fingerprint.lower().removeprefix("sha256:")
    if len(wanted) < key_secret.SHORTEST_FINGERPRINT:
        raise Refused(
            [f"{fingerprint}: give {key_secret.SHORTEST_FINGERPRINT} digits or more, as in `manta keys list`"]
        )
    where = _one_namespace(choose())
    revoked: list[Key] = []

    def remove(found: Object) -> dict[str, str | None]:
        revoked[:] = _meant(key_secret.keys_in(found), wanted, f"{where.namespace}/{name}")
        texts = key_secret.texts(found)
        left = {key.tenant: key_secret.without_key(texts[key.tenant], key.digest) for key in revoked}
        return {tenant: text if text.strip() else None for tenant, text in left.items()}

    async def work(api: Api) -> int:
        await _change(api, where, name, remove)
        for tenant in sorted({key.tenant for key in revoked}):
            click.echo(f"key {revoked[0].fingerprint} of {tenant} revoked; {_WHEN}")
        return 0

    run(where, work)


def _print(name: str, namespace: str | None, key: Key, secret: str) -> None:
    line = key_secret.line_of(key)
    click.echo(documents([key_secret.manifest(name, namespace, "stringData", {key.tenant: line})]), nl=False)
    click.echo(
        f"Where the Secret is there already, add the line to its entry {key.tenant} instead (--write does that): "
        "applying this would replace the entry.",
        err=True,
    )
    click.echo("This is the only time that the key is shown:", err=True)
    click.echo(secret, err=True)


def _meant(keys: list[Key], wanted: str, place: str) -> list[Key]:
    found = [key for key in keys if key.digest.startswith(wanted)]
    if not found:
        raise Refused([f"Secret {place} has no key {wanted}; `manta keys list` shows those it has"])
    if len({key.digest for key in found}) > 1:
        raise Refused([f"{wanted} begins several keys of Secret {place}: give more digits"])
    return found


def _one_namespace(where: Where) -> Where:
    """A Secret is in one namespace; on a box, where none need be given, it is the context's."""
    return where if where.namespace else replace(where, namespace=where.target.namespace)


def _refuse_strange(name: str, found: Object) -> None:
    if strange := key_secret.strange_entries(found):
        raise Refused(
            [
                f"Secret {name} has entries with other things than hashes of keys: {', '.join(strange)}; "
                "is it the right one? Correct them, or name another one with --secret"
            ]
        )


def _readable(read: Callable[[], Read], where: Where, name: str) -> Read:
    try:
        return read()
    except ValueError as error:
        raise Refused([f"Secret {where.namespace}/{name}: {error}; is it the right one?"]) from error


async def _the_secret(api: Api, where: Where, name: str) -> Object:
    found = await api.find("v1", "Secret", where.namespace, name)
    if found is None:
        raise Refused([f"there is no Secret {name} in {where}; `manta keys create TENANT --write` makes it"])
    return found


async def _change(api: Api, where: Where, name: str, change: Change, *, make: bool = False) -> None:
    """Write what `change` makes of the Secret as it is now; of one that others change meanwhile, again.

    Raises:
        Refused: there is no Secret and `make` is not set, it cannot be read as keys, or others write all the time.
        CallFailed: the API server refuses.
    """
    path = path_of("v1", "Secret", where.namespace, name)
    for _ in range(_ATTEMPTS):
        found = await api.find("v1", "Secret", where.namespace, name) if make else await _the_secret(api, where, name)
        entries = key_secret.encoded(_readable(functools.partial(change, found or {}), where, name))
        try:
            if found is None:
                body = key_secret.manifest(name, where.namespace, "data", entries)
                await api.call("POST", path_of("v1", "Secret", where.namespace), _MANAGER, body)
            else:
                version = {"resourceVersion": found["metadata"]["resourceVersion"]}
                await api.call("PATCH", path, _MANAGER, {"metadata": version, "data": entries}, MERGE)
        except CallFailed as error:
            if error.code != 409:
                raise
        else:
            return
    raise Refused([f"Secret {where.namespace}/{name} changed {_ATTEMPTS} times while it was written; try again"])
