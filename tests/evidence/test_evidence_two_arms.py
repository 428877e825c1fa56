"""The test of a trial arm: its evidence computed another way, its errors under continuous looking, its power."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.evidence.e_sr import STAKES
from loopline.evidence.two_arms import TwoArms, advance

ALPHA = 0.05
LIMIT = math.log(1 / ALPHA)


def blocks_by_hand(trial, values, units) -> list[float]:
    """The differences of the blocks, gathered row by row."""
    found, arms = [], ([], [])
    for place, (arm, value, unit) in enumerate(zip(trial, values, units, strict=True)):
        arms[arm].append(value)
        ends = place + 1 == len(units) or units[place + 1] != unit
        if ends and arms[0] and arms[1]:
            found.append(sum(arms[1]) / len(arms[1]) - sum(arms[0]) / len(arms[0]))
            arms = ([], [])
    return found


def evidence_by_hand(differences, tolerance) -> tuple[float, float]:
    """Every bettor apart: (e-value of harm, e-value of soundness)."""
    harm, count = 1 / (len(differences) + 1), len(differences)
    for share in STAKES:
        for start in range(count):
            capital = 1 / ((start + 1) * (start + 2)) / len(STAKES)
            for x in differences[start:]:
                capital *= 1 + share / (1 + tolerance) * (x - tolerance)
            harm += capital
    sound = sum(
        math.prod(1 + share / (1 - tolerance) * (tolerance - x) for x in differences) / len(STAKES) for share in STAKES
    )
    return harm, sound


rows = st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.booleans()), max_size=60)


@given(rows, st.floats(0.001, 0.5), st.integers(0, 60))
@settings(max_examples=60)
def test_evidence_is_that_of_every_bettor_apart_and_looking_between_changes_nothing(found, tolerance, cut):
    trial, values = [arm for arm, _, _ in found], [value for _, value, _ in found]
    units = np.cumsum([new for _, _, new in found])
    while 0 < cut < len(units) and units[cut] == units[cut - 1]:
        cut += 1  # a unit is read whole
    at_once = advance(TwoArms(), trial, values, units, tolerance)
    half = advance(TwoArms(), trial[:cut], values[:cut], units[:cut], tolerance)
    kept = msgspec.json.decode(msgspec.json.encode(half), type=TwoArms)
    looked = advance(kept, trial[cut:], values[cut:], units[cut:], tolerance)
    differences = blocks_by_hand(trial, values, units)
    harm, sound = evidence_by_hand(differences, tolerance)
    for state in (at_once, looked):
        assert state.blocks == len(differences)
        assert state.harm_evidence == pytest.approx(math.log(harm), abs=1e-9)
        assert state.sound_evidence == pytest.approx(math.log(sound), abs=1e-9)
        assert state.total.trial == sum(trial)
        assert state.total.standing_sum == pytest.approx(sum(v for a, v in zip(trial, values, strict=True) if not a))


def paths(differences, tolerance) -> tuple[np.ndarray, np.ndarray]:
    """The highest e-value of harm and of soundness that each of many simulations (runs, blocks) ever reached."""
    stakes = np.array(STAKES)
    runs, count = differences.shape
    laid, capital = np.zeros((runs, len(stakes))), np.ones((runs, len(stakes)))
    harm, sound = np.zeros(runs), np.zeros(runs)
    for t in range(1, count + 1):
        x = differences[:, t - 1, None]
        laid = (laid + 1 / (t * (t + 1))) * (1 + stakes / (1 + tolerance) * (x - tolerance))
        capital = capital * (1 + stakes / (1 - tolerance) * (tolerance - x))
        harm = np.maximum(harm, laid.mean(axis=1) + 1 / (t + 1))
        sound = np.maximum(sound, capital.mean(axis=1))
    return harm, sound


def simulated(chance, trial_rate, standing_rate, *, runs=1500, count=1500, beside=9) -> np.ndarray:
    """Blocks of one trial row and the mean of `beside` standing rows; rates may be a number or one for each block."""
    trial = chance.random((runs, count)) < trial_rate
    return trial - chance.binomial(beside, np.broadcast_to(standing_rate, (runs, count))) / beside


@pytest.mark.parametrize("level", ["steady", "moving"])
def test_a_canary_at_the_edge_of_what_is_tolerated_is_seldom_called_harmful_or_sound(level):
    """Both nulls hold at the edge, so both bounds are as tight as they get; looks are taken after every block."""
    tolerance, chance = 0.02, np.random.default_rng(11)
    standing = 0.05 if level == "steady" else 0.05 + 0.2 * (np.arange(1500) % 400 > 300)
    harm, sound = paths(simulated(chance, standing + tolerance, standing), tolerance)
    # a false rate of alpha would show up to alpha + 3 standard errors in 1,500 runs
    most = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / len(harm))
    assert (harm >= 1 / ALPHA).mean() <= most
    assert (sound >= 1 / ALPHA).mean() <= most


def test_the_simulated_paths_are_those_of_the_test():
    differences = simulated(np.random.default_rng(5), 0.2, 0.1, runs=3, count=80)
    harm, sound = paths(differences, 0.03)
    for run, found in enumerate(differences):
        highest = [0.0, 0.0]
        for t in range(1, len(found) + 1):
            now = evidence_by_hand(list(found[:t]), 0.03)
            highest = [max(pair) for pair in zip(highest, now, strict=True)]
        assert (harm[run], sound[run]) == pytest.approx(tuple(highest))


def rows_until(state_of, trial, values, batch=10) -> int:
    """The trial rows that were answered when the evidence reached its limit."""
    state, units = TwoArms(), np.arange(len(trial))
    for start in range(0, len(trial), batch):
        part = slice(start, start + batch)
        state = advance(state, trial[part], values[part], units[part], 0.02)
        if state_of(state) >= LIMIT:
            return state.total.trial
    raise AssertionError("never")


def arms(chance, trial_rate, standing_rate, share=0.1, count=20_000):
    trial = chance.random(count) < share
    return trial, (chance.random(count) < np.where(trial, trial_rate, standing_rate)).astype(float)


def test_a_bad_canary_is_found_after_few_rows():
    for seed in range(5):
        chance = np.random.default_rng(seed)
        assert rows_until(lambda s: s.harm_evidence, *arms(chance, 1.0, 0.01)) <= 15
        assert rows_until(lambda s: s.harm_evidence, *arms(chance, 0.3, 0.01)) <= 80
        assert rows_until(lambda s: s.harm_evidence, *arms(chance, 0.1, 0.01)) <= 600


def test_a_good_canary_is_shown_to_be_sound():
    for seed in range(5):
        assert rows_until(lambda s: s.sound_evidence, *arms(np.random.default_rng(seed), 0.0, 0.0)) <= 250
        assert rows_until(lambda s: s.sound_evidence, *arms(np.random.default_rng(seed), 0.01, 0.01)) <= 1500


def test_a_canary_that_turns_bad_late_is_found_nearly_as_fast():
    chance = np.random.default_rng(3)
    trial, values = arms(chance, 0.01, 0.01, count=60_000)
    late = np.arange(len(trial)) >= 50_000
    values = np.where(late & trial, 1.0, values)
    good = trial[:50_000].sum()
    assert good < rows_until(lambda s: s.harm_evidence, trial, values, batch=50) <= good + 40


def test_what_hurts_both_arms_at_once_is_no_harm():
    chance = np.random.default_rng(8)
    trial = chance.random(20_000) < 0.1
    values = ((np.arange(20_000) // 500) % 2).astype(float)  # an outage every other 500 requests, for all
    state = advance(TwoArms(), trial, values, np.arange(20_000), 0.02)
    assert state.harm_evidence < LIMIT


def test_evidence_stays_a_number_however_long_it_grows():
    rows = 6000
    state = advance(TwoArms(), [True, False] * rows, [1.0, 0.0] * rows, np.arange(2 * rows), 0.02)
    assert LIMIT < state.harm_evidence < math.inf
    assert math.isfinite(state.sound_evidence)
    assert state.sound_evidence < 0


@pytest.mark.parametrize(("value", "tolerance"), [(1.5, 0.1), (-0.1, 0.1), (math.nan, 0.1), (0.5, 0.0), (0.5, 1.0)])
def test_what_is_no_bet_is_refused(value, tolerance):
    with pytest.raises(InvalidInput) as caught:
        advance(TwoArms(), [True], [value], [0], tolerance)
    assert caught.value.code == "evidence.out_of_range"
