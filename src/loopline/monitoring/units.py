"""A change of unit: a number that is what it was, once it is read in another measure."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from loopline.monitoring.column_profile import NumberProfile

_LEAST_BLOCKS = 3
_FAR = 8.0
_AGREE = 0.1
_ROOM = 0.5
_LOOSE = 1.5
_FAR_OFF = 2.0
_CLOSE = 0.1
_CLOSER = 0.15
RECENT = 7


@dataclass(frozen=True)
class Measure:
    """Values became `factor` times what they were, and `offset` more; `words` names the two measures."""

    factor: float
    offset: float
    words: str

    def undone(self, mean: float, deviation: float) -> tuple[float, float]:
        """Mean and deviation in the old measure."""
        return (mean - self.offset) / self.factor, deviation / abs(self.factor)


_SCALES = {
    "feet and metres": 0.3048,
    "inches and millimetres": 25.4,
    "inches and centimetres": 2.54,
    "miles and kilometres": 1.609344,
    "metres per second and miles per hour": 2.2369362921,
    "metres per second and kilometres per hour": 3.6,
    "knots and kilometres per hour": 1.852,
    "pounds and kilograms": 0.45359237,
    "gallons and litres": 3.785411784,
    "seconds and minutes, or minutes and hours": 60.0,
    "hours and days": 24.0,
    "seconds and hours": 3600.0,
    "shares and percent": 100.0,
    "tenths and whole ones": 10.0,
    "units and thousands": 1000.0,
    "units and millions": 1e6,
    "hectopascals and inches of mercury": 0.0295299831,
}

MEASURES: tuple[Measure, ...] = (
    *(Measure(factor, 0.0, words) for words, factor in _SCALES.items()),
    *(Measure(1 / factor, 0.0, words) for words, factor in _SCALES.items()),
    Measure(5 / 9, -160 / 9, "degrees Fahrenheit and Celsius"),
    Measure(9 / 5, 32.0, "degrees Celsius and Fahrenheit"),
    Measure(1.0, 273.15, "degrees Celsius and kelvins"),
    Measure(1.0, -273.15, "kelvins and degrees Celsius"),
    Measure(-1.0, 0.0, "one sign and the other"),
)


class Recent:
    """The last stretches of each column, read in the measure of the reference: a season moves values, but not from one stretch to the next."""

    def __init__(self, stretches: Sequence[Mapping[str, NumberProfile]]) -> None:
        self._kept: dict[str, deque[NumberProfile]] = {}
        self._now: dict[str, Measure | None] = {}
        for stretch in stretches[-RECENT:]:
            for name, number in stretch.items():
                self.follow(name, number, None)

    def of(self, name: str) -> list[NumberProfile]:
        """The last seven at most, oldest first."""
        return list(self._kept.get(name, ()))

    def goes_on(self, name: str, now: NumberProfile) -> Measure | None:
        """The measure that the stretch before was in, where this one is in it too: undoing it brings the values nearer to the usual."""
        measure, lately = self._now.get(name), _varied(self.of(name))
        if measure is None or now.mean is None or not now.deviation or not lately:
            return None
        usual = _Usual(lately)
        undone = usual.distance(*measure.undone(now.mean, now.deviation))
        return measure if undone < usual.distance(now.mean, now.deviation) else None

    def follow(self, name: str, now: NumberProfile, measure: Measure | None) -> None:
        """Take one more stretch in, undoing the measure it was in."""
        self._now[name] = measure
        if measure is not None and now.mean is not None:
            mean, deviation = measure.undone(now.mean, now.deviation)
            now = msgspec.structs.replace(now, mean=mean, squares=deviation**2 * now.finite)
        self._kept.setdefault(name, deque(maxlen=RECENT)).append(now)


def changed_measure(
    now: NumberProfile, before: NumberProfile, own: Sequence[NumberProfile], recent: Sequence[NumberProfile] = ()
) -> Measure | None:
    """The measure that explains these values, where they are far from what each of the reference's blocks has and, read in another measure,
    as usual; None where they are not.

    Of several measures that would do, the one that brings mean and deviation nearest to those of the usual block. Another factor than
    those known counts where it is beyond eight and mean and deviation agree on it. Where at least three `recent` stretches are given, they say
    what is usual now, and only then measures with an offset count.
    """
    if now.mean is None or not now.deviation or before.mean is None or not before.deviation:
        return None
    usual, lately = _varied(own), _varied(recent)
    if len(lately) < _LEAST_BLOCKS:
        return _measure(now, usual, offsets=False) or _other_factor(now, before, usual)
    if len(usual) >= _LEAST_BLOCKS and _Usual(usual).fits(now.mean, now.deviation, _FAR_OFF):
        return None
    return _measure(now, lately, offsets=True) or _other_factor(now, before, usual)


def _varied(blocks: Sequence[NumberProfile]) -> list[NumberProfile]:
    return [block for block in blocks if block.finite and block.deviation > 0 and block.mean is not None]


class _Usual:
    """What mean and deviation usual stretches have."""

    def __init__(self, usual: Sequence[NumberProfile]) -> None:
        means = sorted(block.mean for block in usual if block.mean is not None)
        self._deviations = sorted(block.deviation for block in usual)
        self._low, self._high = means[0], means[-1]
        self.middle, self.typical = means[len(means) // 2], self._deviations[len(self._deviations) // 2]
        self._room = max(self._high - self._low, _ROOM * self.typical)

    def fits(self, mean: float, deviation: float, loose: float) -> bool:
        room = (loose - 1) * self._room
        inside = self._low - room <= mean <= self._high + room
        return inside and self._deviations[0] / loose <= deviation <= self._deviations[-1] * loose

    def distance(self, mean: float, deviation: float) -> float:
        return abs(mean - self.middle) / self._room + abs(math.log(deviation / self.typical))

    def agrees(self, mean: float, deviation: float, factor: float) -> bool:
        """Whether mean and deviation changed by about the same factor, more nearly so for a small one, which a shift could be taken for.

        A mean near 0 says nothing, and a spread alone may change by a little for many reasons: then only factors beyond eight count.
        """
        if abs(self.middle) < _ROOM * self.typical:
            return abs(math.log(abs(factor))) >= math.log(_FAR)
        ratio = mean / self.middle
        apart = abs(math.log(abs(ratio) * self.typical / deviation)) if ratio else math.inf
        return apart <= min(_ROOM, _CLOSE + _CLOSER * abs(math.log(abs(factor))))


def _measure(now: NumberProfile, stretches: Sequence[NumberProfile], *, offsets: bool) -> Measure | None:
    if len(stretches) < _LEAST_BLOCKS or now.mean is None:
        return None
    usual = _Usual(stretches)
    mean, deviation = now.mean, now.deviation
    if usual.fits(mean, deviation, _FAR_OFF):
        return None
    may = [
        measure
        for measure in MEASURES
        if (offsets if measure.offset else usual.agrees(mean, deviation, measure.factor))
        and usual.fits(*measure.undone(mean, deviation), _LOOSE)
    ]
    return min(may, key=lambda measure: usual.distance(*measure.undone(mean, deviation)), default=None)


def _other_factor(now: NumberProfile, before: NumberProfile, usual: Sequence[NumberProfile]) -> Measure | None:
    factor = _factor(before, now, _AGREE)
    if factor is None or 1 / _FAR < factor < _FAR:
        return None
    seen = [abs(math.log(ratio)) for block in usual if (ratio := _factor(before, block, math.inf)) is not None]
    return None if abs(math.log(factor)) <= 2 * max(seen, default=0.0) else Measure(factor, 0.0, "")


def _factor(before: NumberProfile, now: NumberProfile, close: float) -> float | None:
    """By how much values were multiplied, if mean and deviation agree on it within `close` (as a difference of logs)."""
    if before.mean is None or now.mean is None or before.mean * now.mean <= 0 or not before.deviation * now.deviation:
        return None
    mean, deviation = now.mean / before.mean, now.deviation / before.deviation
    return math.sqrt(mean * deviation) if abs(math.log(mean / deviation)) <= close else None
