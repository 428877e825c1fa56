"""How much of the budget of false pages is used, and what power is left."""

import numpy as np

from loopline.app.study.answers import Budget
from loopline.app.study.study import Study, figure
from loopline.monitoring.power import Power, power
from loopline.values import duration, duration_text

_SPANS = (7, 30)


def answer_budget(study: Study) -> Budget:
    """What false pages were possible, what evidence there is now, how small a harm would be seen and how soon."""
    risk = study.setup.risk
    watched = len(study.blocks) - study.reference
    spans = [duration(risk.block) * count for count in _SPANS]
    seen = power(risk, study.setup.reference, spans)
    alarms = len(study.trial.alarms)
    year = "a year is" if study.rows.timed else f"{round(risk.blocks_per_year):,} blocks is"
    allowed, of_slices = study.setup.false_pages_per_year, study.setup.of_slices
    expected = watched * allowed / risk.blocks_per_year
    shared = f" ({figure(of_slices)} of them for slices)" if of_slices else ""
    used = (
        f"At most {_pages(allowed)} {year} allowed{shared}: by chance at most {figure(expected)} in "
        f"what was watched. There {_alarms(alarms)} of all rows; the evidence stands at {study.evidence:.0%} of the next."
    )
    sentences = [used, *(_sees(study, one, count) for one, count in zip(seen, _SPANS, strict=True))]
    return Budget(allowed, of_slices, expected, watched, study.evidence, seen, sentences)


def _sees(study: Study, one: Power, count: int) -> str:
    span = duration_text(one.within) if study.rows.timed else study.blocks_word(count)
    if one.rise is None:
        return f"Within {span} not even a large rise would be seen in four of five cases."
    level = study.setup.promise.level
    share = f", {one.rise / level:.0%} of its level" if level > 0 and np.isfinite(one.rise / level) else ""
    return f"Within {span} a rise of {figure(one.rise)}{share} would be seen in four of five cases."


def _pages(number: float) -> str:
    return "1 false page" if number == 1 else f"{figure(number)} false pages"


def _alarms(number: int) -> str:
    return "was 1 alarm" if number == 1 else f"were {number} alarms"
