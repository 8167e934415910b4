"""The scenarios of the autoscaling test, by name, in the order in which one box can run them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from traffic.scaling.kills import at_zero, growing, shrinking
from traffic.scaling.meanwhile import rollout, routers
from traffic.scaling.report import Row, problems
from traffic.scaling.run import Meanwhile, Scene, follow
from traffic.scaling.shapes import SHAPES, Shape
from traffic.scaling.zero import burst, to_zero, wake

QUEUE_SIZE = 200
"""Of each of the two routers: of a burst of 500 some must be refused."""


@dataclass(frozen=True)
class Scenario:
    """What is run, and the shape of its load, if it has one. `zero`: the deployment may go to zero."""

    name: str
    run: Callable[[Scene], Awaitable[Row]]
    shape: Shape | None = None
    zero: bool = False

    def problems(self, found: Row) -> list[str]:
        """Return what of its row is not as it must be."""
        return problems(found, self.shape)


def _shaped(shape: Shape, name: str = "", meanwhile: Meanwhile | None = None) -> Scenario:
    named = replace(shape, name=name or shape.name)
    return Scenario(named.name, lambda scene: follow(scene, named, meanwhile), named)


_STEP = SHAPES[0]
SCENARIOS = (
    *map(_shaped, SHAPES),
    _shaped(_STEP, "operator killed while it grows", growing),
    _shaped(_STEP, "operator killed while it shrinks", shrinking),
    _shaped(_STEP, "routers restarted", routers),
    _shaped(_STEP, "rolled out", rollout),
    Scenario("wake", wake, zero=True),
    Scenario("burst", burst, zero=True),
    Scenario("operator killed at zero", at_zero, zero=True),
)


async def prepare(scene: Scene, scenario: Scenario) -> None:
    """Let the deployment go to zero where the scenario wants that."""
    if scenario.zero:
        await scene.world.change(**to_zero(QUEUE_SIZE))
