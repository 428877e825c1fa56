"""The variants of an endpoint as they score: which rows are whose, each with a ladder of its own, and shadows that nobody waits for.

A variant that cannot answer leaves its rows to the champion's ladder. Such an answer is marked `variant_failed:NAME`: it counts as a
failure of the variant, not of the champion.
"""

from collections.abc import Callable, Mapping, Sequence

from loopline.models.manifest import Deployment, Variant
from loopline.models.signature import Signature
from loopline.scoring.bottom import Bottom
from loopline.scoring.contract import Contract
from loopline.scoring.guarded import Scorer
from loopline.scoring.ladder import MODEL_UNAVAILABLE, Ladder, Rung
from loopline.scoring.record import CHAMPION
from loopline.scoring.variants import SHADOW, Shares, variant_failed

Scorers = Mapping[str, Scorer]
"""The models of the variants by name; one that cannot be loaded is left out."""


class Beside:
    """What is deployed beside the champion of one endpoint. Safe to share between threads.

    `ladders` are those of the variants that answer, `shadows` the rungs of those that do not; `rungs` are the champion's and what
    comes after it. Raises `InvalidInput` as `Shares`.
    """

    def __init__(
        self,
        deployment: Deployment,
        scorers: Scorers,
        rungs: Sequence[Rung],
        contract: Callable[[Signature], Contract],
        below: Contract,
        bottom: Bottom,
    ) -> None:
        self.shares = Shares(deployment.variants)
        own = {
            one.name: Rung(one.name, one.served.version, scorers[one.name], contract(scorers[one.name].signature))
            for one in deployment.variants
            if one.name in scorers
        }
        self.ladders = {
            one.name: _ladder(deployment, one, own.get(one.name), rungs, below, bottom)
            for one in deployment.variants
            if one.role != SHADOW
        }
        self.shadows = {name: own[name] for name in self.shares.shadows if name in own}
        self.rungs = tuple(own.values())

    def split(self, keys: Sequence[str]) -> dict[str, list[int]]:
        """The places of each variant's rows, in their order; none where all are the champion's."""
        if not self.ladders:
            return {}
        names = self.shares.choose_many(keys)
        found: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            found.setdefault(name, []).append(place)
        return {} if found.keys() <= {CHAMPION} else found


def _ladder(
    deployment: Deployment,
    variant: Variant,
    own: Rung | None,
    rungs: Sequence[Rung],
    below: Contract,
    bottom: Bottom,
) -> Ladder:
    failed = variant_failed(variant.name)
    rest = [Rung(one.variant, one.version, one.scorer, one.contract, (failed, *one.health)) for one in rungs]
    top = [] if own is None else [own]
    return Ladder(
        deployment.endpoint,
        [*top, *rest],
        below,
        deployment.output,
        bottom,
        health=(failed, MODEL_UNAVAILABLE),
        judge=len(top),
    )
