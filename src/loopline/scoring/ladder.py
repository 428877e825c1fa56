"""The ladder of one endpoint: the champion answers; where it cannot, the version before it; where none can, a constant."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from loopline.errors import InvalidInput, Unavailable, told
from loopline.evaluation.kind import Output
from loopline.models.signature import Signature
from loopline.scoring.contract import Codes, Contract, Matrix
from loopline.scoring.record import FALLBACK

MODEL_UNAVAILABLE = "model_unavailable"

Outputs = npt.NDArray[np.float64]

_log = structlog.get_logger(__name__)


class Scorer(Protocol):
    """What the ladder needs of a model; `loopline.models.predictor.Predictor` is one."""

    signature: Signature

    def outputs(self, matrix: npt.NDArray[np.float32]) -> Outputs: ...


@dataclass(frozen=True, slots=True)
class Rung:
    """A model that can answer. `health` is what is then not as it should be of every row."""

    variant: str
    version: int
    scorer: Scorer
    contract: Contract
    health: tuple[str, ...] = ()


class Scored(msgspec.Struct, frozen=True, gc=False):
    """Outputs for some rows, who gave them, and what was odd about each row; no codes where nothing was.

    `ordinary` says that every cell of the model's matrix had a value like those it was trained on.
    """

    variant: str
    version: int
    contract: Contract
    outputs: Outputs
    codes: Codes | None
    ordinary: bool = False


class Ahead(msgspec.Struct, frozen=True, gc=False):
    """What the highest rung's model gave for its matrix, or why it failed, where it was asked before: by a batch."""

    outputs: Outputs | None
    error: Exception | None = None


class Ladder:
    """Rungs from the top down, and the constant below them, whose answers are marked with `health`. Safe to share between threads.

    `judge` is the place of the rung by which rows are right or wrong: what it refuses is refused.
    """

    def __init__(
        self,
        endpoint: str,
        rungs: Sequence[Rung],
        bottom: Contract,
        output: Output,
        fallback: Any,
        *,
        health: tuple[str, ...] = (MODEL_UNAVAILABLE,),
        judge: int = 0,
    ) -> None:
        self.endpoint = endpoint
        self.rungs = tuple(rungs)
        self._bottom = bottom
        self._output = output
        self._fallback = fallback
        self._health = health
        self._judge = judge
        self._failing: set[str] = set()

    @property
    def ready(self) -> bool:
        """Whether any rung can answer."""
        return bool(self.rungs) or self._fallback is not None

    def score(
        self,
        encode: Callable[[Contract], Matrix],
        value: Callable[[int, str], Any],
        count: int,
        ahead: Ahead | None = None,
    ) -> Scored:
        """Outputs of the highest rung that gives any. `encode` makes a rung's matrix, `value` tells what a cell of row and field
        was made of.

        Raises `InvalidInput` for rows that the rung refuses which is to judge them, and `Unavailable` "scoring.no_model" where no rung answers.
        """
        for place, rung in enumerate(self.rungs):
            try:
                scored = self._asked(rung, encode, value, count, ahead if place == 0 else None)
            except Exception as error:  # the ladder is there for failures nobody foresaw
                if isinstance(error, InvalidInput) and place == self._judge:
                    raise
                self._note_failure(rung, error)
                continue
            self._failing.discard(rung.variant)
            return scored
        return self._constant(count)

    def _asked(
        self,
        rung: Rung,
        encode: Callable[[Contract], Matrix],
        value: Callable[[int, str], Any],
        count: int,
        ahead: Ahead | None,
    ) -> Scored:
        matrix = encode(rung.contract)
        ordinary = rung.contract.ordinary(matrix)
        odd = None if ordinary else rung.contract.oddities(matrix, value)
        outputs = self._outputs(rung, matrix, count, ahead)
        if rung.health:
            odd = [(*rung.health, *codes) for codes in odd or [()] * count]
        return Scored(rung.variant, rung.version, rung.contract, outputs, odd, ordinary)

    def _outputs(self, rung: Rung, matrix: Matrix, count: int, ahead: Ahead | None) -> Outputs:
        if not count:
            return self._output.shaped([])
        if ahead is None:
            return _finite(rung.scorer.outputs(matrix))
        if ahead.outputs is None:
            raise ahead.error or Unavailable("scoring.no_answer", "the model gave no answer")
        return _finite(ahead.outputs)

    def _constant(self, count: int) -> Scored:
        if self._fallback is None:
            raise Unavailable(
                "scoring.no_model",
                f"no model of endpoint {self.endpoint!r} can answer, and it has no constant to fall back on",
                remedy="See the scoring process's log for why; roll back, or give the model a fallback.",
            )
        outputs = np.repeat(self._output.shaped(self._fallback), count, axis=0)
        return Scored(FALLBACK, 0, self._bottom, outputs, [self._health] * count)

    def _note_failure(self, rung: Rung, error: Exception) -> None:
        if rung.variant not in self._failing:  # once, until it answers again: not a line a request
            self._failing.add(rung.variant)
            _log.error(
                "model fails", endpoint=self.endpoint, variant=rung.variant, version=rung.version, error=told(error)
            )


def _finite(outputs: Outputs) -> Outputs:
    if not (math.isfinite(outputs.item()) if outputs.size == 1 else np.isfinite(outputs).all()):
        raise Unavailable("scoring.not_finite_score", "the model gave a score that is not finite")
    return outputs
