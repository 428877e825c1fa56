"""How an endpoint answers when something fails: what steps in for the champion, and how long anything is waited for."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

import msgspec

from loopline.errors import InvalidInput
from loopline.models.breaker_terms import BreakerTerms
from loopline.values import duration

Step = Literal["previous", "rule", "constant"]
OnLogFailure = Literal["refuse", "serve"]

STEPS: tuple[Step, ...] = ("previous", "rule", "constant")
_LAST = {"rule", "constant"}


class LadderTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an endpoint does when something fails.

    `steps` come after the champion, in this order; a step that there is nothing for is passed over, and below the last one the request
    is refused. A feature that cannot be read is taken as it was last known, up to `stale_s` seconds before the row's time. Of the time a
    caller allows, features may take the share `features` and they and the model `model`. `on_log_failure` says whether an answer is
    refused or given where the log cannot take it.
    """

    steps: tuple[Step, ...] = STEPS
    stale_s: float = 3600.0
    features: float = 0.3
    model: float = 0.9
    on_log_failure: OnLogFailure = "refuse"
    model_breaker: BreakerTerms = BreakerTerms()
    store_breaker: BreakerTerms = BreakerTerms()


DEFAULT_LADDER = LadderTerms()


def ladder(
    steps: Sequence[Step] = STEPS,
    *,
    stale_at_most: str | timedelta = "1h",
    features: float = 0.3,
    model: float = 0.9,
    on_log_failure: OnLogFailure = "refuse",
    model_breaker: BreakerTerms | None = None,
    store_breaker: BreakerTerms | None = None,
) -> LadderTerms:
    """Declare what steps in when the champion cannot answer: `"previous"` (the version before it), `"rule"` (the model's `fallback`, if it is
    a rule), `"constant"`; an empty list refuses.

    `stale_at_most` is how old a feature's last known value may be ("0s": never used). `features` and `model` are shares of the time a
    caller allows: by when features must be there, and by when the model must have answered. Raises `InvalidInput` "ladder.terms".
    """
    named = tuple(steps)
    beyond = [step for step in named[:-1] if step in _LAST and (step, named[-1]) != ("rule", "constant")]
    known = set(named) <= set(STEPS) and len(set(named)) == len(named)
    if not known or beyond or not 0 < features < model <= 1 or on_log_failure not in {"refuse", "serve"}:
        raise InvalidInput(
            "ladder.terms",
            f"no ladder has steps={list(named)}, features={features}, model={model}, on_log_failure={on_log_failure!r}",
            remedy='Name steps of "previous", "rule", "constant", each once and none after one that always answers; shares '
            'with 0 < features < model <= 1; and "refuse" or "serve".',
        )
    stale = duration(stale_at_most).total_seconds()
    return LadderTerms(
        named,
        stale,
        float(features),
        float(model),
        on_log_failure,
        model_breaker or BreakerTerms(),
        store_breaker or BreakerTerms(),
    )
