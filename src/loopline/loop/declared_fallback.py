"""The fallback that a model declares, in the shape of its output."""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace as replace_fields

from loopline.evaluation.kind import Output
from loopline.loop.mistake import mistake
from loopline.models.rule import Rule

_PROBABLE = {"binary", "multiclass"}


def declared_fallback(
    output: Output, said: float | Sequence[float] | Rule | None
) -> tuple[float | tuple[float, ...], Rule | None]:
    """The constant, which a rule gives where none of its clauses holds, and the rule in the shape of the output."""
    if not isinstance(said, Rule):
        return _constant(output, said), None
    constant = _constant(output, said.otherwise)
    clauses = tuple(replace_fields(clause, output=_constant(output, clause.output)) for clause in said.clauses)
    return constant, Rule(clauses, constant)


def _constant(output: Output, fallback: float | Sequence[float] | None) -> float | tuple[float, ...]:
    """The fallback in the shape of the output; where none is said, what knows nothing."""
    knows_nothing = {"binary": 0.5, "multiclass": 1 / output.width}.get(output.kind, 0.0)
    said = np.full(output.width, knows_nothing) if fallback is None else fallback
    given = np.ravel(np.asarray(said, dtype=np.float64))
    probable = output.kind not in _PROBABLE or bool(((given >= 0) & (given <= 1)).all())
    if len(given) != output.width or not np.isfinite(given).all() or not probable:
        raise mistake(
            "model.bad_fallback",
            f"fallback={fallback} is no output of a {output.kind} model",
            "Give a probability from 0 to 1, one for each class, a number, or one for each level.",
        )
    return tuple(given.tolist()) if output.wide else float(given[0])
