"""What `loopline watch` answers, as data: each part with its sentences."""

from datetime import datetime
from typing import Any

import msgspec

from loopline.app.study.columns import Columns
from loopline.evaluation.intervals import Interval
from loopline.evaluation.reliability import Reliability
from loopline.monitoring.carriers import Carrier
from loopline.monitoring.diagnosis.cause import Cause
from loopline.monitoring.drift import Suspect
from loopline.monitoring.due import Promise
from loopline.monitoring.lateness import Lateness
from loopline.monitoring.power import Power
from loopline.monitoring.quality import DataFault
from loopline.monitoring.risk import Reference, Risk
from loopline.monitoring.slice_risk import SliceHarm

HARM, ENDED, FINE = "harm", "harm_ended", "fine"


class BlockFigures(msgspec.Struct, frozen=True):
    """One block: means over what is judged. `due` is the loss to be expected, `excess` what lies above it."""

    start: datetime
    end: datetime
    predictions: int
    judged: int
    loss: float
    due: float
    base: float
    excess: float
    log_evidence: float
    reference: bool
    faulty: bool
    alarm: bool
    version: str


class HarmEpisode(msgspec.Struct, frozen=True):
    """A stretch of harm. It began at `since`, likely no earlier than `earliest` and no later than `latest`; `until` is None while it lasts."""

    since: datetime
    earliest: datetime
    latest: datetime
    until: datetime | None
    blocks: int
    excess: Interval
    loss: Interval
    due: float


class Harm(msgspec.Struct, frozen=True):
    """Is it harmed, since when, how much. `before` is the loss in the reference, `lately` in the blocks that `of` names."""

    verdict: str
    episodes: list[HarmEpisode]
    alarms: int
    before: Interval
    lately: Interval
    due_lately: float
    of: str
    sentences: list[str]


class FaultSpell(msgspec.Struct, frozen=True):
    """A fault of a column without a break: from block `first` to block `last`, by place; it could be told at the end of block `seen`."""

    column: str
    kind: str
    first: int
    seen: int
    last: int


class Why(msgspec.Struct, frozen=True):
    """What may explain it: `causes`, the likeliest first, and what they are read from. `slices` were found to be harmed by themselves.

    `compared` says what with what.
    """

    causes: list[Cause]
    slices: list[SliceHarm]
    spells: list[FaultSpell]
    faults: list[DataFault]
    suspects: list[Suspect]
    carriers: list[Carrier]
    importance: dict[str, float]
    compared: str
    sentences: list[str]


class VersionChange(msgspec.Struct, frozen=True):
    """Another version came to answer most predictions."""

    at: datetime
    before: str
    after: str


class Earlier(msgspec.Struct, frozen=True):
    """Would the earlier model help: `yes`, `no` or `cannot_tell`; `difference` is its loss minus that of the present one."""

    answer: str
    difference: Interval | None
    changes: list[VersionChange]
    sentences: list[str]


class Calibration(msgspec.Struct, frozen=True):
    """Do scores mean what they say, in the reference and lately."""

    before: Reliability
    lately: Reliability
    sentences: list[str]


class Costs(msgspec.Struct, frozen=True):
    """What decisions cost per 1,000 predictions, before and lately, and what they would by the threshold that costs imply."""

    before: Interval
    lately: Interval
    best_lately: Interval | None
    threshold: float | None
    sentences: list[str]


class Budget(msgspec.Struct, frozen=True):
    """False pages: what was allowed, `of_slices` of it for slices, what to expect at most in the time watched, the evidence now, and the power
    there is to see harm of all rows together.
    """

    false_pages_per_year: float
    of_slices: float
    expected_at_most: float
    blocks_watched: int
    evidence: float
    power: list[Power]
    sentences: list[str]


class Coverage(msgspec.Struct, frozen=True):
    """Which predictions have a label, how late labels come, which predictions still wait."""

    predictions: int
    labelled: int
    judged: int
    waiting: int
    share: float
    lateness: Lateness | None
    matures: float | None
    least_covered: list[tuple[str, float]]
    sentences: list[str]


class Unlabelled(msgspec.Struct, frozen=True):
    """What predictions whose labels are still to come are to be expected to lose; bounds are for what the labels will show, with 95 %.

    `effective` says how many labelled rows are like these. None where nothing can be said.
    """

    rows: int
    loss: float | None
    lower: float | None
    upper: float | None
    method: str
    effective: float | None
    sentences: list[str]


class CustomAlarm(msgspec.Struct, frozen=True):
    """An alarm of a custom monitor: at the end of which block, since when, and the mean figure since."""

    at: datetime
    onset: datetime
    value: float


class CustomAnswer(msgspec.Struct, frozen=True):
    """What a custom monitor would have said: what is `allowed`, what was `usual` where it was learnt, the `mean` of what was watched, and the
    `evidence` at the end as a share of an alarm. None where nothing could be watched.
    """

    name: str
    allowed: float | None
    usual: float | None
    mean: float | None
    evidence: float
    alarms: list[CustomAlarm]
    sentence: str


class Setup(msgspec.Struct, frozen=True):
    """How it was watched: all that a later run needs to go on in the same way. `scale` is how scores are read, as JSON. Of the false pages that
    are allowed the `risk` of all rows has one part and all slices together another, `of_slices`.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    levels: tuple[float, ...]
    columns: Columns
    timed: bool
    rows_a_block: int
    risk: Risk
    promise: Promise
    reference: Reference
    reference_until: int
    matures: float | None
    absent: str
    scale: dict[str, Any]
    of_slices: float = 0.0

    @property
    def false_pages_per_year(self) -> float:
        """How many false pages are allowed in all."""
        return self.risk.false_pages_per_year + self.of_slices


class Watched(msgspec.Struct, frozen=True):
    """All answers. Times are UTC; where the files hold none (`timed` is False) a block stands for so many rows."""

    name: str
    verdict: str
    headline: str
    start: datetime
    end: datetime
    setup: Setup
    harm: Harm
    why: Why
    earlier: Earlier
    calibration: Calibration | None
    costs: Costs | None
    budget: Budget
    coverage: Coverage
    unlabelled: Unlabelled | None
    unanswered: list[str]
    notices: list[str]
    blocks: list[BlockFigures]
    custom: list[CustomAnswer] = []

    @property
    def harmed(self) -> bool:
        """Whether harm was found, of all rows together or of a slice by itself, and lasts."""
        return self.verdict == HARM or any(not one.episode.ended for one in self.why.slices)
