"""What a diagnosis is asked: which rise of a loss, of what model, and what is known of it."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import polars as pl

from loopline.evaluation.kind import Output
from loopline.monitoring.diagnosis.cause import Cause
from loopline.monitoring.diagnosis.change import Change
from loopline.monitoring.risk import Risk


class Question(msgspec.Struct, frozen=True):
    """A risk that rose in blocks from `onset` (not before `earliest`) up to `until`, UTC, of a model of `output`; and what changed then."""

    output: Output
    risk: Risk
    earliest: datetime
    onset: datetime
    until: datetime
    changes: Sequence[Change] = ()


Diagnoser = Callable[[pl.DataFrame, Question], list[Cause]]
"""Ranks the causes. Of rows it gets `at` (UTC), the output's column, `label` (null = not known), `decision`, `model_version`, `group` and the
features by name, in the order of time; it gives none where they are too few.
"""
