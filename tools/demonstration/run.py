"""The story of `make demo`, one function a chapter."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from demonstration.box import EXAMPLES, MODELS, Up, free_state, up
from demonstration.chat import Answer, Chat
from demonstration.failure import Load, Outcome, engine_of
from demonstration.leftovers import left_behind, shared_now
from demonstration.tell import DemoFailed, Story, say
from manta_operator.box.state import BoxState
from manta_operator.cli.facts import Lookup
from manta_operator.cli.manifests import plan_files
from manta_operator.cli.options import parse_maps
from manta_operator.cli.plan_commands import print_plan
from manta_operator.cli.watch import take
from manta_operator.controller.client import KubeClient, connect

QUESTIONS = ("What is a manta ray?", "What is Kubernetes?", "Tell me a story about the sea.", "How do I cook rice?")
READY_SECONDS = 900.0
SETTLE_SECONDS = 4.0


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    keep: bool = False
    started: float | None = None
    """time.time() when `make demo` was typed: installing and making the model count, too."""


async def run(options: Options) -> None:
    """Tell the whole story. Raises DemoFailed."""
    story, before = Story(), shared_now()
    if options.started is not None:
        story.earlier("Installing, and making the tiny model", time.time() - options.started)
    with free_state() as folder:
        await _tell(story, options, folder, before)


async def _tell(story: Story, options: Options, folder: Path, before: frozenset[str]) -> None:
    with story.phase("What Manta would do, before anything starts (manta plan)"):
        _plan()
    async with up(folder, keep=options.keep) as box:
        with story.phase("A box with the operator in it; both manifests applied (manta up)"):
            state = await box.state(60)
            async with _client(state) as client:
                await _until_ready(box, client)
        async with _client(state) as client:
            tiny, sharded = await _chat(client, "tiny"), await _chat(client, "tiny-sharded")
            with story.phase("Questions, plain and streamed, through both load balancers"):
                speed = await _talk(story, tiny, sharded)
            with story.phase("One replica is killed while requests run"):
                await _break(client, tiny)
            if options.keep:
                _invite(folder, state, tiny, sharded)
            await tiny.close()
            await sharded.close()
        ending = time.monotonic()
    if not options.keep:
        story.phases.append(("Everything is taken down", time.monotonic() - ending))
        _check_nothing_left(left_behind(before, folder, state))
    story.summary()
    say(f"\n{speed}")
    say(f"\nlogs: {folder / 'logs'}")


def _plan() -> None:
    for entry in plan_files(EXAMPLES, Lookup(parse_maps((MODELS,))), local=True):
        print_plan(entry)


@asynccontextmanager
async def _client(state: BoxState) -> AsyncIterator[KubeClient]:
    with tempfile.TemporaryDirectory(dir=state.kubeconfig.parent) as scratch:  # dies with the state, however we end
        async with connect(Path(scratch), state.kubeconfig) as client:
            yield client


async def _until_ready(box: Up, client: KubeClient) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        box.check()
        if (await take(client)).all_ready:
            await asyncio.sleep(1)  # let the box say so first
            return
        await asyncio.sleep(0.5)
    raise DemoFailed(
        f"not everything was ready within {READY_SECONDS:.0f} s; the last lines above say what was awaited"
    )


async def _chat(client: KubeClient, name: str) -> Chat:
    service = await client.get("v1", "Service", "default", name)
    if service is None:
        raise DemoFailed(f"the operator made no Service {name}")
    return Chat(f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}/v1", name)


async def _talk(story: Story, tiny: Chat, sharded: Chat) -> str:
    """Ask both deployments everything; returns what it felt like, in a sentence. Raises DemoFailed."""
    answers: list[Answer] = []
    for chat, kind in ((tiny, "two replicas"), (sharded, "tensor parallel 2 over Ray")):
        say(f"  tiny ({kind})" if chat is tiny else f"  tiny-sharded ({kind})")
        for index, question in enumerate(QUESTIONS):
            stream = index % 2 == 0
            answer = await (chat.streamed(question) if stream else chat.plain(question))
            if not answers:
                story.first_answer()
            _print(question, answer, streamed=stream)
            answers.append(answer)
    # At the same time, so that the load balancer has something to balance.
    burst = await asyncio.gather(*(tiny.streamed(question) for question in QUESTIONS * 2))
    served = sorted({answer.replica for answer in burst})
    rate = sum(answer.tokens for answer in burst) / max(answer.seconds for answer in burst)
    say(f"  {len(burst)} streams at once: {rate:.0f} tokens/s in all, served by {', '.join(served)}")
    if len(served) != 2:
        raise DemoFailed("the load balancer did not use both replicas")
    if not all(answer.text.strip() for answer in (*answers, *burst)):
        raise DemoFailed("an answer was empty")
    return f"{_speed('tiny', answers[: len(QUESTIONS)])}; {_speed('tiny-sharded', answers[len(QUESTIONS) :])}"


def _speed(name: str, answers: list[Answer]) -> str:
    streamed = [answer for answer in answers if answer.first_token < answer.seconds]
    first = statistics.median(answer.first_token for answer in streamed) * 1000
    rate = statistics.median(answer.tokens_per_second for answer in streamed)
    return f"{name}: first token after {first:.0f} ms, then {rate:.0f} tokens/s (medians of {len(streamed)} streams)"


def _print(question: str, answer: Answer, *, streamed: bool) -> None:
    say(f"    > {question}")
    say(f"      {' '.join(answer.text.split())}")
    first = f"first token after {answer.first_token * 1000:.0f} ms, {answer.tokens_per_second:.0f} tokens/s; "
    say(f"      [{first if streamed else ''}{answer.tokens} tokens in {answer.seconds:.2f} s, by {answer.replica}]")


async def _break(client: KubeClient, tiny: Chat) -> None:
    pods = {name: pod for name, pod in (await take(client)).pods.items() if pod.state == "Ready"}
    victim = next(pod for name, pod in sorted(pods.items()) if pod.deployment == "tiny" and "router" not in name)
    load = Load(tiny)
    load.start()
    await asyncio.sleep(SETTLE_SECONDS)
    engine = engine_of(victim.address)
    say(f"  kill -9 {engine.pid}: the vLLM of {victim.name}, while requests run")
    before, killed = load.outcome.copy(), time.monotonic()
    engine.kill()
    await _wait_for_restart(client, victim.name, victim.restarts)
    back, recovered = time.monotonic() - killed, load.outcome.copy()
    await asyncio.sleep(SETTLE_SECONDS)
    after = (await load.stop()).since(recovered)
    _judge(victim.name, back, recovered.since(before), after)


def _judge(victim: str, back: float, meanwhile: Outcome, after: Outcome) -> None:
    """Say what became of the requests. Raises DemoFailed if nobody stood in, or the victim does not serve again."""
    others = {replica: count for replica, count in meanwhile.answered.items() if replica != victim}
    failed = sum(meanwhile.failed.values())
    say(f"  {victim} serves again after {back:.1f} s, restarted by the kubelet")
    say(
        f"  meanwhile {sum(others.values())} requests were answered by {', '.join(others) or 'nobody'}, {failed} failed"
    )
    if failed:
        say("  (streams that the killed engine had begun; what had not begun went to the other replica)")
    for words, count in meanwhile.failed.items():
        say(f"    {count} x {words}")
    say(f"  then, within {SETTLE_SECONDS:.0f} s: {dict(after.answered)} answered, {sum(after.failed.values())} failed")
    if not others:
        raise DemoFailed("no request was answered while one of two replicas was gone")
    if not after.answered.get(victim):
        raise DemoFailed(f"{victim} is ready again but has answered nothing since")


async def _wait_for_restart(client: KubeClient, name: str, restarts: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        pod = (await take(client)).pods.get(name)
        if pod and pod.restarts > restarts and pod.state == "Ready":
            return
        await asyncio.sleep(0.3)
    raise DemoFailed(f"{name} did not come back within {READY_SECONDS:.0f} s")


def _check_nothing_left(left: list[str]) -> None:
    if left:
        raise DemoFailed("something was left behind:\n  " + "\n  ".join(left))
    say("  nothing is left: no process of the box, no folder of sockets, no shared memory; the logs stay")


def _invite(folder: Path, state: BoxState, tiny: Chat, sharded: Chat) -> None:
    say("\nIt goes on running (KEEP=1):")
    for chat in (tiny, sharded):
        say(f"  {chat.curl()}")
    say(f"  export KUBECONFIG={state.kubeconfig}    # kubectl get llmd,pods")
    for command in ("status", "logs tiny", "down"):
        say(f"  .venv/bin/manta {command} --state {folder}")
