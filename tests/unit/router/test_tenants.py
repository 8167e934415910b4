"""tenants.yaml: what is read of it, what is refused and in which words, and that a bad file changes nothing."""

import asyncio
from functools import partial

import pytest

from manta_runtime.router.picker import reloading
from manta_runtime.router.picker.tenants import Tenant, Tenants, TenantsError, parse


def test_everything_is_read():
    text = """
    tenants:
    - {name: ann, models: [a, b], requestsPerMinute: 60, tokensPerMinute: 1000, concurrency: 4, priority: 5, weight: 3}
    - {name: bob}
    """
    assert parse(text) == {
        "ann": Tenant("ann", frozenset(("a", "b")), 60, 1000, 4, 5, 3),
        "bob": Tenant("bob", None, None, None, None, 0, 1),
    }


@pytest.mark.parametrize("text", ["", "tenants: []", "{}"])
def test_nothing_in_it_is_no_limits(text):
    assert parse(text) == {}


@pytest.mark.parametrize(
    ("case", "text", "words"),
    [
        ("no YAML", "tenants: [", "t.yaml is not YAML"),
        ("a list", "[]", "t.yaml cannot be used: the file"),
        ("unknown field", "tenants: [{name: ann, rpm: 5}]", "tenants.0.rpm (ann): Extra inputs are not permitted"),
        ("unknown field above", "tenant: []", "tenant: Extra inputs are not permitted"),
        ("no name", "tenants: [{name: ann}, {weight: 2}]", "tenants.1.name: Field required"),
        ("a name with a space", "tenants: [{name: a b}]", "tenants.0.name (a b)"),
        ("text for a number", "tenants: [{name: ann, concurrency: '4'}]", "tenants.0.concurrency (ann)"),
        ("negative", "tenants: [{name: ann, tokensPerMinute: -1}]", "tenants.0.tokensPerMinute (ann)"),
        ("true for a number", "tenants: [{name: ann, concurrency: true}]", "tenants.0.concurrency (ann)"),
        ("no weight", "tenants: [{name: ann, weight: 0}]", "tenants.0.weight (ann)"),
        ("twice", "tenants: [{name: ann}, {name: bob}, {name: ann}]", "named more than once: ann"),
    ],
)
def test_what_is_wrong_is_named(case, text, words):
    with pytest.raises(TenantsError) as raised:
        parse(text, "t.yaml")
    assert words in str(raised.value), case


def test_a_bad_file_keeps_the_last_good_one(tmp_path, caplog):
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: [{name: ann, concurrency: 2}]")
    tenants = Tenants()
    assert (tenants.ready, tenants.refresh(file), tenants.ready) == (False, True, True)
    file.write_text("tenants: [{name: ann, concurrency: many}]")
    assert tenants.refresh(file)
    assert tenants.get("ann").concurrency == 2
    assert f"{file} cannot be used: tenants.0.concurrency (ann)" in caplog.text
    assert "the 1 tenants of before count on" in caplog.text
    file.write_text("tenants: [{name: ann, concurrency: 3}]")
    assert tenants.refresh(file)
    assert not tenants.refresh(file), "nothing has changed"
    assert tenants.get("ann").concurrency == 3


def test_no_file_is_no_limits_for_anybody(tmp_path):
    file = tmp_path / "tenants.yaml"
    tenants = Tenants()
    tenants.refresh(file)
    assert tenants.ready
    assert tenants.get("ann") == Tenant("ann")
    file.write_text("tenants: [{name: ann, concurrency: 2}]")
    tenants.refresh(file)
    file.unlink()
    tenants.refresh(file)
    assert tenants.get("ann").concurrency is None


def test_a_first_file_that_is_bad_is_not_ready(tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text("[")
    tenants = Tenants()
    tenants.refresh(file)
    assert not tenants.ready


@pytest.mark.parametrize(
    ("models", "asked", "allowed"),
    [
        (None, "a", True),
        ({"a"}, "a", True),
        ({"a"}, "b", False),
        ((), "a", False),
    ],
)
def test_models(models, asked, allowed):
    assert Tenant("ann", None if models is None else frozenset(models)).allows(asked) is allowed


@pytest.mark.parametrize(
    ("tenant", "limited"),
    [
        (Tenant("a", frozenset("m"), priority=3, weight=2), False),
        (Tenant("a", requests_per_minute=0), True),
        (Tenant("a", tokens_per_minute=1), True),
        (Tenant("a", concurrency=1), True),
    ],
)
def test_who_has_to_be_counted(tenant, limited):
    assert tenant.limited is limited


async def test_files_are_looked_at_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(reloading, "PERIOD_SECONDS", 0.01)
    file = tmp_path / "tenants.yaml"
    tenants = Tenants()
    following = asyncio.create_task(reloading.follow((partial(tenants.refresh, file),)))
    (tmp_path / "new").write_text("tenants: [{name: ann, concurrency: 2}]")
    (tmp_path / "new").replace(file)
    for _ in range(500):
        if tenants.get("ann").concurrency is None:
            await asyncio.sleep(0.01)
    assert tenants.get("ann").concurrency == 2
    following.cancel()
