"""`manta-runtime fetch`: parse and check; end at once when the model is complete, else hand over to fetch.py.

Wrong arguments end with exit code 2.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import NoReturn

import click

from manta_runtime.models.failure import STOPPED
from manta_runtime.models.manifest import is_complete
from manta_runtime.models.settings import (
    Asked,
    FetchSettings,
    FetchSettingsError,
    ModelUri,
    check_address,
    check_target,
    parse_uri,
)

_CREDENTIALS = (
    "HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_SERVICE_ACCOUNT_KEY"
)  # fmt: skip


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--uri", required=True, help="hf://org/name, s3://bucket/prefix or gs://bucket/prefix.")
@click.option("--revision", default="", help="Branch, tag or commit of a hub; omitted: main.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The folder that holds the complete model.")
@click.option("--pod-ip", required=True, help="The address to tell progress on; never 0.0.0.0.")
@click.option("--control-port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0: none.")
@click.option(
    "--retry-seconds",
    type=click.FloatRange(0),
    default=600,
    show_default=True,
    help="How long a source may give nothing before the fetch fails.",
)
@click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True, help="Ranges fetched at once.")
@click.option(
    "--chunk-bytes", type=click.IntRange(1024), default=16 * 1024 * 1024, show_default=True, help="Size of a range."
)
@click.option("--adapter", is_flag=True, help="Refuse what is no adapter: it needs an adapter_config.json.")
@click.option("--told", type=click.Path(path_type=Path), help="A file that is told the progress, and how it ends.")
@click.option("--field", default=Asked().field, show_default=True, help="What of the spec asks for it, for messages.")
@click.option("--secret", default="", help="The name of the Secret that the credentials are of, for messages.")
def fetch(
    uri: str,
    revision: str,
    to: Path,
    pod_ip: str,
    control_port: int,
    retry_seconds: float,
    parallel: int,
    chunk_bytes: int,
    adapter: bool,
    told: Path | None,
    field: str,
    secret: str,
) -> None:
    """Fetch a model into a cache: resumable, verified, and there only when it is complete.

    Credentials come from the environment: HF_TOKEN; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY;
    GOOGLE_SERVICE_ACCOUNT_KEY.
    """
    source = _checked(uri, revision, to, pod_ip)
    if is_complete(to, str(source), revision):
        click.echo(f"manta fetch: {source} is complete in {to}", err=True)
        return
    settings = FetchSettings(
        uri=source,
        revision=revision,
        to=to,
        pod_ip=pod_ip,
        control_port=control_port,
        holder=os.environ.get("POD_NAME") or socket.gethostname(),
        retry_seconds=retry_seconds,
        parallel=parallel,
        chunk=chunk_bytes,
        adapter=adapter,
        told=told,
        asked=Asked(field, secret),
    )
    _download(settings)


def _checked(uri: str, revision: str, to: Path, pod_ip: str) -> ModelUri:
    try:
        source = parse_uri(uri)
        check_target(to)
        check_address(pod_ip)
    except FetchSettingsError as error:
        raise click.UsageError(str(error)) from error
    if source.scheme != "hf" and revision:
        raise click.UsageError(f"--revision={revision}: a bucket has no revisions; put the version into the prefix")
    return source


def _download(settings: FetchSettings) -> NoReturn:
    # What is asked for is a download; and huggingface_hub reads this when it is imported.
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.pop(name, None)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    for name in _CREDENTIALS:
        if name in os.environ:
            # Secrets made with `echo` end with a newline, which no header may hold.
            os.environ[name] = os.environ[name].strip()
    # As process 1 of a container we would not even notice SIGTERM while the libraries are loaded.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(STOPPED))
    # Imported late: a complete cache should not wait for the HTTP libraries.
    from manta_runtime.models.fetch import run_fetch  # noqa: PLC0415

    run_fetch(settings, dict(os.environ))
