"""The operator's own parts, put together as `handlers` does but without kopf, over HTTP against the box's API server.

In the test's process, so that a test may shorten the operator's patience. Children are watched, the LLMDeployment is
seen as it is made, and as `change` changes it.
"""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from one_deployment import KEY, SPEC
from served_kind import serve_llmdeployments

from manta_operator.box.apiserver.server import ApiServer
from manta_operator.controller.client import KubeClient
from manta_operator.controller.deployments import Deployments
from manta_operator.controller.facts_reader import FactsReader
from manta_operator.controller.facts_sources import Sources
from manta_operator.controller.kinds import CHILD_KINDS
from manta_operator.controller.loop import Loop
from manta_operator.controller.reconcile import Reconciler
from manta_operator.controller.rhythm import Rhythm
from manta_operator.controller.store import Store
from manta_operator.controller.watcher import Outage, Watcher

TOKEN = "parts"


class Parts:
    """`demo` and what the cluster holds."""

    def __init__(self, server, deployments):
        self.cluster, self._deployments = server.cluster, deployments

    def change(self, **spec):
        """Change the spec, and let the operator see it."""
        self._deployments.see(self.cluster.patch("LLMDeployment", *KEY, {"spec": spec}))

    def condition(self, kind):
        """One condition of the status; empty: there is none."""
        status = self.cluster.get("LLMDeployment", *KEY).get("status") or {}
        return next((each for each in status.get("conditions") or () if each["type"] == kind), {})

    async def until(self, holds, seconds=5.0):
        """Wait until something holds; return it."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, self.cluster.get("LLMDeployment", *KEY).get("status")
            await asyncio.sleep(0.01)
        return found


@asynccontextmanager
async def operating(**spec):
    """Run the operator's parts for one LLMDeployment `demo`."""
    server = ApiServer(token=TOKEN, service_addresses=(f"127.2.0.{n}" for n in range(1, 200)))
    serve_llmdeployments(server)
    await server.start("127.0.0.1", 0, None)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
        client = KubeClient(session, f"http://127.0.0.1:{server.port}")
        deployments = Deployments()
        store, rhythm = Store(deployments.wake, (None,)), Rhythm(600.0)
        loop = Loop(Reconciler(client, store, Sources(FactsReader(lambda _: None)), rhythm), store, rhythm)
        metadata = {"name": "demo", "namespace": "default"}
        body = {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": SPEC | spec}
        entry = deployments.see(server.cluster.create(body))
        watchers = [Watcher(client, store, kind, None, Outage(), deployments.wake_all) for kind in CHILD_KINDS]
        tasks = [asyncio.create_task(each.run()) for each in watchers] + [asyncio.create_task(loop.run(entry))]
        try:
            yield Parts(server, deployments)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
