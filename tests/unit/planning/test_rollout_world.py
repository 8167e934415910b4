"""Plans walked through a world that misbehaves: what must hold at every step, and that it ends where it should."""

from hypothesis import given, settings
from hypothesis import strategies as st
from plan_world import Pod, World

from manta_operator.planning.plan import Wish

MISHAPS = (
    "crash", "all crash", "blink", "hang", "evict", "lose a node", "revision", "scale", "quota", "gates", "nothing",
)  # fmt: skip
REVISIONS = ("a", "b", "bad1")
CALM_TICKS = 260

wishes = st.builds(
    Wish,
    st.integers(1, 4),
    st.sampled_from(["auto", "auto", 0, 1, 2]),
    st.sampled_from(["auto", "auto", 1, 2]),
)
scripts = st.lists(
    st.tuples(st.sampled_from(MISHAPS), st.integers(0, 9), st.integers(1, 12), st.integers(0, 3)), max_size=12
)


def limit(wish: Wish) -> int:
    """Groups that may exist."""
    return wish.replicas + (1 if wish.surge == "auto" else wish.surge)


def least(wish: Wish) -> int:
    """Groups that we leave serving."""
    out = (1 if wish.replicas > 1 else 0) if wish.unavailable == "auto" else wish.unavailable
    return max(0, wish.replicas - out)


class Walk:
    """One world, one wish that changes, and what is held against every pass."""

    def __init__(self, wish: Wish, spare: int, size: int, knows_room: bool) -> None:
        groups = wish.replicas + spare
        self.world = World({f"node-{number}": size for number in range(groups)}, size)
        self.wish, self.revision, self.knows_room, self.state = wish, "a", knows_room, ""

    def ticks(self, count: int, lag: int) -> list[int]:
        """Walk on; return how many groups were started or taken away at each tick."""
        return [self._tick(lag) for _ in range(count)]

    def settle(self) -> None:
        """Walk on without mishaps until nothing is left to do, or for long."""
        for _ in range(CALM_TICKS):
            self.world.quota, self.world.gated = None, False
            self._tick(0)
            if self.state == "settled":
                return

    def _tick(self, lag: int) -> int:
        world = self.world
        world.tick()
        before, paused_for_breath = dict(world.groups), world.may_come_back()
        made = world.step(self.revision, self.wish, lag, knows_room=self.knows_room)
        self.state = made.rollout.state
        assert made.again_in is None or made.again_in >= 1
        pruned, started = before.keys() - world.groups.keys(), world.groups.keys() - before.keys()
        served = sum(group.ready for group in made.prune)
        after = (
            made.rollout.new_ready
            + made.rollout.old_ready
            - sum(g.ready and g.revision != self.revision for g in made.prune)
        )
        if served:
            assert after >= least(self.wish), "a serving group was taken away below the floor"
        others = sum(group.revision != self.revision for group in world.groups.values())
        if started and others:  # else it is a start or a scale-up
            held = len(world.groups) + len(world.draining(self.revision, lag))
            assert held <= limit(self.wish), "more groups than replicas and surge"
        if lag == 0 and made.rollout.new_ready + made.rollout.old_ready < least(self.wish):
            hasty = {group.name for group in made.prune if group.revision != self.revision} & paused_for_breath
            assert not hasty, "groups that may come back were taken away although too few serve"
        return len(pruned) + len(started)

    def mishap(self, kind: str, pick: int) -> None:
        world = self.world
        pods = [pod for pod in world.pods.values() if pod.node and pod.deleted_at is None]
        if kind == "revision":
            self.revision = REVISIONS[pick % len(REVISIONS)]
        elif kind == "scale":
            self.wish = Wish(pick % 4, self.wish.surge, self.wish.unavailable)
        elif kind == "quota":
            world.quota = None if world.quota is not None else len(world.pods)
        elif kind == "gates":
            world.gated = not world.gated
        elif kind == "lose a node" and len(world.places) - len(world.lost) > self.wish.replicas:
            world.lost.add(sorted(world.places)[pick % len(world.places)])
        elif kind == "all crash":
            for pod in pods:
                world.crash(pod)
        elif pods:
            self._befall(kind, pods[pick % len(pods)])

    def _befall(self, kind: str, pod: Pod) -> None:
        if kind == "crash":
            self.world.crash(pod)
        elif kind == "blink":
            pod.blinks_until = self.world.now + 20
        elif kind == "hang":
            pod.hangs = True
        elif kind == "evict":
            self.world.delete(pod)


@settings(max_examples=40)
@given(wishes, scripts, st.integers(0, 2), st.sampled_from([1, 2]), st.booleans(), st.sampled_from(["a", "b"]))
def test_it_ends_where_it_should_and_breaks_nothing_on_the_way(wish, script, spare, size, knows_room, last):
    walk = Walk(wish, spare, size, knows_room)
    walk.ticks(8, 0)
    for kind, pick, ticks, lag in script:
        walk.mishap(kind, pick)
        walk.ticks(ticks, lag)
    walk.revision = last
    if walk.wish.replicas == 0:
        walk.wish = wish
    walk.settle()
    moves = walk.ticks(5, 0)
    world, replicas = walk.world, walk.wish.replicas
    assert not any(moves), "it never comes to rest"
    free = len(world.places) - len(world.lost) - replicas
    if free >= 0 and _can_end(walk.wish, free):
        assert (world.serving(last), len(world.groups)) == (replicas, replicas)
    elif free >= 0:
        assert world.serving() >= least(walk.wish)


def _can_end(wish: Wish, free: int) -> bool:
    """Whether there is a way: room for one more, or leave to take one out of service."""
    surges = free >= 1 and wish.surge != 0
    return surges or wish.unavailable != "auto" or (wish.replicas > 1 and wish.surge in ("auto", 0))
