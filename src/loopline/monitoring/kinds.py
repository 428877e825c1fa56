"""What else can be watched of a model, declared as `Risk` is: each kind has a monitor of its own, with a budget of its own."""

from collections.abc import Collection, Sequence
from typing import Literal, TypeVar

import msgspec

from loopline.errors import InvalidInput
from loopline.evaluation.estimation.powered import LEAST_PROPENSITY
from loopline.evaluation.kind import Output
from loopline.evaluation.losses import require_fit
from loopline.monitoring.change import LATENCY, Change, require_figure
from loopline.monitoring.custom import Custom
from loopline.monitoring.risk import CHANGE, RATE, Risk

MOST_GROUPS = 20


class Estimated(msgspec.Struct, frozen=True, tag="estimated"):
    """The risk that is watched, estimated before its labels come: CBPE or PAPE for classes, DLE for numbers.

    It is measured from the same promise and by the same blocks. Of an estimate its own standard error is taken off, and a block of which
    nothing can be said is passed over. It pages only where `pages` says so: else its incident is a warning, since a change of what
    inputs mean is not seen in it, and what is seen may still turn out harmless.
    """

    tolerance: float
    false_pages_per_year: float = 1.0
    pages: bool = False

    def risk(self, of: Risk) -> Risk:
        """How it is bet on, where `of` is the risk that it estimates."""
        return msgspec.structs.replace(of, tolerance=self.tolerance, false_pages_per_year=self.false_pages_per_year)

    def __post_init__(self) -> None:
        Risk(tolerance=self.tolerance, false_pages_per_year=self.false_pages_per_year)


class Powered(msgspec.Struct, frozen=True, tag="powered"):
    """The risk that is watched, where labels are few: what is expected of every row, mended by what the few show.

    A row's label is asked for by chance: each with probability `share`, drawn by Loopline from the row's key (`loopline ask` lists who was
    drawn), or, without it, with the probability that the judge's rows hold in their column `propensity`, and `asked` where they have that. A
    row that was asked for and has no label once it is mature counts as the least it can have lost. What is expected comes from `judge`, a source whose rows,
    by the key of the prediction, hold in the column `judged` the label (of two classes its probability) or, where it `says` so, the loss; without one
    from the model's own scores. A row weighs at most 1 / `floor`: one that was less likely to be asked counts too little, never too much.

    It is held to what the held-out rows of the first champion lost; without a share, where those rows were not chosen evenly, to its first eight
    blocks. Of two classes the baseline, where the risk has one, is the constant
    that was best for these rows.
    """

    tolerance: float
    share: float | None = None
    judge: str = ""
    says: Literal["label", "loss"] = "label"
    floor: float = 0.01
    false_pages_per_year: float = 1.0
    pages: bool = True

    def risk(self, of: Risk) -> Risk:
        """How it is bet on, where `of` is the risk that it measures."""
        return msgspec.structs.replace(
            of, tolerance=self.tolerance, false_pages_per_year=self.false_pages_per_year, baseline="none"
        )

    def __post_init__(self) -> None:
        require_kind(self.says, ("label", "loss"), "says")
        Risk(tolerance=self.tolerance, false_pages_per_year=self.false_pages_per_year)
        drawn = self.judge != "" if self.share is None else self.floor <= self.share <= 1
        if not drawn or not LEAST_PROPENSITY <= self.floor <= 1:
            raise InvalidInput(
                "monitor.powered",
                f"{self} does not say how probably a row's label is asked for",
                remedy='Write ll.Powered(tolerance=0.02, share=0.05), or name a source with a column `propensity`: judge="verdicts".',
            )


class Regret(msgspec.Struct, frozen=True, tag="regret"):
    """What the champion loses more than another model on the same rows, by more than `tolerance`.

    `over` says which: the champion before it, scored anew on what was logged, or the challenger that scores in its shadow.
    """

    tolerance: float
    over: Literal["previous", "challenger"] = "previous"
    loss: str = "log_loss"
    block: str = "1d"
    false_pages_per_year: float = 1.0
    min_rows: int = 200
    pages: bool = False

    @property
    def risk(self) -> Risk:
        """How it is bet on: above the other model's loss."""
        return Risk(self.loss, self.tolerance, self.block, self.false_pages_per_year, "scores", self.min_rows)

    def __post_init__(self) -> None:
        require_kind(self.over, ("previous", "challenger"), "over")
        _ = self.risk


class Fairness(msgspec.Struct, frozen=True, tag="fairness"):
    """The mean loss of one group above that of all rows of the block has risen by more than `tolerance`, for any value of the feature `by`.

    What it was is learnt from the first blocks; with `at_most` it is held against that instead. The budget is shared by all groups that
    have `min_rows` labelled rows in a block.
    """

    by: str
    tolerance: float
    loss: str = "zero_one"
    block: str = "1w"
    at_most: float | None = None
    false_pages_per_year: float = 1.0
    min_rows: int = 100
    pages: bool = True

    def risk(self, groups: int = 1) -> Risk:
        """How one of so many groups is bet on: above the loss of all rows."""
        share = self.false_pages_per_year / max(groups, 1)
        return Risk(self.loss, self.tolerance, self.block, share, "scores", self.min_rows)

    def __post_init__(self) -> None:
        _ = self.risk()


class Rate(msgspec.Struct, frozen=True, tag="rate"):
    """The share of predictions of which something is so, or a mean, has risen above `at_most`. It needs no labels, and no reference.

    `of` is `"degraded"` (anything was amiss), a code of what was (`"out_of_range"`, `"feature_missing"`, `"unseen_category"`, also with
    the feature, `"out_of_range:distance"`), `"fallback"` (no model answered), `"unanswered"` (there is no score), `"abstained"`, or
    `"latency_ms"`: the share that took longer than `above`, or, with `highest`, the mean of what each took, counted up to that.
    """

    of: str
    at_most: float
    above: float | None = None
    highest: float | None = None
    block: str = "1d"
    false_pages_per_year: float = 1.0
    min_rows: int = 200
    pages: bool = True

    @property
    def most(self) -> float:
        """The most that a row can count."""
        return self.highest or 1.0

    @property
    def risk(self) -> Risk:
        """How it is bet on: above nothing, so that what is allowed is `at_most` itself."""
        return Risk(RATE + self.of, self.at_most, self.block, self.false_pages_per_year, "none", self.min_rows)

    def __post_init__(self) -> None:
        said = [limit for limit in (self.above, self.highest) if limit is not None]
        if not 0 < self.at_most < self.most or len(said) != (self.of == LATENCY) or any(limit <= 0 for limit in said):
            raise InvalidInput(
                "monitor.rate",
                f"{self} declares no rate to watch",
                remedy='Write ll.Rate("degraded", at_most=0.02), or ll.Rate("latency_ms", above=50, at_most=0.01), or with highest=1000 a mean.',
            )
        _ = self.risk


Watched = Risk | Estimated | Powered | Regret | Fairness | Rate | Change | Custom
AnyWatched = TypeVar("AnyWatched", bound=Watched)


def require_kind(said: str, may: tuple[str, ...], name: str) -> None:
    """Raise `InvalidInput` unless `said` is one of these."""
    if said not in may:
        raise InvalidInput("monitor.kind", f"{name}={said!r} is none of {', '.join(may)}", remedy=f"Use {may[0]!r}.")


def key_of(watched: Watched) -> str:
    """What a monitor of this kind is called, or how its name begins where there are several."""
    if isinstance(watched, Risk):
        return f"harm:{watched.loss}"
    if isinstance(watched, Estimated):
        return "estimated"
    if isinstance(watched, Powered):
        return f"powered:{watched.judge}" if watched.judge else "powered"
    if isinstance(watched, Regret):
        return f"regret:{watched.over}"
    if isinstance(watched, Fairness):
        return f"fair:{watched.loss}:{watched.by}"
    return f"custom:{watched.name}" if isinstance(watched, Custom) else _name_of_figure(watched)


def _name_of_figure(watched: Rate | Change) -> str:
    if isinstance(watched, Change):
        return f"{CHANGE}{watched.of}"
    measure = "mean" if watched.highest else f"above {watched.above:g}" if watched.above is not None else ""
    return f"{RATE}{watched.of}{f' {measure}' if measure else ''}"


def group_monitor(fair: Fairness, value: str = "") -> str:
    """What the monitor of one group is called; without a value how those of all begin."""
    return f"{key_of(fair)}={value}"


def with_budget(watched: AnyWatched, false_pages_per_year: float) -> AnyWatched:
    """The same with another budget of false pages."""
    return msgspec.structs.replace(watched, false_pages_per_year=false_pages_per_year)


def require_watchable(watched: Watched, harm: Risk, output: Output, features: Sequence[str]) -> None:
    """Raise `InvalidInput` or `NotFound` where a model with this output and these features, held to `harm`, cannot be watched so."""
    if isinstance(watched, (Risk, Regret, Fairness)):
        require_fit(watched.loss, output)
    if isinstance(watched, Risk) and watched.baseline == "scores":
        raise InvalidInput(
            "monitor.no_scores",
            "a loop has no scores of its own to watch a risk against",
            remedy='Watch ll.Regret(over="previous") or over="challenger" beside a risk against "base_rate".',
        )
    if isinstance(watched, Fairness) and watched.by not in features:
        raise InvalidInput(
            "monitor.unknown_group", f"{watched.by!r} is no feature", remedy=f"Use one of {', '.join(features)}."
        )
    if isinstance(watched, Change):
        require_figure(watched, output, features)
    of_classes = output.kind in {"binary", "multiclass"}
    if isinstance(watched, Powered) and (output.kind == "ranking" or not (of_classes or watched.judge)):
        raise InvalidInput(
            "monitor.nothing_expected",
            f"what a {output.kind} model says of a row does not tell what it is expected to lose",
            remedy='Name a source that judges every row, ll.Powered(..., judge="verdicts"); lists of a ranking cannot be judged so.',
        )
    if isinstance(watched, Estimated) and (output.kind == "ranking" or not (of_classes or harm.baseline == "none")):
        raise InvalidInput(
            "monitor.not_estimated",
            f"the {harm.loss} of a {output.kind} model above {harm.baseline} cannot be estimated without labels",
            remedy='For numbers watch ll.Risk(..., baseline="none"); rankings cannot be estimated.',
        )


def read_watched(
    said: Risk | Sequence[Watched], output: Output, features: Sequence[str], sources: Collection[str] = ()
) -> tuple[Risk, tuple[Watched, ...]]:
    """The risk that a model is held to, which is the first, and what else is watched; `sources` may judge. Raises as `require_watchable`."""
    every = [said] if isinstance(said, Risk) else list(said)
    first = next((one for one in every if isinstance(one, Risk)), None)
    if first is None:
        raise InvalidInput(
            "operate.no_risk",
            "nothing that is watched is the risk that the model is held to",
            remedy='Put ll.Risk("log_loss", tolerance=...) first.',
        )
    also = tuple(one for one in every if one is not first)
    for one in (first, *also):
        require_watchable(one, first, output, features)
        if isinstance(one, Powered) and one.judge and one.judge not in sources:
            raise InvalidInput(
                "monitor.unknown_judge",
                f"{one.judge!r} is no source of this loop",
                remedy="Name the source whose rows judge each prediction, by its key.",
            )
    keys = [key_of(one) for one in also]
    if len(set(keys)) < len(keys):
        raise InvalidInput(
            "operate.watched_twice", f"{', '.join(keys)}: one is watched twice", remedy="List each once."
        )
    return first, also
