"""A lane: one model under one policy, in a project of its own. A loop in operation has one; a replay compares several."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from loopline.incidents.people import People
from loopline.incidents.playbook import Response
from loopline.loop.declare import Loop, Operation
from loopline.monitoring.allotment import allot
from loopline.training.training_set import Recipe
from loopline.values import derive_seed

LOOP_POLICY = "loop"


@dataclass(frozen=True)
class Lane:
    """`project` scopes all control state and the predictions; `responses` are this policy's.

    Where it is `replayed` there are no people: nobody is told, and what they would have said is assumed.
    """

    project: str
    policy: str
    operation: Operation
    responses: tuple[Response, ...]
    seed: int
    people: People = field(default_factory=People)
    replayed: bool = False
    source_owners: Mapping[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """Whoever answers for the model; empty where nobody is named."""
        return self.operation.model.owner or self.people.owner

    @property
    def model(self) -> str:
        """The model's name."""
        return self.operation.model.name

    @property
    def recipe(self) -> Recipe:
        """What its training sets are made of."""
        return self.operation.model.recipe


def lanes(loop: Loop, *, seed: int, compare: bool) -> list[Lane]:
    """The lanes of a loop: its own, and with `compare` (in a replay) one for each other policy, in projects `LOOP.POLICY`."""
    made = []
    owners = {source.table: source.owner for source in loop.sources.values()}
    for operation in _with_budgets(loop):
        own = Lane(loop.name, LOOP_POLICY, operation, operation.respond, seed, loop.people, compare, owners)
        made.append(own)
        for policy, responses in operation.compare.items() if compare else ():
            made.append(replace(own, project=f"{loop.name}.{policy}", policy=policy, responses=responses))
    return made


def _with_budgets(loop: Loop) -> list[Operation]:
    """The operations with each monitor's share of the loop's budget of false pages, where it declares one."""
    operations = list(loop.operations.values())
    factor = allot(
        loop.false_pages_per_year, [one.false_pages_per_year for found in operations for one in found.watched]
    )
    return [found.with_budget(factor) for found in operations] if factor != 1.0 else operations


def training_seed(lane: Lane, as_of: str) -> int:
    """The seed of a fit: the same for every policy that trains at the same moment, so that policies differ only by choice."""
    return derive_seed(lane.seed, "training", lane.model, as_of)
