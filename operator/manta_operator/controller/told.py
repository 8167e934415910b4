"""What a pass says in the log: each decision and each failure once, for as long as it lasts."""

import logging
from collections.abc import Iterable

from manta_operator.controller.deployments import Entry
from manta_operator.controller.errors import ClusterError, Leaving, Terminating
from manta_operator.planning.conditions import Situation

log = logging.getLogger(__name__)


def complain(entry: Entry, failures: Iterable[ClusterError]) -> None:
    """Log each failure once for as long as it lasts."""
    failures = tuple(failures)
    for failure in failures:
        if failure.message not in entry.memory.complaints:
            level = logging.INFO if isinstance(failure, Terminating | Leaving) else logging.WARNING
            log.log(level, "%s/%s: %s", *entry.key, failure)
    entry.memory.complaints = tuple(failure.message for failure in failures)


def tell(entry: Entry, situation: Situation) -> None:
    """Log what was decided, each sentence once for as long as it holds."""
    said = tuple(decision.message for decision in situation.plan.decisions) if situation.plan else ()
    changes = situation.scaling.told.get("changes", ()) if situation.scaling else ()
    said += tuple(change.get("message", "") for change in changes)
    for sentence in said:
        if sentence not in entry.memory.said:
            log.info("%s/%s: %s", *entry.key, sentence)
    entry.memory.said = said
