"""What `manta status NAME` shows of adapters."""

from datetime import UTC, datetime

import click

from manta_operator.cli.picture import picture
from manta_operator.cli.status_text import full

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def shown(**status):
    """The picture of a deployment with that status."""
    metadata = {"name": "tiny", "namespace": "default", "uid": "u", "generation": 1}
    spec = {"model": {"uri": "hf://org/m"}, "accelerator": {"type": "cpu"}}
    return picture({"metadata": metadata, "spec": spec, "status": status}, [], [], [])


def test_adapters_have_a_row_and_one_for_each_replica_that_lacks_them():
    def row(replica, state, message=""):
        return {"replica": replica, "pod": f"tiny-1a2b3c4d-{replica}-0", "state": state, "message": message}

    adapters = [
        {"name": "sql", "loaded": 2, "replicas": [row(0, "Loaded"), row(1, "Loaded")]},
        {"name": "chat", "loaded": 1, "replicas": [row(1, "Failed", "rank 64 is too high"), row(0, "Loaded")]},
    ]
    lines = [click.unstyle(line) for line in full(shown(adapters=adapters), NOW, None)]
    start = lines.index("Adapters")
    assert [line.split(maxsplit=4) for line in lines[start + 1 : start + 4]] == [
        ["ADAPTER", "LOADED", "STATE", "POD", "MESSAGE"],
        ["sql", "2", "Loaded"],
        ["chat", "1", "Failed", "tiny-1a2b3c4d-1-0", "rank 64 is too high"],
    ]
    assert "Adapters" not in map(click.unstyle, full(shown(), NOW, None))
