"""A single series of numbers: has its level, or its spread, moved for good? Then the new one is taken as usual, and the next move is looked for.

Each value is bet on by its place among a sample of those before it (`evidence.rank_bets`, `monitoring.usual`), by the Shiryaev-Roberts e-detector over all
bets (`evidence.e_sr`). Where the evidence reaches the threshold A, the move is told, and all is learnt anew from the next value on, but for
how much a value carries over to the next, which the values before the move have shown.

**Guarantee.** Where the values are independent and of one law between moves, whatever that law is, and it is said that nothing is carried over
(`carry=0`), the expected number of false alarms among T values is at most T / A, exactly, however often one looks: each place is uniform whatever came before, so each
bet pays 1 in the mean, and what is learnt anew begins from values that nothing was chosen by. What a value carries over is learnt otherwise, from the
values, so then it holds nearly; by simulation also for autoregressions and walks, of light and heavy tails.

Pure: no clock, no chance but what the seed and the place of a value give, no database.
"""

import math
from collections.abc import Sequence
from itertools import islice

import msgspec

from loopline.errors import InvalidInput
from loopline.evidence.e_sr import ESR, log_threshold, paid
from loopline.evidence.rank_bets import BETS, log_payoffs, score
from loopline.monitoring.moved import Moved, Value, measured
from loopline.monitoring.usual import LEAST, Earlier, Sample, Sums, carry_of, chances

RECENT = 120
"""So many values are looked through for where a move began."""

_FRESH = ESR((0.0,) * len(BETS))


class SeriesState(msgspec.Struct, frozen=True):
    """All that is known between two values, of bounded size; JSON keeps it exactly. `seen` counts the values ever, `moves` what was told.

    `sums` are of the values since what is usual began to be learnt, `settled` of those that are not among the `recent` any more.
    """

    seen: int = 0
    moves: int = 0
    process: ESR = _FRESH
    sample: tuple[tuple[float, float], ...] = ()
    recent: tuple[Value, ...] = ()
    sums: Sums = Sums()
    settled: Sums = Sums()
    earlier: Earlier = Earlier()

    @property
    def learns(self) -> bool:
        """Whether there are too few values yet to hold any against them."""
        return self.sums.count + self.earlier.count < LEAST


def watch_series(
    state: SeriesState,
    values: Sequence[float],
    ats: Sequence[int],
    *,
    threshold: float,
    seed: int = 0,
    carry: float | None = None,
) -> tuple[SeriesState, list[Moved]]:
    """The state after more values, in order, and the moves that were found.

    `ats` say when or where each value is, rising. `threshold` is how many values lie between two false alarms, in the mean at least; `carry` is the share
    of a value that the next one keeps, learnt where it is None. In one call or in many, the same comes out. Raises `InvalidInput` for values
    that are not finite, and another threshold or carry than can be.
    """
    _check(values, threshold, carry)
    run = _Run(state, threshold, seed, carry)
    found = [run.step(float(value), at) for value, at in zip(values, ats, strict=True)]
    return run.state, [moved for moved in found if moved is not None]


class _Run:
    """The state while values come: what would be copied for each of them is not."""

    def __init__(self, state: SeriesState, threshold: float, seed: int, carry: float | None) -> None:
        self._threshold, self._seed, self._said = threshold, seed, carry
        self._seen, self._moves, self._process = state.seen, state.moves, state.process
        self._sample, self._recent = Sample(state.sample), list(state.recent)
        self._sums, self._settled, self._earlier = state.sums, state.settled, state.earlier

    @property
    def state(self) -> SeriesState:
        return SeriesState(
            self._seen,
            self._moves,
            self._process,
            self._sample.pairs,
            tuple(self._recent),
            self._sums,
            self._settled,
            self._earlier,
        )

    def step(self, value: float, at: int) -> Moved | None:
        carry, stands = 0.0, None
        if self._sums.count:
            of_equals, of_dropped = chances(self._seed, self._seen)
            carry = carry_of(self._sums, self._earlier) if self._said is None else self._said
            if self._sums.count + self._earlier.count >= LEAST and len(self._sample):
                stands = self._sample.position(self._sums.last, value, carry, of_equals)
        middle = None
        if stands is not None:
            self._process = paid(self._process, log_payoffs(stands, len(self._sample)))
            middle = score(stands, len(self._sample))
        if self._sums.count:
            self._sample.add(self._sums.last, value, of_dropped)
        self._seen += 1
        self._sums = self._sums.plus(value)
        self._remember(Value(at, value, middle))
        return self._moved(carry) if self._process.alarms(self._threshold) else None

    def _remember(self, value: Value) -> None:
        self._recent.append(value)
        if len(self._recent) > RECENT:
            self._settled = self._settled.plus(self._recent.pop(0).value)

    def _moved(self, carry: float) -> Moved:
        """Tell the move, and learn anew."""
        evidence = self._process.log_evidence
        found, before = measured(self._recent, self._settled, carry, evidence, log_threshold(self._threshold))
        self._moves += 1
        self._earlier = self._earlier.with_more(before)
        self._process, self._sample, self._recent = _FRESH, Sample(()), []
        self._sums = self._settled = Sums()
        return found


def _check(values: Sequence[float], threshold: float, carry: float | None) -> None:
    odd = next(islice((value for value in values if not math.isfinite(value)), 1), None)
    if odd is not None or not threshold >= 1 or not (carry is None or 0 <= carry <= 1):
        raise InvalidInput(
            "monitor.series",
            f"a series cannot be watched with a value of {odd}"
            if odd is not None
            else f"a threshold of {threshold} and a carry of {carry} are none",
            remedy="Leave out values that are missing; the threshold is at least 1 value, the carry lies in [0, 1].",
        )
