"""What a canary is held to: how much worse it may be, how sure one has to be, and how its share grows."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from loopline.errors import InvalidInput
from loopline.evaluation.losses import named
from loopline.values import duration

MOST_ALPHA = 0.5
BOUNDED = ("brier", "zero_one", "ndcg_loss")
"""Losses that are at most 1."""


class CanaryTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a canary is judged beside the champion, on rows that chance gave to either.

    `errors` is by how much the share of failed answers, and half of that of degraded ones, may be higher, `slow` the same for answers that take longer
    than `slow_beyond` times what 99 % of the champion's take (None: time is not watched), `labels` by how much the mean loss of matured labels may be (None: labels are not waited for), in the unit
    of `loss`; a loss without an upper bound is cut at `cap`. `alpha` bounds the probability that a canary within these is ever rolled
    back, and that one beyond them is ever promoted. It is promoted once it is shown to be within them on at least `min_rows` of its
    own rows over at least `min_time`; before that its share grows through `steps`, each for as many rows and as long. Without
    `promotes` it is only watched and rolled back.
    """

    alpha: float = 0.05
    errors: float = 0.01
    slow: float | None = 0.02
    slow_beyond: float = 1.5
    labels: float | None = None
    loss: str = ""
    cap: float | None = None
    min_rows: int = 500
    min_time: str = "10m"
    steps: tuple[float, ...] = ()
    promotes: bool = True

    @property
    def lasts(self) -> timedelta:
        """How long it has at least to be watched at each share."""
        return duration(self.min_time)

    @property
    def watched(self) -> int:
        """How many measures are watched."""
        return 1 + (self.slow is not None) + (self.labels is not None)

    def after(self, share: float) -> float | None:
        """The next share; None where the last is reached."""
        return next((step for step in self.steps if step > share), None)


def canary_terms(
    *,
    alpha: float = 0.05,
    errors: float = 0.01,
    slow: float | None = 0.02,
    slow_beyond: float = 1.5,
    labels: float | None = None,
    loss: str = "",
    cap: float | None = None,
    min_rows: int = 500,
    min_time: str = "10m",
    steps: Sequence[float] = (),
    promotes: bool = True,
) -> CanaryTerms:
    """`CanaryTerms`, checked.

    Raises `InvalidInput` "canary.terms" for what no test can be made of, "canary.unbounded_loss" for a loss that needs a `cap`, and
    `NotFound` for an unknown loss.
    """
    tolerances = [errors, *([] if slow is None else [slow]), *([] if labels is None else [labels / (cap or 1)])]
    growing = list(steps) == sorted(set(steps)) and all(0 < step < 1 for step in steps)
    bounded = (cap is None or cap > 0) and slow_beyond > 0
    if not (
        bounded and 0 < alpha <= MOST_ALPHA and all(0 < one < 1 for one in tolerances) and min_rows > 0 and growing
    ):
        raise InvalidInput(
            "canary.terms",
            "a canary cannot be judged by these terms",
            remedy="Give tolerances between 0 and 1 (labels: below the cap), alpha up to 0.5, min_rows of at least 1, and steps that grow.",
        )
    duration(min_time)
    if labels is not None:
        _check_loss(loss, cap)
    return CanaryTerms(alpha, errors, slow, slow_beyond, labels, loss, cap, min_rows, min_time, tuple(steps), promotes)


def _check_loss(loss: str, cap: float | None) -> None:
    named(loss)
    if loss not in BOUNDED and cap is None:
        raise InvalidInput(
            "canary.unbounded_loss",
            f"{loss} has no upper bound, so one row could decide",
            remedy=f"Give a cap at which it is cut, or judge by one of {', '.join(BOUNDED)}.",
        )
