"""What a champion's decision is fitted and judged on: scores on rows it had not seen, kept with the version."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.decisions.decision import AnyDecision
from loopline.errors import NotFound
from loopline.evaluation.intervals import Interval, mean_by_block
from loopline.evaluation.kind import Output
from loopline.gates.promotion import CHAMPION
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.database import Transaction
from loopline.values import MICROSECOND, duration

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REFERENCE = "decision_reference"


class DecisionReference(msgspec.Struct, frozen=True):
    """`scores` size the band, outputs as the model gives them (numbers, or lists of numbers); `held_out`, `labels` and `blocks` (each of the held-out rows) tell what a decision costs.

    All are calibrated outputs of rows that were not learnt from; a block is its number since 1970.
    """

    scores: list[Any]
    held_out: list[Any]
    labels: list[float]
    blocks: list[int]

    def judged(self, output: Output) -> tuple[Floats, Floats, Ints]:
        """Outputs as `output` shapes them, labels and blocks of the held-out rows that have both output and label."""
        outputs, labels = output.shaped(np.array(self.held_out)), np.array(self.labels, dtype=np.float64)
        known = ~np.isnan(outputs if outputs.ndim == 1 else outputs.sum(axis=1)) & ~np.isnan(labels)
        return outputs[known], labels[known], np.array(self.blocks, dtype=np.int64)[known]

    def cost(self, decision: AnyDecision, prices: AnyDecision | None = None) -> Interval | None:
        """What the decision costs per prediction, at its own prices or at those of another; None without held-out rows."""
        rows = self.costs(decision, prices)
        known = ~np.isnan(rows)
        return mean_by_block(rows[known], np.array(self.blocks)[known]) if known.any() else None

    def costs(self, decision: AnyDecision, prices: AnyDecision | None = None) -> np.ndarray:
        """The same for each held-out row."""
        taken = decision.decide(np.array(self.held_out))
        return (prices or decision).cost(taken, np.array(self.labels))


def reference_of(scores: np.ndarray, held_out: pl.DataFrame, block: str) -> DecisionReference:
    """From the scores the decision was fitted on, and the held-out rows with `candidate`, `label` and `_event_time`."""
    known = held_out.filter(pl.col("label").is_not_null() & pl.col("label").is_not_nan())
    length = duration(block) // MICROSECOND
    numbers = (known["_event_time"].dt.timestamp("us") - 1) // length
    return DecisionReference(scores.tolist(), known["candidate"].to_list(), known["label"].to_list(), numbers.to_list())


def keep(artifacts: ArtifactStore, reference: DecisionReference) -> str:
    """As an artifact; gives its digest."""
    return artifacts.put(msgspec.msgpack.encode(reference))


def of_champion(resources: Resources, tx: Transaction, project: str, model: str) -> tuple[int, DecisionReference]:
    """The champion's version and its reference, which is empty where it was registered without one. Raises `NotFound` without a
    champion.
    """
    champion = registry.alias(tx, project, model, CHAMPION)
    if champion is None:
        raise NotFound(
            "decision.no_champion",
            f"{model} has no champion to decide for",
            remedy="Wait for the first model, or promote a version.",
        )
    digest = registry.get_version(tx, project, model, champion).lineage.get(REFERENCE)
    if digest is None:
        return champion, DecisionReference([], [], [], [])
    return champion, msgspec.msgpack.decode(resources.artifacts.get(digest), type=DecisionReference)
