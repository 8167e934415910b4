"""router.yaml: what is accepted, and what the message says when it is not."""

import pytest

from manta_runtime.router.config import ConfigError, load, parse

GOOD = "{deployment: tiny, namespace: default, servedNames: [tiny, small], selector: a=b, drainSeconds: 30}"


def test_fields_and_defaults():
    config = parse(GOOD)
    assert config.served_names == ("tiny", "small")
    assert (config.drain_seconds, config.listen_port, config.picker_port, config.health_port) == (30, 8000, 9002, 9901)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("listenPort: 70000", "listenPort: Input should be less than or equal to 65535"),
        ("listenPort: '80'", "listenPort: Input should be a valid integer"),
        ("servedNames: []", "servedNames"),
        ("policy: best", "policy: Input should be 'least-load'"),
        ("color: red", "color: Extra inputs are not permitted"),
        ("listen_port: 80", "listen_port: Extra inputs are not permitted"),
        ("selector: ''", "selector"),
    ],
)
def test_a_wrong_field_is_named(change, message):
    with pytest.raises(ConfigError) as caught:
        parse(GOOD[:-1] + ", " + change + "}", "/etc/x.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("/etc/x.yaml ")


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("- a", "must be a mapping"), ("", "must be")])
def test_not_a_mapping(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="Mount the ConfigMap there or pass --config"):
        load(tmp_path / "router.yaml")
