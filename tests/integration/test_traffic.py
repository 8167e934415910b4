"""Requests through a deployment's Service on a whole box while things change: none is lost, none is cut short.

The short form of `make traffic`: simulated engines, everything around them real (operator, kubelet, launcher, router).
"""

import pytest
from traffic.changes import CHANGES
from traffic.run import run

pytestmark = pytest.mark.integration

REQUESTS_PER_SECOND = 25
# The last one scales up and down, too.
CHOSEN = ("rollout", "router pod deleted", "engine pod deleted", "operator kill -9")


@pytest.mark.timeout(480)
async def test_no_request_is_lost_while_things_change(tmp_path):
    by_name = {change.name: change for change in CHANGES}
    rows = await run(tmp_path, [by_name[name] for name in CHOSEN], REQUESTS_PER_SECOND, print, quiet=0.5)
    assert [row["change"] for row in rows[:-1]] == list(CHOSEN)
    for row in rows:
        spoilt = {key: row[key] for key in ("lost", "failed", "truncated", "duplicated") if row[key]}
        assert not spoilt, f"{row['change']}: {row['why']}"
        assert row["sent"] > REQUESTS_PER_SECOND
