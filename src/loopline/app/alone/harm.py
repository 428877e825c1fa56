"""Is it harmed, since when, how much."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from loopline.app.study.answers import ENDED, FINE, HARM, Harm, HarmEpisode
from loopline.app.study.study import Study, bounds, figure
from loopline.evaluation.intervals import Interval
from loopline.monitoring.diagnosis.cause import Cause
from loopline.monitoring.episode import Episode, find_episode
from loopline.monitoring.slice_risk import SliceHarm
from loopline.values import from_micros

LEAST_SUSPECTED = 3
_NAMED = 3
_NOTICED = 2.0
_CLEARLY = 6.0
_MUCH = 0.3


def answer_harm(study: Study) -> Harm:
    """The verdict with its figures."""
    told = [_episode(study, one) for one in study.episodes]
    verdict = FINE if not told else HARM if study.harmed else ENDED
    first, last = study.lately
    before, lately = (
        study.mean_of_blocks(study.losses.raw, 0, study.reference - 1),
        study.mean_of_blocks(study.losses.raw, first, last),
    )
    due = study.mean_of_blocks(study.trial.due, first, last).mean
    of = _of(study, first, last)
    sentences = [*(_sentence(study, one) for one in told), *_compared(study, before, lately, of, verdict)]
    if not told:
        sentences = [_fine(study), *_suspicion(study), *sentences]
    return Harm(verdict, told, len(study.trial.alarms), before, lately, due, of, sentences)


def headline(study: Study, harm: Harm, causes: Sequence[Cause]) -> str:
    """The answer in one sentence."""
    if harm.verdict == FINE:
        found = suspected(study)
        if found is not None:
            return f"No alarm yet, but the {study.loss_name} looks too high since about {study.when(study.start_of(found.first))}."
        return f"No harm found in {study.blocks_word(len(study.blocks) - study.reference)}{_but_broken(study, causes)}."
    last = harm.episodes[-1]
    since = study.when(study.start_of(study.episodes[-1].first))
    size = f"{figure(last.excess.mean)}{bounds(last.excess)}"
    if harm.verdict == HARM:
        return f"Harmed since about {since}: the {study.loss_name} is {size} above what was due."
    until = study.when(study.end_of(study.episodes[-1].last))
    return f"Harmed from about {since} to {until}, and as due since then: the {study.loss_name} was {size} above."


def headline_of_slices(study: Study, harm: Harm, slices: Sequence[SliceHarm]) -> str:
    """Names the slices that are harmed by themselves, where the harm of all rows does not say it."""
    lasting = [one for one in slices if not one.episode.ended]
    if not lasting or harm.verdict == HARM:
        return ""
    first = lasting[0]
    more = f", and {len(lasting) - 1} more slices" if len(lasting) > 1 else ""
    return (
        f" But {first.slice} is harmed by itself since about {study.when(study.start_of(first.episode.first))}{more}."
    )


def _but_broken(study: Study, causes: Sequence[Cause]) -> str:
    """Names the inputs that are broken at the end, though they did no harm that can be told; and those of other rows, where that accounts for much."""
    stretches = range(study.told_until, int(study.inputs.stretch[-1]) + 1)
    names = [fault.column for one in stretches for fault in study.faults.get(one, [])]
    names += [one.subject for one in causes if one.kind == "skewed_join" and (one.share or 0.0) >= _MUCH]
    names = list(dict.fromkeys(names))
    return f", but broken: {', '.join(names[:_NAMED])}" if names else ""


def _episode(study: Study, one: Episode) -> HarmEpisode:
    return HarmEpisode(
        since=from_micros(study.start_of(one.first)),
        earliest=from_micros(study.start_of(one.earliest)),
        latest=from_micros(study.start_of(one.latest)),
        until=from_micros(study.end_of(one.last)) if one.ended else None,
        blocks=one.last - one.first + 1,
        excess=study.mean_of_blocks(study.trial.excess, one.first, one.last),
        loss=study.mean_of_blocks(study.losses.loss, one.first, one.last),
        due=study.mean_of_blocks(study.trial.due, one.first, one.last).mean,
    )


def _sentence(study: Study, one: HarmEpisode) -> str:
    place = study.episodes[[_episode(study, each).since for each in study.episodes].index(one.since)]
    since, earliest, latest = (
        study.when(study.start_of(block)) for block in (place.first, place.earliest, place.latest)
    )
    likely = f" (between {earliest} and {latest})" if earliest != latest else ""
    until = "" if one.until is None else f" until {study.when(study.end_of(place.last))}"
    verb = "is" if one.until is None else "was"
    return (
        f"Since about {since}{likely}{until} the {study.loss_name} {verb} {figure(one.excess.mean)}{bounds(one.excess)} above "
        f"what was due: {figure(one.loss.mean)}{bounds(one.loss)} where {figure(one.due)} was due, over {study.blocks_word(one.blocks)}."
    )


def _fine(study: Study) -> str:
    risk = study.setup.risk
    return (
        f"No. Over {study.blocks_word(len(study.blocks) - study.reference)} the {study.loss_name} gave {study.evidence:.0%} of the evidence "
        f"that an alarm needs; a rise of more than {figure(risk.tolerance)} above what was due counts as harm."
    )


def suspected(study: Study) -> Episode | None:
    """A stretch up to the end that lies clearly above what was due, though the evidence is no alarm yet; only without alarms.

    Clearly: its mean excess exceeds what is allowed by six standard errors of the reference's spread. Where such a stretch
    begins is chosen by looking, hence the distance.
    """
    if study.episodes:
        return None
    reference, excess = study.setup.reference, study.trial.excess[study.reference :]
    allowed = reference.upper + study.setup.risk.tolerance
    found = find_episode(excess, reference.mean, reference.spread, allowed, len(excess) - 1)
    stretch = excess[found.first :]
    error = reference.spread / np.sqrt(len(stretch))
    if len(stretch) < LEAST_SUSPECTED or float(stretch.mean()) - allowed <= _CLEARLY * error:
        return None
    return replace(found, first=found.first + study.reference, last=found.last + study.reference)


def _suspicion(study: Study) -> list[str]:
    found = suspected(study)
    if found is None:
        return []
    excess = study.mean_of_blocks(study.trial.excess, found.first, found.last)
    since = study.when(study.start_of(found.first))
    size = f"{figure(excess.mean)}{bounds(excess)}"
    return [f"But since about {since} it lies {size} above what was due: too short for a page, long enough to look."]


def _of(study: Study, first: int, last: int) -> str:
    what = "since the onset" if study.harmed else "in the episode of harm" if study.episodes else "lately"
    return f"{what}, from {study.when(study.start_of(first))} to {study.when(study.end_of(last))}"


def _compared(study: Study, before: Interval, lately: Interval, of: str, verdict: str) -> list[str]:
    """What the loss was and is, and how much of the change the world explains."""
    first, last = study.lately
    change = lately.mean - before.mean
    unexplained = study.mean_of_blocks(study.trial.excess, first, last).mean - study.setup.reference.mean
    explained = change - unexplained
    told = [
        f"The {study.raw_name} was {figure(before.mean)}{bounds(before)} in the reference and {figure(lately.mean)}{bounds(lately)} {of}."
    ]
    if verdict == FINE and change > _NOTICED * float(np.hypot(_finite(before.error), _finite(lately.error))):
        told.append(
            f"Of that rise of {figure(change)}, a harder world (base rate, kinds of rows, bad days) explains {figure(explained)}; the "
            "rest is within chance."
        )
    elif verdict != FINE and abs(explained) > 2 * study.setup.risk.tolerance:
        way = "harder" if explained > 0 else "easier"
        told.append(f"The world became {way} as well, by {figure(abs(explained))}; that is not counted.")
    return told


def _finite(error: float) -> float:
    return error if np.isfinite(error) else 0.0
