"""The entry point of `manta` (also `kubectl manta`): one command a module, imported when it is called."""

import importlib
import os
from typing import Any

import click

from manta_operator import __version__
from manta_operator.cli.failures import Refused
from manta_operator.cli.options import PLUGIN

_COMMANDS = {
    "plan": ("plan_commands", "plan"),
    "render": ("plan_commands", "render"),
    "simulate": ("simulate_command", "simulate"),
    "up": ("up_command", "up"),
    "down": ("down_command", "down"),
    "status": ("status_command", "status"),
    "logs": ("logs_command", "logs"),
    "chat": ("chat_command", "chat"),
    "keys": ("keys_command", "keys"),
    "release": ("release_command", "release"),
    "operator": ("operator_command", "operator"),
}


class _Lazy(click.Group):
    """Imports a command's module when the command is asked for: `manta plan` need not load an API server."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Begin a call; called as a plugin of kubectl, the usage texts say so."""
        if info_name and info_name.startswith("kubectl-"):
            info_name = PLUGIN
        return super().make_context(info_name, args, parent, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(importlib.import_module(f"manta_operator.cli.{module}"), attribute)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("manta_operator"):
                raise
            return _unavailable(cmd_name, error.name)
        return command


def _unavailable(command: str, package: str) -> click.Command:
    """Return what stands in for a command whose packages are not installed: it says so, and what to do."""
    extra = "operator,box" if command == "up" else "operator"
    sentence = f"`manta {command}` needs {package}, which is not installed: pip install 'manta[{extra}]'"

    def refuse() -> None:
        raise Refused([sentence])

    lenient = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(command, callback=refuse, help=f"Not here: {sentence}", context_settings=lenient)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="manta")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Serve large language models on Kubernetes: one LLMDeployment in, an OpenAI endpoint out."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
