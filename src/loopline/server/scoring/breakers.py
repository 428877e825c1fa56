"""The breakers of a process: each outlives the engines that follow each other, for what it guards is as well or ill as before."""

from collections.abc import Callable
from dataclasses import dataclass

from loopline.models.breaker_terms import BreakerTerms
from loopline.scoring.breaker import Breaker, State
from loopline.scoring.guarded import Guarded, Scorer

Changed = Callable[[str, str, State], None]
"""Is told the endpoint, what of it is guarded (a variant, or `features`), and the new state."""


@dataclass(frozen=True)
class _Kept:
    of: str
    terms: BreakerTerms
    breaker: Breaker


class Breakers:
    """Of each endpoint, one for each model that it can ask and one for its features. Used by one thread."""

    def __init__(self, changed: Changed, *, seed: int = 0) -> None:
        self._changed = changed
        self._seed = seed
        self._kept: dict[tuple[str, str], _Kept] = {}

    def breaker(self, endpoint: str, guarded: str, of: str, terms: BreakerTerms) -> Breaker:
        """The breaker before `of`, such as a package; a new one, closed, where it is another than before or the terms are."""
        kept = self._kept.get((endpoint, guarded))
        if kept is None or (kept.of, kept.terms) != (of, terms):
            name = f"{endpoint}/{guarded}/{of}"
            made = Breaker(terms, name, seed=self._seed, changed=lambda _, to: self._changed(endpoint, guarded, to))
            kept = self._kept[endpoint, guarded] = _Kept(of, terms, made)
            self._changed(endpoint, guarded, "closed")
        return kept.breaker

    def guarded(
        self, endpoint: str, variant: str, package: str, scorer: Scorer | None, terms: BreakerTerms
    ) -> Scorer | None:
        """A model behind its breaker; None for none."""
        return None if scorer is None else Guarded(scorer, self.breaker(endpoint, variant, package, terms))
