"""The options of `manta operator` for its admission webhook, as one value."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from manta_operator.controller.settings import WebhookSettings


def options_of_webhook(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options and, in their stead, the argument `webhook`: its settings for a namespace, or None."""

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        webhook_port: int | None,
        webhook_host: str,
        webhook_name: str,
        webhook_certificates: Path | None,
        **kwargs: Any,
    ) -> Any:
        def settings(namespace: str) -> WebhookSettings | None:
            if webhook_port is None:
                return None
            return WebhookSettings(webhook_host, webhook_port, webhook_name, namespace, webhook_certificates)

        return command(*args, webhook=settings, **kwargs)

    result: Callable[..., Any] = wrapped
    for option in reversed(_OPTIONS):
        result = option(result)
    return result


_OPTIONS = (
    click.option(
        "--webhook-port", type=click.IntRange(1, 65535), help="Serve the admission webhook there, over HTTPS."
    ),
    click.option("--webhook-host", default="127.0.0.1", show_default=True, help="Address of the webhook's port."),
    click.option(
        "--webhook-name",
        default="manta-operator-webhook",
        show_default=True,
        help="Of its Service in the own namespace, and of its ValidatingWebhookConfiguration.",
    ),
    click.option(
        "--webhook-certificates",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder with tls.crt and tls.key, which somebody else renews. Default: made and published here.",
    ),
)
