"""JSON lines of engine pods are shown as text, and nothing else is touched."""

import pytest

from manta_operator.cli.plain_lines import plain

LINE = '{"time":"2026-11-21T14:19:27.217075Z","level":"info","message":"ready: \\"now\\"","source":"manta","rank":0}'


def test_the_launchers_lines_become_text():
    assert plain(LINE) == '14:19:27 manta: ready: "now"'


@pytest.mark.parametrize("line", ["", "INFO: up", '{"time":"cut off', '{"time":"2026"}', '{"status": 200}'])
def test_other_lines_stay(line):
    assert plain(line) == line
