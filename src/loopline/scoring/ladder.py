"""The ladder of one endpoint: the champion answers; where it cannot, the version before it; where no model can, a rule or a constant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from loopline.errors import LooplineError, Unavailable, told
from loopline.evaluation.kind import Output
from loopline.scoring.bottom import Bottom
from loopline.scoring.contract import Contract
from loopline.scoring.features import BREAKER_OPEN, DEADLINE
from loopline.scoring.guarded import Scorer, finite
from loopline.scoring.treatment import Codes, Imputed, Matrix, Rows, refuses

MODEL_UNAVAILABLE = "model_unavailable"

Outputs = npt.NDArray[np.float64]

_log = structlog.get_logger(__name__)


class Question(Rows, Protocol):
    """The rows that are to be scored. `encode` makes the matrix of a model's contract."""

    @property
    def count(self) -> int: ...

    def encode(self, contract: Contract, /) -> Matrix: ...


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

    `ordinary` says that every cell of the model's matrix had a value like those it was trained on; `imputed` are the values that were
    put in the place of others.
    """

    variant: str
    version: int
    contract: Contract
    outputs: Outputs
    codes: Codes | None
    ordinary: bool = False
    imputed: Imputed = {}


class Ahead(msgspec.Struct, frozen=True, gc=False):
    """What the highest rung's model gave for its matrix, or why it failed, where it was asked before: by a batch."""

    outputs: Outputs | None
    error: Exception | None = None


class Ladder:
    """Rungs from the top down, and what is below them, whose answers are marked with `health`. Safe to share between threads.

    `judge` is the place of the rung by which rows are right or wrong: what it refuses is refused.
    """

    def __init__(
        self,
        endpoint: str,
        rungs: Sequence[Rung],
        below: Contract,
        output: Output,
        bottom: Bottom,
        *,
        health: tuple[str, ...] = (MODEL_UNAVAILABLE,),
        judge: int = 0,
    ) -> None:
        self.endpoint = endpoint
        self.rungs = tuple(rungs)
        self.bottom = bottom
        self._below = below
        self._output = output
        self._health = health
        self._judge = judge
        self._failing: set[str] = set()

    @property
    def ready(self) -> bool:
        """Whether anything can answer."""
        return bool(self.rungs) or self.bottom.answers

    def score(self, question: Question, ahead: Ahead | None = None, *, late: bool = False) -> Scored:
        """Outputs of the highest rung that gives any. `late` says that there is no time for a model: where something is below them, that
        answers.

        Raises what `Contract.treat` raises for rows that the rung refuses which is to judge them, and `Unavailable` "scoring.no_model"
        where no rung answers.
        """
        why: tuple[str, ...] = ()
        if late and self.bottom.answers:
            self._refuse(question)
            return self._lowest(question, (f"{DEADLINE}:model",))
        for place, rung in enumerate(self.rungs):
            try:
                scored = self._asked(rung, question, ahead if place == 0 else None, why)
            except Exception as error:  # the ladder is there for failures nobody foresaw
                if place == self._judge and refuses(error):
                    raise
                why = (*why, *self._why(rung, error))
                continue
            self._failing.discard(rung.variant)
            return scored
        return self._lowest(question, (*self._health, *why))

    def top(self, question: Question) -> Scored:
        """Outputs of the highest rung, or what is wrong with it, or with any of the rows: raises that."""
        if not self.rungs:
            raise Unavailable("scoring.no_model", f"no model of endpoint {self.endpoint!r} can answer")
        return self._asked(self.rungs[0], question, None, ())

    def _refuse(self, question: Question) -> None:
        """What is refused is refused whoever answers."""
        if self._judge < len(self.rungs) and question.count:
            contract = self.rungs[self._judge].contract
            contract.treat(question.encode(contract), question)

    def _asked(self, rung: Rung, question: Question, ahead: Ahead | None, why: tuple[str, ...]) -> Scored:
        matrix = question.encode(rung.contract)
        ordinary = rung.contract.ordinary(matrix)
        treated = None if ordinary else rung.contract.treat(matrix, question)
        outputs = self._outputs(rung, matrix, question.count, ahead)
        odd = None if treated is None else treated.codes
        if rung.health or why:
            odd = [(*rung.health, *why, *codes) for codes in odd or [()] * question.count]
        imputed = {} if treated is None else treated.imputed
        return Scored(rung.variant, rung.version, rung.contract, outputs, odd, ordinary, imputed)

    def _outputs(self, rung: Rung, matrix: Matrix, count: int, ahead: Ahead | None) -> Outputs:
        if not count:
            return self._output.shaped([])
        if ahead is None:
            return finite(rung.scorer.outputs(matrix))
        if ahead.outputs is None:
            raise ahead.error or Unavailable("scoring.no_answer", "the model gave no answer")
        return finite(ahead.outputs)

    def _lowest(self, question: Question, why: tuple[str, ...]) -> Scored:
        if not self.bottom.answers:
            raise Unavailable(
                "scoring.no_model",
                f"no model of endpoint {self.endpoint!r} can answer, and it has nothing else to fall back on",
                remedy="See the scoring process's log for why; roll back, or give the model a fallback.",
            )
        outputs, codes = self.bottom.outputs(question.count, question.cell)
        return Scored(self.bottom.variant, 0, self._below, outputs, [(*why, *own) for own in codes])

    def _why(self, rung: Rung, error: Exception) -> tuple[str, ...]:
        if isinstance(error, LooplineError) and error.code == "scoring.breaker_open":
            return (f"{BREAKER_OPEN}:{rung.variant}",)
        if rung.variant not in self._failing:  # once, until it answers again: not a line a request
            self._failing.add(rung.variant)
            _log.error(
                "model fails", endpoint=self.endpoint, variant=rung.variant, version=rung.version, error=told(error)
            )
        return ()
