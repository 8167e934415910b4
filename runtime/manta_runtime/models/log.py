"""The log of a fetch: lines on stderr, in which the values of credentials and signatures of addresses never show."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECRETS = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIALS?$|ACCESS_KEY|SERVICE_ACCOUNT_KEY")
_SIGNATURE = re.compile(
    r"(?i)((?:x-(?:amz|goog)-)?(?:signature|credential|security-token)|policy|key-pair-id)=[^&\s\"']+"
)
_USER = re.compile(r"(?<=://)[^/\s@]+@")
_SHORTEST = 6  # what is shorter is no secret, and would blank out words


class Redacting(logging.Formatter):
    """Formats lines and takes the secrets of the environment out of them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__("%(asctime)s manta fetch: %(message)s", "%H:%M:%S")
        values = (value for name, value in environ.items() if _SECRETS.search(name))
        self._values = sorted({value for value in values if len(value) >= _SHORTEST}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets."""
        text = super().format(record)
        for value in self._values:
            text = text.replace(value, "***")
        return _USER.sub("***@", _SIGNATURE.sub(r"\1=***", text))


def log_to_stderr(environ: Mapping[str, str]) -> None:
    """Send the lines of `manta` to stderr, without secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Redacting(environ))
    logger = logging.getLogger("manta")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
