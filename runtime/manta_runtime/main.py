"""The command `manta-runtime`: what the containers of an engine pod and of a router pod run.

Each part is imported only when asked for: an engine pod needs no Kubernetes client, a router pod no engine.
"""

from __future__ import annotations

from importlib import import_module

import click

_COMMANDS = {
    "engine": ("manta_runtime.engine.command", "engine", "Launch one pod of an engine group (Ray + vLLM)."),
    "fetch": ("manta_runtime.models.command", "fetch", "Fetch a model into a cache, before the engine starts."),
    "adapters": ("manta_runtime.models.adapters", "adapters", "Fetch LoRA adapters beside a running engine."),
    "simulate": ("manta_runtime.simulator.command", "simulate", "Simulate vLLM's server, for load tests."),
    "router": ("manta_runtime.router.command", "router", "Run a part of the router (Envoy, endpoint picker)."),
}


class _LazyGroup(click.Group):
    """A group that imports a subcommand when it is used, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands in the order of their help."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand, or None when there is none of that name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="manta", prog_name="manta-runtime")
def main() -> None:
    """Run what Manta puts into its pods."""


if __name__ == "__main__":
    main()
