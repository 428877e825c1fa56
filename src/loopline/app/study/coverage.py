"""Which predictions have labels, how late these come, and what is still to come."""

from datetime import timedelta

from loopline.app.study.answers import Coverage
from loopline.app.study.causes import coverage_by_slice
from loopline.app.study.join import NEVER
from loopline.app.study.rows import Chosen, Rows
from loopline.app.study.study import Study
from loopline.monitoring.lateness import Lateness, lateness
from loopline.values import duration_text

_LOW = 0.8
_LOOKED_AT = 500_000
_MOST = 5
_EARLY = 0.001


def lateness_of(rows: Rows) -> Lateness | None:
    """How late the labels of these rows came, by half a million of them; None where nothing tells."""
    label_at = rows.label_at
    if label_at is None or not rows.timed:
        return None
    dated: Chosen = lambda part: rows.known_in(part) & (label_at[part] != NEVER)  # noqa: E731 - short
    step = max(1, rows.count(dated) // _LOOKED_AT)
    places = rows.every(step, dated)
    return lateness(rows.taken(rows.at, places), rows.taken(label_at, places))


def answer_coverage(study: Study) -> Coverage:
    """Counts, lateness, and slices with few labels."""
    rows = study.rows
    predictions, labelled = len(rows) - study.kept, rows.count(rows.known_in, study.kept)
    judged = rows.count(study.judged_in, int(study.blocks.first[0]), int(study.blocks.last[-1]))
    due = int(study.blocks.predictions.sum())
    share = judged / due if due else 0.0
    late = lateness_of(rows)
    low = [(one.slice, one.coverage) for one in coverage_by_slice(study.inputs, rows) if one.coverage < _LOW * share]
    sentences = [
        f"{labelled:,} of {predictions:,} predictions have a label ({labelled / max(predictions, 1):.0%}); of those whose labels are due, {share:.0%}."
    ]
    if late is not None:
        sentences.append(f"Half of the labels come within {_span(late.median)}, 95 % within {_span(late.most)}.")
        if late.early > _EARLY:
            sentences.append(
                f"{late.early:.1%} of the labels are dated before their prediction: a clock is wrong, or the prediction came too late."
            )
    if study.waiting:
        sentences.append(
            f"{study.waiting:,} predictions are not judged yet: their labels are not due, or their last block is not full."
        )
    sentences += [
        f"Few labels where {name}: {covered:.0%}. What is said of it may be biased." for name, covered in low[:_MOST]
    ]
    return Coverage(predictions, labelled, judged, study.waiting, share, late, study.setup.matures, low, sentences)


def _span(seconds: float) -> str:
    if seconds < 1:
        return "a second"
    whole = timedelta(seconds=round(seconds))
    day, hour, minute = 86400, 3600, 60
    size = next((unit for unit in (day, hour, minute) if seconds >= 2 * unit), 1)
    return duration_text(timedelta(seconds=round(whole.total_seconds() / size) * size))
