"""How fast a loop goes, from when the rows of its data were."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from loopline.values import MICROSECOND, duration_text, from_micros, micros

_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_STEPS = [timedelta(seconds=count) for count in (1, 2, 5, 10, 15, 30)]
_STEPS += [timedelta(minutes=count) for count in (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720)]
_STEPS += [timedelta(days=count) for count in (1, 2, 3, 4, 5, 6, 7, 10, 14, 21, 28, 42, 56, 84, 112, 168, 364)]
_MOST_STEPS, _LEAST_STEPS, _ROWS_A_STEP = 45, 20, 10
_FILLED, _LATER = 0.85, 3
_HOLDOUT, _TO_FIT, _FIRST = 8, 100, 16
_FEW, _FEW_HOLDOUT, _FEW_TO_FIT, _FEW_FIRST = 300, 6, 60, 10
_MOST_MIN_ROWS = 20


@dataclass(frozen=True)
class Pace:
    """A turn's length, from which all others follow, and the period that a replay can cover. `first_after` and `held_out` are in
    turns, `min_rows` how many rows a block should have.
    """

    step: timedelta
    start: datetime
    until: datetime
    first_after: int
    min_rows: int
    held_out: int = _HOLDOUT

    def times(self, number: int) -> str:
        """So many turns, as a duration."""
        return duration_text(self.step * number)

    @property
    def holdout(self) -> str:
        """How much of the newest labels the gates need."""
        return self.times(self.held_out)

    @property
    def first(self) -> str:
        """Where a replay begins, as `--from` takes it."""
        return _said(self.start)

    @property
    def last(self) -> str:
        """Where a replay ends, as `--until` takes it."""
        return _said(self.until)


def pace_of(times: npt.NDArray[np.int64]) -> Pace:
    """From the rows' times in microseconds, sorted: at most some 60 turns, nearly all of which have rows; three more until the
    last label is known. The first model is trained when there are some hundred rows besides the holdout, of few rows in all some sixty.
    """
    first, last = from_micros(int(times[0])), from_micros(int(times[-1]))
    counts = max(min(_MOST_STEPS, len(times) // _ROWS_A_STEP), _LEAST_STEPS)
    step = next(_fitting(times, (last - first) / counts))
    a_step = _rows_a_step(times, step)
    grain = _DAY if step >= _DAY else _MINUTE
    start = _floor(first - MICROSECOND, grain)
    turns = -(-(last - start) // step) + _LATER
    until = _floor(start + step * turns + grain - MICROSECOND, grain)
    few = len(times) < _FEW
    held_out, to_fit, least = (_FEW_HOLDOUT, _FEW_TO_FIT, _FEW_FIRST) if few else (_HOLDOUT, _TO_FIT, _FIRST)
    first_after = max(least, held_out + 2 + -(-to_fit // max(a_step, 1)))
    return Pace(step, start, until, first_after, max(1, min(_MOST_MIN_ROWS, a_step // 4)), held_out)


def _fitting(times: npt.NDArray[np.int64], wanted: timedelta) -> Iterator[timedelta]:
    """Lengths from the wanted one upwards of which nearly all have rows; at last the wanted one itself."""
    near = next((place for place in reversed(range(len(_STEPS))) if _STEPS[place] <= wanted), 0)
    total = times[-1] - times[0]
    for step in _STEPS[near:]:
        size = step // MICROSECOND
        filled = len(np.unique(times // size))
        if filled >= _FILLED * (total // size + 1) and total // size >= _LEAST_STEPS - 1:
            yield step
    yield _STEPS[near]


def _rows_a_step(times: npt.NDArray[np.int64], step: timedelta) -> int:
    """The median over the steps that have any."""
    _, counts = np.unique(times // (step // MICROSECOND), return_counts=True)
    return int(np.median(counts))


def _floor(moment: datetime, grain: timedelta) -> datetime:
    """The last whole multiple of the grain since 1970 at or before the moment."""
    size = grain // MICROSECOND
    return from_micros(micros(moment) // size * size)


def _said(moment: datetime) -> str:
    midnight = moment.hour == moment.minute == 0
    return f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%dT%H:%M}"
