"""One study of the rows: all that the answers are read from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopline.app.study.answers import Setup
from loopline.app.study.causes import Inputs
from loopline.app.study.measure import Losses, Trial
from loopline.app.study.rows import Rows
from loopline.evaluation.intervals import Interval, interval_of_sums
from loopline.monitoring.episode import Episode
from loopline.monitoring.profile import ReferenceProfile
from loopline.monitoring.quality import DataFault
from loopline.monitoring.tally import Blocks, Sums
from loopline.values import duration, from_micros

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_NAMES = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "zero_one": "share of wrong predictions",
    "squared_error": "mean squared error",
    "absolute_error": "mean absolute error",
    "pinball": "pinball loss",
    "ndcg_loss": "loss of NDCG",
}
_LATELY_SHARE = 0.25
_A_DAY = 86_400_000_000
_SHORT = 3600


@dataclass(frozen=True)
class Study:
    """Rows, their blocks (the first `reference` are the reference), losses, what the monitor saw, and the inputs."""

    setup: Setup
    rows: Rows
    blocks: Blocks
    reference: int
    losses: Losses
    trial: Trial
    episodes: list[Episode]
    inputs: Inputs
    profile: ReferenceProfile
    faults: dict[int, list[DataFault]]
    waiting: int
    """Predictions whose labels are not due yet, and those of a last block that is not whole."""
    kept: int = 0
    """So many rows from the first are of the reference as it was kept, not of the files."""

    @property
    def told_until(self) -> int:
        """The last stretch that tells what is broken: the last but one, where the last shows nothing and has fewer rows than any of the reference."""
        last, profiles = int(self.inputs.stretch[-1]), self.inputs.profiles
        least = min((one.rows for one in profiles[: self.inputs.reference]), default=0)
        small = last > self.inputs.reference and len(profiles) > last and profiles[last].rows < least
        return last - 1 if small and not self.faults.get(last) else last

    @property
    def harmed(self) -> bool:
        """Whether an episode of harm lasts to the end."""
        return bool(self.episodes) and not self.episodes[-1].ended

    @property
    def lately(self) -> tuple[int, int]:
        """First and last block of what is looked at: the last episode of harm, or else the last quarter of what was watched."""
        if self.episodes:
            return self.episodes[-1].first, self.episodes[-1].last
        watched = len(self.blocks) - self.reference
        return len(self.blocks) - max(1, round(_LATELY_SHARE * watched)), len(self.blocks) - 1

    @property
    def raw_name(self) -> str:
        """The loss in words."""
        return _NAMES.get(self.setup.risk.loss, self.setup.risk.loss)

    @property
    def loss_name(self) -> str:
        """What is watched, in words."""
        return (
            f"{self.raw_name} (each block's level taken out)" if self.setup.scale.get("level_free") else self.raw_name
        )

    def judged_in(self, part: slice) -> Mask:
        """Which of some rows are judged by a label."""
        found: Mask = self.losses.judged[part] & self.rows.known_in(part)
        return found

    def mean(self, of: Callable[[slice], tuple[Floats, Mask]], first: int, last: int) -> Interval | None:
        """The mean in blocks `first` to `last`, with its interval over blocks, of what some rows have and of whether each counts.

        None where no row of these blocks counts.
        """
        sums, counts = Sums(self.blocks), Sums(self.blocks)
        for part in self.rows.parts(int(self.blocks.first[first]), int(self.blocks.last[last])):
            values, counted = of(part)
            sums.add(part.start, np.where(counted, np.nan_to_num(values), 0.0))
            counts.add(part.start, counted)
        cut = slice(first, last + 1)
        return interval_of_sums(sums.total[cut], counts.total[cut]) if counts.total[cut].sum() else None

    def mean_of_blocks(self, means: Floats, first: int, last: int) -> Interval:
        """As `mean`, from the mean of each block."""
        units = self.losses.units[first : last + 1]
        return interval_of_sums(means[first : last + 1] * units, units)

    def when(self, at: int) -> str:
        """A moment as it is told: to the day where blocks are days, as a row where rows have no times."""
        if not self.rows.timed:
            return f"row {at // _A_DAY * self.setup.rows_a_block + 1:,}"
        moment = from_micros(at)
        if duration(self.setup.risk.block).total_seconds() >= 24 * _SHORT:
            return f"{moment.day} {moment:%B %Y}"
        return (
            f"{moment.day} {moment:%B %Y %H:%M} UTC"
            if duration(self.setup.risk.block).total_seconds() >= _SHORT / 60
            else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
        )

    def blocks_word(self, count: int) -> str:
        """So many blocks, in words."""
        size = {"1d": "day", "1w": "week", "1h": "hour"}.get(self.setup.risk.block)
        if not self.rows.timed:
            return f"{count} block{'s' * (count != 1)} of {self.setup.rows_a_block:,} rows"
        return (
            f"{count} {size}{'s' * (count != 1)}"
            if size
            else f"{count} block{'s' * (count != 1)} of {self.setup.risk.block}"
        )

    def start_of(self, block: int) -> int:
        """Where a block begins, in microseconds."""
        return int(self.blocks.start[block])

    def end_of(self, block: int) -> int:
        """The last moment of a block, in microseconds: the day of a block of days is its own, not the next."""
        return int(self.blocks.end[block]) - 1

    @property
    def evidence(self) -> float:
        """The evidence for harm at the end, as a share of what an alarm needs."""
        return max(0.0, float(np.expm1(self.trial.evidence[-1]))) / self.setup.risk.threshold


def figure(value: float) -> str:
    """Three digits that say something."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004 - beyond it no digits are lost


def bounds(interval: Interval) -> str:
    """An interval in brackets; nothing where one block says nothing of spread."""
    if not np.isfinite(interval.lower) or not np.isfinite(interval.upper):
        return ""
    return f" ({figure(interval.lower)} to {figure(interval.upper)})"
