"""A prediction as the plain protocols answer it."""

from collections.abc import Iterator
from itertools import repeat

import msgspec

from loopline.scoring.block import Block, Predictions


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A prediction as it is answered."""

    prediction_id: str
    key: str
    score: float | None
    decision: str
    action: str | None
    propensity: float | None
    degraded: tuple[str, ...]
    model_version: int
    decision_version: int
    variant: str


class Answers(msgspec.Struct, frozen=True, gc=False):
    """Predictions in the order of the rows they were asked for."""

    predictions: list[Answer]


def answers(predictions: Predictions) -> list[Answer]:
    """Each prediction, in the order of the request; of one block, as nearly always, without a detour."""
    return predictions.ordered([_block_answers(block) for block in predictions.blocks])


def answers_each(predictions: Predictions) -> Iterator[Answers]:
    """What each of several callers is answered; of one block."""
    told, start = answers(predictions), 0
    for origin in predictions.blocks[0].origins:
        yield Answers(told[start : start + origin.rows])
        start += origin.rows


def _block_answers(block: Block) -> list[Answer]:
    maker = block.maker
    return list(
        map(
            Answer,
            block.column("prediction_id"),
            block.column("key"),
            block.column("score"),
            block.column("decision"),
            block.column("action"),
            repeat(1.0) if block.propensity is None else block.propensity,
            repeat(()) if block.degraded is None else block.degraded,
            repeat(maker.model_version),
            repeat(maker.decision_version),
            repeat(maker.variant),
        )
    )
