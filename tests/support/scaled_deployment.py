"""One LLMDeployment whose replicas follow a demand that the test makes up, on clocks that only the test moves.

The routers' answers are documents; of the operator everything is real but their connections (controller/demand.py).
"""

from dataclasses import replace

from one_deployment import KEY, OneDeployment

from manta_operator.api import names
from manta_operator.controller import ahead, reconcile, scale_told, scaler
from manta_operator.controller.deployments import Deployments
from manta_operator.controller.facts_reader import FactsReader
from manta_operator.controller.facts_sources import Sources
from manta_operator.controller.reconcile import Reconciler
from manta_operator.controller.rhythm import Rhythm
from manta_operator.controller.statuses import timestamp
from manta_operator.controller.store import Store
from manta_operator.scaling.reading import read

LOOK = 2.0
QUICK = {"maxReplicas": 8, "behaviour": {"stabilisationSeconds": 60, "downSeconds": 10}}
"""Up and down within minutes, and without a look at hours past, which takes time."""
BEGAN = 1_800_000_000.0
TOKENS = 1000


class Clock:
    """Seconds that pass when they are told to; `monotonic` in place of the module `time`."""

    def __init__(self):
        self.now, self.ahead = 1000.0, 0.0

    def monotonic(self):
        return self.now

    def time(self):
        return BEGAN + self.now + self.ahead

    def timestamp(self, seconds=None):
        return timestamp(self.time() if seconds is None else seconds)


def document(requests=0, *, instance="1", held=0, in_flight=0, engines=None, **more):
    """What a router answers after so many requests of TOKENS tokens each."""
    tokens = {"tokensIn": requests * TOKENS, "tokensOut": requests * 10, "pairs": requests * TOKENS**2 / 2}
    counts = {"instance": instance, "requests": requests, "answers": requests, "inFlight": in_flight, "held": held}
    return counts | tokens | {"queueAge": 0.0, "usable": 1, "engines": engines or {}} | more


class Scaled(OneDeployment):
    """`demo` with one router that answers `answer`: a document, or None for none."""

    def __init__(self, monkeypatch, **spec):
        super().__init__()
        self.clock, self.answer, self.passes, self.asked = Clock(), document(), 0, 0
        self.requests, self.mute = 0, False
        monkeypatch.setattr(scaler, "time", self.clock)
        monkeypatch.setattr(scaler, "timestamp", self.clock.timestamp)
        monkeypatch.setattr(scale_told, "time", self.clock)
        monkeypatch.setattr(scale_told, "timestamp", self.clock.timestamp)
        monkeypatch.setattr(reconcile, "timestamp", self.clock.timestamp)
        monkeypatch.setattr(ahead, "timestamp", self.clock.timestamp)
        self.begin_looking()
        self.change(**{"autoscaling": {"maxReplicas": 8}} | spec)

    def restart(self):
        """Begin with an operator that remembers nothing."""
        self.store, self.deployments = Store(self.woken.append, (None,)), Deployments()
        self.reconciler = Reconciler(self.client, self.store, Sources(FactsReader(lambda _: None)), Rhythm(600.0))
        self.begin_looking()

    def begin_looking(self):
        """Have the test make the looks, and answer for the routers."""
        self.scaler = self.reconciler._scaler
        self.scaler._routers.ask = self.answers
        self.scaler._keep_looking = self.nothing

    async def nothing(self, entry):
        """The test looks."""

    async def answers(self, pods, _=1):
        self.asked += len(pods)
        said = self.answer if isinstance(self.answer, list) else [self.answer] * len(pods)
        said = [self.with_engines(each) for each in said]
        told = zip(pods, map(read, said), strict=True)  # each router is a process of its own
        return {pod.uid: each and replace(each, instance=f"{each.instance} {pod.name}") for pod, each in told}

    def with_engines(self, said):
        """Have every replica tell that nobody waits there, where the test does not say what they tell."""
        if self.mute or not said or said.get("engines") != {}:
            return said
        told = {"age": 0.5, "instance": "a", "waiting": 0, "running": 0, "kvUsage": 0.0, "inFlight": 0}
        told |= {"promptTokens": 0, "generatedTokens": 0}
        return said | {"engines": {group["metadata"]["name"]: told for group in self.groups()}}

    @property
    def scale(self):
        """What is remembered."""
        return self.deployments.get(KEY).memory.scale

    @property
    def status(self):
        """The status as it stands."""
        return self.cluster.get("LLMDeployment", *KEY).get("status") or {}

    def router(self, name="demo-router-1-a", *, ready=True):
        """Make a router pod."""
        labels = {
            names.LABEL_COMPONENT: names.COMPONENT_ROUTER,
            names.LABEL_DEPLOYMENT: "demo",
            "app.kubernetes.io/managed-by": "manta",
        }
        if self.cluster.find("Pod", "default", name) is None:
            metadata = {"name": name, "namespace": "default", "labels": labels}
            spec = {"containers": [{"name": "picker", "image": "i"}]}
            self.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": conditions}
        self.cluster.patch_status("Pod", "default", name, {"status": status})

    async def begin(self):
        """Have a router, and the replicas that are asked for serve."""
        await self.settle()
        self.router()
        await self.serve()

    async def serve(self):
        """Let every group serve, and the operator see it."""
        for group in self.groups():
            self.pod(group)
        await self.settle()

    async def look(self, rate=None, seconds=LOOK):
        """Let a while pass in which so many requests a second come, look, and make a pass if that is wanted."""
        self.clock.now += seconds
        if rate is not None:
            self.requests += rate * seconds
            self.answer = document(self.requests, in_flight=1 if rate else 0)
        entry = self.deployments.get(KEY)
        await self.scaler._look(entry, entry.memory.scale)
        return await self.turn()

    async def turn(self):
        """Make a pass if one is wanted; say whether."""
        entry = self.deployments.get(KEY)
        if not entry.flag.is_set():
            return False
        entry.flag.clear()
        self.passes += 1
        await self.run()
        entry.flag.clear()
        return True

    async def play(self, rate, seconds, *, every=LOOK):
        """Look for so long; whatever is started serves at once. Return how often the status was written."""
        writes = 0
        for _ in range(round(seconds / every)):
            while await self.look(rate, every):
                writes += self.client.writes["status"]
                if not {"StatefulSet", "delete StatefulSet"} & set(self.client.writes):
                    break
                for group in self.groups():
                    self.pod(group)
                self.hear()
        return writes
