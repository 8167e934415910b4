"""The entry point of `manta` (also `kubectl manta`): one command a module, imported when it is called."""

import importlib

import click

from manta_operator import __version__

_COMMANDS = {
    "plan": ("plan_commands", "plan"),
    "render": ("plan_commands", "render"),
    "up": ("up_command", "up"),
    "status": ("box_commands", "status"),
    "logs": ("box_commands", "logs"),
    "down": ("box_commands", "down"),
    "operator": ("operator_command", "operator"),
}


class _Lazy(click.Group):
    """Imports a command's module when the command is asked for: `manta plan` need not load an API server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"manta_operator.cli.{module}"), attribute)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="manta")
def main() -> None:
    """Serve large language models on Kubernetes: one LLMDeployment in, an OpenAI endpoint out."""
