"""`manta-runtime engine`: parse and check, then hand over to the launcher. Wrong arguments end with exit code 2."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from manta_runtime.engine.log_output import STDERR, choose_format
from manta_runtime.engine.rope import complete_flags
from manta_runtime.engine.settings import (
    ENGINE,
    GROUP_TOKEN,
    LOG,
    STATE,
    EngineSettings,
    SettingsError,
    check_group_token,
    check_model,
    check_settings,
)
from manta_runtime.models.adapters_list import MOUNTS, read_mounts

if TYPE_CHECKING:
    from manta_runtime.engine.log_lines import LogFormat

_PORT = click.IntRange(1, 65535)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rank", type=int, required=True, help="This pod's place in its group; 0 is the head.")
@click.option("--group-size", type=click.IntRange(1), default=1, show_default=True, help="Pods in the group.")
@click.option("--pod-ip", required=True, help="The address to listen on; never 0.0.0.0.")
@click.option("--head", default="", help="DNS name of the group's pod 0.")
@click.option("--port", type=_PORT, default=8000, show_default=True, help="vLLM's HTTP port.")
@click.option("--control-port", type=_PORT, default=8001, show_default=True, help="Probes and group.")
@click.option("--executor", type=click.Choice(["uni", "mp", "ray"]), default="uni", show_default=True)
@click.option("--accelerator", type=click.Choice(["cpu", "gpu"]), default="gpu", show_default=True)
@click.option("--accelerators-per-pod", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--startup-seconds",
    type=click.FloatRange(1),
    default=1800,
    show_default=True,
    help="A group that serves no token by then ends, and is started again.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0),
    default=60,
    show_default=True,
    help="How long requests in flight may take after SIGTERM.",
)
@click.option(
    "--hang-seconds",
    type=click.FloatRange(60),
    default=300,
    show_default=True,
    help="With requests and no step of vLLM for this long the group ends, and is started again.",
)
@click.option(
    "--adapters",
    type=click.Path(path_type=Path),
    help="A file with the list of LoRA adapters to have, read every 2 s.",
)
@click.option(
    "--complete-hf-overrides",
    is_flag=True,
    help="Add to the scaled positions of vLLM's --hf-overrides what the model's config.json says.",
)
@click.argument("vllm_flags", nargs=-1, type=click.UNPROCESSED)
def engine(**options: Any) -> None:
    """Launch one pod of an engine group: Ray where asked for, and vLLM with the flags after `--`.

    A group of several pods needs the secret they share in the environment, as GROUP_TOKEN.
    """
    state = os.getenv(STATE)
    settings = EngineSettings(
        **options,
        pod_name=os.environ.get("POD_NAME") or socket.gethostname(),
        scratch=Path(tempfile.gettempdir()),
        group_token=os.getenv(GROUP_TOKEN, ""),
        simulate=_simulates(os.getenv(ENGINE, "")),
        log_format=_log_format(os.getenv(LOG, "")),
        state_folder=Path(state) if state else None,
        mounts=read_mounts(os.getenv(MOUNTS, "")),
    )
    try:
        check_settings(settings)
        check_group_token(settings)
        check_model(settings)
        if settings.complete_hf_overrides and settings.model_is_local:
            flags = complete_flags(settings.vllm_flags, Path(settings.model).expanduser())
            settings = replace(settings, vllm_flags=flags)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    # Imported late: --help and wrong arguments should not wait for the HTTP libraries.
    from manta_runtime.engine.launcher import launch  # noqa: PLC0415

    sys.exit(launch(settings, dict(os.environ)))


def _log_format(asked: str) -> LogFormat:
    try:
        return choose_format(asked, STDERR)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def _simulates(engine: str) -> bool:
    if engine not in ("", "vllm", "simulate"):
        raise click.UsageError(f"{ENGINE}={engine}: use vllm (or leave it out), or simulate for load tests.")
    return engine == "simulate"
