"""What a loop declares of reviews: which predictions people are asked to label, for how long, and how they take turns."""

from datetime import timedelta

import msgspec

from loopline.errors import InvalidInput
from loopline.values import duration


class ReviewTerms(msgspec.Struct, frozen=True):
    """What a person declares: all predictions that abstained are reviewed, and of the others a random `share`.

    A prediction whose decision could cost the most that a decision can is `uncertain` times as likely as one that surely costs
    nothing. An item that is claimed is kept for its reviewer for `lease`, and one that nobody answered ends `expires` after its prediction.
    A label that a reviewer gave weighs at most `most_weight` in training and monitoring.
    """

    share: float
    uncertain: float = 5.0
    lease: str = "15m"
    expires: str = "14d"
    most_weight: float = 100.0

    @property
    def lasts(self) -> timedelta:
        """How long after its prediction an item is of use."""
        return duration(self.expires)

    @property
    def lease_ms(self) -> int:
        """How long a claim holds, in milliseconds of the database's time."""
        return round(duration(self.lease).total_seconds() * 1000)


def review(
    share: float = 0.02,
    *,
    uncertain: float = 5.0,
    lease: str = "15m",
    expires: str = "14d",
    most_weight: float = 100.0,
) -> ReviewTerms:
    """Declare that people review predictions: those that abstained, and a random `share` of the others, so that labels speak of all.

    With `share=0` only abstentions are reviewed; their labels cannot stand for what was decided, and a training that has no other
    labels is refused. Raises `InvalidInput` "review.terms" for a share outside of [0, 1], a factor below 1, or lengths that hold no time.
    """
    terms = ReviewTerms(float(share), float(uncertain), lease, expires, float(most_weight))
    held = terms.lasts > timedelta(0) and terms.lease_ms > 0
    if not 0 <= share <= 1 or not uncertain >= 1 or not most_weight >= 1 or not held:
        raise InvalidInput(
            "review.terms",
            f"nothing can be reviewed with {terms}",
            remedy='Give a share from 0 to 1, factors of 1 or more, and lengths such as lease="15m", expires="14d".',
        )
    return terms
