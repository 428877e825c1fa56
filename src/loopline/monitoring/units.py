"""A change of unit: a number that is what it was, once it is read in another measure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loopline.monitoring.column_profile import NumberProfile

_LEAST_BLOCKS = 3
_FAR = 8.0
_AGREE = 0.1
_ROOM = 0.5
_LOOSE = 1.5


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


def changed_measure(
    now: NumberProfile, before: NumberProfile, own: Sequence[NumberProfile], recent: Sequence[NumberProfile] = ()
) -> Measure | None:
    """The measure that explains these values, where they are far from what each of the reference's blocks has and, read in another measure,
    as usual; None where they are not.

    Of several measures that would do, the one that brings mean and deviation nearest to those of the usual block. Another factor than
    those known counts where it is beyond eight and mean and deviation agree on it. A season moves values too, but not from one
    stretch to the next: where the `recent` stretches are given they must say the same, and only then measures with an offset count.
    """
    if now.mean is None or not now.deviation or before.mean is None or not before.deviation:
        return None
    usual = _varied(own)
    found = _measure(now, usual, offsets=len(recent) >= _LEAST_BLOCKS) or _other_factor(now, before, usual)
    if found is None or len(recent) < _LEAST_BLOCKS:
        return found
    lately = _varied(recent)
    return _measure(now, lately, offsets=True) or (_other_factor(now, before, lately) and found)


def _varied(blocks: Sequence[NumberProfile]) -> list[NumberProfile]:
    return [block for block in blocks if block.finite and block.deviation > 0 and block.mean is not None]


def _measure(now: NumberProfile, usual: Sequence[NumberProfile], *, offsets: bool) -> Measure | None:
    if len(usual) < _LEAST_BLOCKS or now.mean is None:
        return None
    mean, deviation = now.mean, now.deviation
    means = [block.mean for block in usual if block.mean is not None]
    deviations = sorted(block.deviation for block in usual)
    low, high = min(means), max(means)
    middle, typical = sorted(means)[len(means) // 2], deviations[len(deviations) // 2]
    room = max(high - low, _ROOM * typical)

    def fits(place: float, spread: float, loose: float) -> bool:
        inside = low - (loose - 1) * room <= place <= high + (loose - 1) * room
        return inside and deviations[0] / loose <= spread <= deviations[-1] * loose

    def distance(measure: Measure) -> float:
        place, spread = measure.undone(mean, deviation)
        return abs(place - middle) / room + abs(math.log(spread / typical))

    if fits(mean, deviation, 2.0):
        return None
    centred = abs(middle) < _ROOM * typical
    ratio = mean / middle if middle else 0.0
    agree = centred or (ratio != 0 and abs(math.log(abs(ratio) * typical / deviation)) <= _ROOM)
    may = [
        measure
        for measure in MEASURES
        if (offsets if measure.offset else agree) and fits(*measure.undone(mean, deviation), _LOOSE)
    ]
    return min(may, key=distance, default=None)


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
