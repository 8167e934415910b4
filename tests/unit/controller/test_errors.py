"""Refusals of the API server, classified; and whose an object is."""

import pytest

from manta_operator.controller.client import ensure_owned
from manta_operator.controller.errors import Forbidden, InvalidObject, Missing, NotOwned, Transient, classify

SERVICE = {"kind": "Service", "metadata": {"name": "demo", "namespace": "prod"}}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, InvalidObject),
        (401, Forbidden),
        (403, Forbidden),
        (404, Missing),
        (409, Transient),
        (410, Transient),
        (422, InvalidObject),
        (429, Transient),
        (500, Transient),
        (503, Transient),
        (None, Transient),
    ],
)
def test_classify(code, kind):
    error = classify(code, "it said no", "apply Service prod/demo")
    assert type(error) is kind
    assert error.reason == kind.__name__
    assert error.message == str(error) == "apply Service prod/demo: it said no"


def owned_by(*owners):
    return SERVICE | {"metadata": SERVICE["metadata"] | {"ownerReferences": list(owners)}}


def owner(uid, controller=True):
    return {"kind": "LLMDeployment", "name": "other", "uid": uid, "controller": controller}


@pytest.mark.parametrize("live", [None, owned_by(owner("u")), owned_by(owner("x", controller=False), owner("u"))])
def test_ours_or_nobodys_name_may_be_used(live):
    ensure_owned(live, "u")


@pytest.mark.parametrize(
    ("live", "holder"),
    [
        (SERVICE, "nobody"),
        (owned_by(), "nobody"),
        (owned_by(owner("x")), "LLMDeployment other"),
        (owned_by(owner("u", controller=False)), "nobody"),
    ],
    ids=["no owner", "empty list", "another controller", "ours, but not as controller"],
)
def test_what_belongs_to_somebody_else_is_refused(live, holder):
    with pytest.raises(NotOwned, match=rf"Service prod/demo exists already and belongs to {holder}.*delete or rename"):
        ensure_owned(live, "u")
