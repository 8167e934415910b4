"""Launchers that are killed, a pod that freezes, an API server and an operator that are away, under requests.

The fast form of `make faults`: box, launchers and router are real, the simulator stands in for vLLM and Ray.
"""

import pytest
from faults.catalogue import FAULTS
from faults.report import row
from faults.run import run

pytestmark = pytest.mark.integration

REQUESTS_PER_SECOND = 10.0
RECOVER_SECONDS = 240.0
CHOSEN = ("worker's launcher", "head's launcher", "Kubernetes API frozen 20 s", "operator")


@pytest.mark.timeout(600)
async def test_a_group_comes_back_and_nothing_is_lost_that_need_not_be(tmp_path):
    chosen = [fault for fault in FAULTS if fault.name in CHOSEN]
    results = []
    problems = await run(tmp_path, chosen, REQUESTS_PER_SECOND, RECOVER_SECONDS, results.append, simulated=True)
    assert [result.fault.name for result in results] == list(CHOSEN)
    for result in results:
        assert not result.problems, row(result)
        assert len(result.requests) > REQUESTS_PER_SECOND
    assert not problems
