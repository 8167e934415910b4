"""What the chart tells the operator to do besides: where it has facts from, and its admission webhook."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from helm import Refused, render

from manta_operator.cli.main import main
from manta_operator.controller.settings import Settings, WebhookSettings

HUBS = ["https://hub.example", "http://mirror:8080/hf"]
ISSUER = {"issuerRef": {"kind": "ClusterIssuer", "name": "ours"}}
NAMESPACES = ["team-a", "team-b"]


def every(kind: str, objects: list[dict]) -> list[dict]:
    return [body for body in objects if body["kind"] == kind]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, ("manta-catalog", (), False)),
        ({"catalog": "models", "hubs": HUBS, "readSecrets": True}, ("models", tuple(HUBS), True)),
        ({"catalog": ""}, ("", (), False)),
    ],
)
def test_the_operator_is_told_where_facts_come_from(facts: dict, told: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of({"facts": facts}, monkeypatch)
    assert (settings.catalog, settings.hubs, settings.reads_secrets) == told


@pytest.mark.parametrize(
    ("webhook", "told"),
    [
        ({}, None),
        ({"enabled": True}, WebhookSettings("127.0.0.1", 9443, "manta-operator-webhook", "manta-system")),
        (
            {"enabled": True, "certManager": ISSUER},
            WebhookSettings("127.0.0.1", 9443, "manta-operator-webhook", "manta-system", Path("/certificates")),
        ),
    ],
    ids=["off", "own certificates", "cert-manager"],
)
def test_the_operator_is_told_of_its_webhook(webhook: dict, told: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of({"webhook": webhook}, monkeypatch).webhook == told


def settings_of(values: dict, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the operator makes of the arguments that the chart gives it."""
    [container] = every("Deployment", render(values))[0]["spec"]["template"]["spec"]["containers"]
    seen: list[Settings] = []
    monkeypatch.setattr("manta_operator.cli.operator_command.run", lambda settings: seen.append(settings) or 0)
    given = [arg.replace("$(POD_IP)", "127.0.0.1") for arg in container["args"]]
    answer = CliRunner().invoke(main, ["operator", *given], env={"POD_NAMESPACE": "manta-system"})
    assert answer.exit_code == 0, answer.output
    return seen[0]


def test_the_webhook_is_off_unless_it_is_asked_for() -> None:
    objects = render({})
    assert not every("ValidatingWebhookConfiguration", objects)
    assert not [body for body in objects if body["metadata"]["name"].endswith("-webhook")]
    [container] = every("Deployment", objects)[0]["spec"]["template"]["spec"]["containers"]
    assert not [argument for argument in container["args"] if "webhook" in argument]


@pytest.mark.parametrize("own", [True, False], ids=["own certificates", "cert-manager"])
def test_the_webhook_leads_to_every_replica_and_lets_writes_go_on_without_one(own: bool) -> None:
    objects = render({"webhook.enabled": True} | ({} if own else {"webhook": {"enabled": True, "certManager": ISSUER}}))
    [configuration] = every("ValidatingWebhookConfiguration", objects)
    [hook] = configuration["webhooks"]
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Ignore", 3, "None")
    assert [each["expression"] for each in hook["matchConditions"]] == [
        "oldObject == null || object.spec != oldObject.spec"
    ]
    assert hook["rules"][0]["resources"] == ["llmdeployments"], "not the status, not the scale"
    service = next(body for body in every("Service", objects))
    reference = hook["clientConfig"]["service"]
    assert (reference["name"], reference["namespace"]) == (
        service["metadata"]["name"],
        service["metadata"]["namespace"],
    )
    template = every("Deployment", objects)[0]["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    [container] = template["spec"]["containers"]
    assert {"name": "webhook", "containerPort": 9443} in container["ports"]
    arguments = dict(each.lstrip("-").partition("=")[::2] for each in container["args"])
    assert arguments["webhook-name"] == service["metadata"]["name"]
    assert ("webhook-certificates" in arguments) is not own
    assert bool(every("Certificate", objects)) is not own
    [certificates] = [each["secret"] for each in template["spec"]["volumes"] if "secret" in each] or [None]
    assert (certificates is None) is own
    assert own or certificates["optional"], "the operator does not wait for cert-manager"
    assert ("annotations" in configuration["metadata"]) is not own


def test_only_the_namespaces_that_are_served_are_asked_about() -> None:
    [configuration] = every(
        "ValidatingWebhookConfiguration", render({"namespaces": NAMESPACES, "webhook.enabled": True})
    )
    [selected] = configuration["webhooks"][0]["namespaceSelector"]["matchExpressions"]
    assert (selected["key"], selected["values"]) == ("kubernetes.io/metadata.name", NAMESPACES)


def test_who_reaches_the_webhook_can_be_narrowed() -> None:
    servers = [{"ipBlock": {"cidr": "10.0.0.0/28"}}]
    for given, expected in (({}, None), ({"webhookFrom": servers}, servers)):
        values = {"webhook.enabled": True, "networkPolicy": {"enabled": True, **given}}
        [policy] = every("NetworkPolicy", render(values))
        [rule] = [each for each in policy["spec"]["ingress"] if each["ports"][0]["port"] == "webhook"]
        assert rule.get("from") == expected


def test_an_api_server_waits_longer_than_the_operator_waits_for_facts() -> None:
    with pytest.raises(Refused, match="timeoutSeconds"):
        render({"webhook": {"enabled": True, "timeoutSeconds": 1}})
