"""Refusals of the API server, classified; and whose an object is."""

import pytest

from manta_operator.controller.children import child
from manta_operator.controller.errors import (
    Conflict,
    Expired,
    Forbidden,
    InvalidObject,
    Leaving,
    Missing,
    NotOwned,
    Terminating,
    Transient,
    Unauthorized,
    classify,
)
from manta_operator.controller.ownership import ensure_ours


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, InvalidObject),
        (401, Unauthorized),
        (403, Forbidden),
        (404, Missing),
        (409, Conflict),
        (410, Expired),
        (422, InvalidObject),
        (429, Transient),
        (500, Transient),
        (503, Transient),
        (None, Transient),
    ],
)
def test_classify(code, kind):
    error = classify(code, "it said no", "apply Service prod/demo", 7.0)
    assert type(error) is kind
    family = next(each for each in (Transient, Forbidden, kind) if issubclass(kind, each))
    assert error.reason == family.__name__
    assert error.message == str(error) == "apply Service prod/demo: it said no"
    assert error.retry_after == 7.0


def test_a_namespace_that_goes_is_no_lack_of_permission():
    said = 'services "demo" is forbidden: unable to create new content in namespace x because it is being terminated'
    assert type(classify(403, said, "apply Service x/demo")) is Terminating


def service(deployment="demo", *owners):
    labels = {"manta.dev/deployment": deployment} if deployment else {}
    metadata = {"name": "demo", "namespace": "prod", "uid": "s", "labels": labels, "ownerReferences": list(owners)}
    return child("Service", {"metadata": metadata})


def owner(uid, controller=True, name="other"):
    return {"kind": "LLMDeployment", "name": name, "uid": uid, "controller": controller}


@pytest.mark.parametrize(
    "found",
    [service("demo", owner("u")), service("demo", owner("x", controller=False), owner("u")), service("demo")],
    ids=["ours", "ours as controller", "an orphan of ours"],
)
def test_ours_or_orphaned_may_be_used(found):
    ensure_ours(found, "u", "demo")


@pytest.mark.parametrize(
    ("found", "holder"),
    [
        (service("other", owner("x")), "LLMDeployment other"),
        (service("other"), "LLMDeployment other"),
        (service("demo", owner("x")), "LLMDeployment other"),
        (service(""), "nobody"),
    ],
    ids=["another's", "an orphan of another", "another's with our label", "no label"],
)
def test_what_belongs_to_somebody_else_is_refused(found, holder):
    with pytest.raises(NotOwned, match=rf"Service prod/demo exists already and belongs to {holder}.*delete or rename"):
        ensure_ours(found, "u", "demo")


def test_what_one_of_this_name_has_left_is_waited_for():
    with pytest.raises(Leaving, match="Service prod/demo still belongs to the deleted LLMDeployment demo; waiting"):
        ensure_ours(service("demo", owner("x", name="demo")), "u", "demo")


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(None, None), (0.0, 0.0), (33.0, 33.0), (86400.0, 60.0), (float("inf"), 60.0), (float("nan"), 60.0), (-1.0, 60.0)],
)
def test_nobody_is_waited_for_longer_than_a_minute(asked, waited):
    assert classify(429, "too many requests", "apply Service", asked).retry_after == waited
