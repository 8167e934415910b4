"""docs/cli.md holds every command's own --help, word for word; GOLDEN_UPDATE=1 writes it anew."""

import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from manta_operator.cli.main import main

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
BLOCK = re.compile(r"<!-- help: ([\w ]+) -->\n(?:```text\n.*?```\n)?", re.DOTALL)


def commands():
    """The commands, and those within groups: `keys create`."""
    for name in main.list_commands(None):
        yield name
        command = main.get_command(None, name)
        if isinstance(command, click.Group):
            yield from (f"{name} {each}" for each in command.list_commands(None))


COMMANDS = list(commands())


def help_of(command):
    return CliRunner().invoke(main, [*command.split(), "--help"], prog_name="manta", terminal_width=100).stdout


def block(command):
    return f"<!-- help: {command} -->\n```text\n{help_of(command)}```\n"


if os.environ.get("GOLDEN_UPDATE"):
    PAGE.write_text(BLOCK.sub(lambda found: block(found[1]), PAGE.read_text()))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_is_in_the_page(command):
    assert block(command) in PAGE.read_text(), "run GOLDEN_UPDATE=1 pytest tests/unit/cli/test_docs.py"


def test_no_command_is_in_the_page_that_does_not_exist():
    assert sorted(BLOCK.findall(PAGE.read_text())) == sorted(COMMANDS)


def test_the_exit_codes_in_the_page_are_the_ones_used():
    from manta_operator.cli import chat_command, diff_command, failures, status_command

    table = re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    used = {0, 130, failures.EXIT_INVALID, status_command.EXIT_NOT_READY}
    used |= {chat_command.EXIT_BAD_ANSWER, diff_command.EXIT_DIFFERENT}
    assert sorted(map(int, table)) == sorted(used)
