"""A lane: one model under one policy, in a project of its own. A loop in operation has one; a replay compares several."""

from dataclasses import dataclass

from loopline.incidents.playbook import Response
from loopline.loop.declare import Loop, Operation
from loopline.training.training_set import Recipe
from loopline.values import derive_seed

LOOP_POLICY = "loop"


@dataclass(frozen=True)
class Lane:
    """`project` scopes all control state and the predictions; `responses` are this policy's."""

    project: str
    policy: str
    operation: Operation
    responses: tuple[Response, ...]
    seed: int

    @property
    def model(self) -> str:
        """The model's name."""
        return self.operation.model.name

    @property
    def recipe(self) -> Recipe:
        """What its training sets are made of."""
        return self.operation.model.recipe


def lanes(loop: Loop, *, seed: int, compare: bool) -> list[Lane]:
    """The lanes of a loop: its own, and with `compare` one for each other policy, in projects `LOOP.POLICY`."""
    made = []
    for operation in loop.operations.values():
        made.append(Lane(loop.name, LOOP_POLICY, operation, operation.respond, seed))
        for policy, responses in operation.compare.items() if compare else ():
            made.append(Lane(f"{loop.name}.{policy}", policy, operation, responses, seed))
    return made


def training_seed(lane: Lane, as_of: str) -> int:
    """The seed of a fit: the same for every policy that trains at the same moment, so that policies differ only by choice."""
    return derive_seed(lane.seed, "training", lane.model, as_of)
