"""What answers below every model: a rule, or a constant. Neither can fail."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.evaluation.kind import Output
from loopline.models.manifest import Deployment
from loopline.models.rule import Rule
from loopline.scoring.record import FALLBACK, RULE

RULED = "rule"


class Bottom:
    """The rule of an endpoint, or its constant, of the shape of `output`, or neither."""

    def __init__(self, output: Output, constant: Any, rule: Rule | None = None) -> None:
        self._output = output
        self._constant = constant
        self._rule = rule
        self.variant = FALLBACK if rule is None else RULE
        self.answers = rule is not None or constant is not None

    @classmethod
    def of(cls, deployment: Deployment) -> "Bottom":
        """That of a deployment, as far as its ladder has a step for it."""
        steps = deployment.ladder.steps
        constant = deployment.fallback if "constant" in steps else None
        return cls(deployment.output, constant, deployment.rule if "rule" in steps else None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule looks at."""
        return () if self._rule is None else self._rule.columns

    def outputs(
        self, count: int, cell: Callable[[int, str], Any]
    ) -> tuple[npt.NDArray[np.float64], list[tuple[str, ...]]]:
        """The output of each row, and codes of which clause of the rule gave it: `rule:<number>`, from 1, 0 where none held."""
        if self._rule is None:
            return np.repeat(self._output.shaped(self._constant), count, axis=0), [()] * count
        found = [self._rule.output(lambda name, row=row: cell(row, name)) for row in range(count)]  # type: ignore[misc]
        parts = [self._output.shaped(output) for output, _ in found]
        outputs = np.concatenate(parts) if parts else self._output.shaped([])
        return outputs, [(f"{RULED}:{number}",) for _, number in found]
