"""The log of what fetches weights, written as the engine's is: JSON for collectors, text for people, without secrets.

Its lines carry the phase `fetch`. What it leaves as termination message is plain text in both forms: people and the
operator read it.
"""

from __future__ import annotations

import atexit
import logging
import socket
from typing import TYPE_CHECKING

from manta_runtime.engine.log_lines import Place, mask_addresses, secrets_of
from manta_runtime.engine.log_output import STDERR, LogHandler, Output, choose_format
from manta_runtime.engine.settings import LOG, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FLUSH_SECONDS = 5.0


class Log:
    """The log of this process; close it before the process ends otherwise than by returning."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def leave_last_words(self) -> None:
        """Leave the end of the log for Kubernetes; as text it finds it by itself."""
        if self._output.format == "json":
            self._output.last_words.leave()

    def close(self) -> None:
        """Wait until all is written."""
        self._output.close(_FLUSH_SECONDS)


def log_to_stderr(environ: Mapping[str, str]) -> Log:
    """Send the lines of `manta` to stderr, in the form that MANTA_LOG asks for."""
    pod = environ.get("POD_NAME") or socket.gethostname()
    group, _, rank = pod.rpartition("-")
    place = Place(group or pod, int(rank) if rank.isdecimal() else 0, pod)
    try:
        chosen, wrong = choose_format(environ.get(LOG, ""), STDERR), ""
    except SettingsError as error:
        chosen, wrong = choose_format("", STDERR), str(error)
    output = Output(STDERR, chosen, place, lambda: "fetch", mask_addresses)
    output.hide(*secrets_of(environ))
    logger = logging.getLogger("manta")
    logger.handlers[:] = [LogHandler(output, "fetch")]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if wrong:
        logger.warning("%s", wrong)
    log = Log(output)
    atexit.register(log.close)
    return log
