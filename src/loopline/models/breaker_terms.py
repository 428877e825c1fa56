"""When something that fails is no longer asked, and when it is tried again."""

from datetime import timedelta

import msgspec

from loopline.errors import InvalidInput
from loopline.values import duration


class BreakerTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """A breaker opens after `failures` in a row, or when at least the share `rate` of the last `window` calls failed. A call that takes longer than
    `slow_ms` counts as failed (None: however long it takes).

    It stays open for `wait_s` seconds, twice as long each time a probe fails, `longest_s` at most, each shortened by up to half by chance; then single
    calls probe, and `probes` successes in a row close it.
    """

    failures: int = 5
    rate: float = 0.5
    window: int = 20
    slow_ms: float | None = None
    wait_s: float = 0.5
    longest_s: float = 30.0
    probes: int = 2


def breaker(
    *,
    failures: int = 5,
    rate: float = 0.5,
    window: int = 20,
    slow_ms: float | None = None,
    wait: str | timedelta = timedelta(seconds=0.5),
    longest: str | timedelta = "30s",
    probes: int = 2,
) -> BreakerTerms:
    """Declare when a model or the feature store is left alone, and when it is tried again: see `BreakerTerms`.

    Raises `InvalidInput` "breaker.terms".
    """
    first, last = duration(wait).total_seconds(), duration(longest).total_seconds()
    counts = failures >= 1 and window >= 1 and probes >= 1
    if not counts or not 0 < rate <= 1 or not 0 < first <= last or (slow_ms is not None and slow_ms <= 0):
        raise InvalidInput(
            "breaker.terms",
            f"no breaker goes by failures={failures}, rate={rate}, window={window}, slow_ms={slow_ms}, wait={wait}, longest={longest}, probes={probes}",
            remedy="Give counts of 1 or more, a rate above 0 and at most 1, and waits above 0 of which the first is not the longest.",
        )
    return BreakerTerms(failures, float(rate), window, slow_ms, first, last, probes)
