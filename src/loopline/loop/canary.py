"""Watch the canaries: their tests move on with the log, and each is rolled back or forward by what they show. Exactly once.

A canary is rolled back as soon as one of its measures is shown to be beyond what is tolerated, and rolled forward once all of them
are shown to be within. Both stay right however often one looks: see `evidence.two_arms`. What is concluded commits together with
the state it was concluded from.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from loopline.errors import Conflict
from loopline.evidence.two_arms import TwoArms
from loopline.gates import variants
from loopline.gates.canary_terms import CanaryTerms
from loopline.gates.environment import alias_of
from loopline.gates.smoke import smoke_test
from loopline.gates.variants import CANARY, ROLLED_BACK, SUPERSEDED, Deployed
from loopline.incidents import outbox
from loopline.incidents.actions import Cause, Outcome
from loopline.incidents.freeze import frozen
from loopline.incidents.people import ROLL_BACK, People
from loopline.loop.canary_rows import Judging, Progress, progress_of, read_on
from loopline.loop.deploy import conclude_promotion
from loopline.loop.release import PROMOTE
from loopline.loop.turn import LaneWork
from loopline.models import registry
from loopline.storage.database import Transaction

log = structlog.get_logger(__name__)

ACTOR = "loop"
SHARE, SUPERSEDE = "share", "supersede"
ERRORS, SLOW = "errors", "slow"
AT_LEAST_EVERY = timedelta(minutes=1)
HURRY_EVERY, HURRY_FOR = timedelta(seconds=4), timedelta(minutes=10)


class Measure(msgspec.Struct, frozen=True):
    """One measure of a canary as it stands. `canary` and `champion` are the means of their rows (None without any).

    `harm` is how much of the evidence needed to roll back there is, `sound` of that to roll forward; 1 is enough.
    """

    name: str
    rows: int
    canary: float | None
    champion: float | None
    tolerance: float
    harm: float
    sound: float


class Verdict(msgspec.Struct, frozen=True):
    """What is to be done with a canary, `action` one of `"roll_back"`, `"promote"`, `"share"`, or empty to go on; and why."""

    action: str
    sentence: str
    measures: tuple[Measure, ...]
    share: float | None = None


def measures(progress: Progress, terms: CanaryTerms) -> tuple[Measure, ...]:
    """The measures that are watched, as they stand."""
    watched: list[tuple[str, TwoArms, float]] = [(ERRORS, progress.errors, terms.errors)]
    if terms.slow is not None:
        watched.append((SLOW, progress.slow, terms.slow))
    if terms.labels is not None:
        watched.append((terms.loss, progress.labels, terms.labels))
    return tuple(_measure(name, state, tolerance, terms) for name, state, tolerance in watched)


def judge(found: Deployed, progress: Progress, terms: CanaryTerms, now: datetime) -> Verdict:
    """What the evidence says. A canary that is beyond what is tolerated in nothing is ever rolled back with a probability of at most
    `alpha`: harm takes `measures / alpha`, for any one may show it. One that is beyond it in anything is ever promoted with at most
    `alpha`: soundness takes `1 / alpha` of every measure, and so of that one.
    """
    told = measures(progress, terms)
    harmed = [one for one in told if one.harm >= 1]
    if harmed:
        return Verdict("roll_back", " ".join(_worse(one) for one in harmed), told)
    own = progress.errors.total.trial - progress.step_rows
    if own < terms.min_rows or now - found.share_at < terms.lasts or not terms.promotes:
        return Verdict("", "", told)
    following = terms.after(found.share)
    if following is not None:
        return Verdict(SHARE, f"{own} rows without harm shown.", told, following)
    if all(one.sound >= 1 for one in told):
        return Verdict("promote", f"Shown to be no worse: {', '.join(_within(one) for one in told)}.", told)
    return Verdict("", "", told)


class CanaryWatch:
    """Watches the canaries of some lanes. It reads on where the log grew, and else once a minute, for labels mature without it."""

    def __init__(self, works: Sequence[LaneWork]) -> None:
        self._works = works
        self._seen: dict[str, tuple[int, datetime]] = {}
        self._hurried: datetime | None = None

    def look(self, now: datetime) -> list[Outcome]:
        """Move the test of every running canary on to `now`, and carry out what it says; gives what was changed."""
        done = []
        for work in self._works:
            with work.resources.database.reading() as tx:
                running = variants.find(tx, work.lane.project, model=work.lane.model, only_running=True)
            for one in running:
                if one.role == CANARY and one.terms is not None and self._is_due(work, one, one.terms, now):
                    outcome = _watch(work, one, one.terms, now)
                    if outcome is not None:
                        log.info("canary", project=one.project, model=one.model, told=outcome.sentence)
                        done.append(outcome)
        return done

    def hurries(self, now: datetime) -> bool:
        """Whether the log should be shipped without waiting: a canary's share is new, and harm shows soon if at all."""
        if self._hurried is not None and now - self._hurried < HURRY_EVERY:
            return False
        self._hurried = now
        for work in self._works:
            with work.resources.database.reading() as tx:
                running = variants.find(tx, work.lane.project, model=work.lane.model, only_running=True)
            if any(one.role == CANARY and now - one.share_at < HURRY_FOR for one in running):
                return True
        return False

    def _is_due(self, work: LaneWork, found: Deployed, terms: CanaryTerms, now: datetime) -> bool:
        table, tables = Judging(work.resources, work.lane, work.history, found, terms).table, work.resources.tables
        version = tables.open(table).version if tables.exists(table) else -1
        seen, at = self._seen.get(found.id, (None, now))
        if seen == version and now - at < AT_LEAST_EVERY:
            return False
        self._seen[found.id] = (version, now)
        return True


def _watch(work: LaneWork, found: Deployed, terms: CanaryTerms, now: datetime) -> Outcome | None:
    before = progress_of(found)
    moved = read_on(Judging(work.resources, work.lane, work.history, found, terms), before, now)
    verdict = judge(found, moved, terms, now)
    if verdict.action == PROMOTE:
        with work.resources.database.reading() as tx:
            version = registry.get_version(tx, found.project, found.model, found.version)
        smoke_test(work.predictors.load(version.package, version.envelope))
    if not verdict.action and moved == before:
        return None
    with work.resources.database.transaction() as tx:
        present = variants.get(tx, found.project, found.id)
        if present.state != variants.RUNNING or present.progress != found.progress or present.share != found.share:
            return None  # someone was faster; the next look sees what is now
        variants.keep_progress(tx, found, msgspec.to_builtins(moved))
        return _conclude(tx, work, found, verdict, now)


def _conclude(tx: Transaction, work: LaneWork, found: Deployed, verdict: Verdict, now: datetime) -> Outcome | None:
    if _champion(tx, work, found) != found.against:
        told = f"Another version serves than version {found.against}, which it was compared with."
        verdict = Verdict(SUPERSEDE, told, verdict.measures)
    if not verdict.action or held(tx, found.project, work.lane.people, verdict.action, now):
        return None
    cause = Cause(f"canary:{found.id}:{verdict.action}:{found.share:g}", verdict.sentence, ACTOR, now)
    outcome = _carry_out(tx, found, verdict, cause)
    if outcome is not None:
        _tell(tx, work, found, cause, outcome, harmful=verdict.action == ROLL_BACK)
    return outcome


def _carry_out(tx: Transaction, found: Deployed, verdict: Verdict, cause: Cause) -> Outcome | None:
    evidence, measured = _evidence(verdict)
    if verdict.action == PROMOTE:
        version = registry.get_version(tx, found.project, found.model, found.version)
        return conclude_promotion(tx, found, version, cause, evidence, measured)
    if verdict.action == SHARE and verdict.share is not None:
        return _grow(tx, found, verdict.share, cause)
    became = SUPERSEDED if verdict.action == SUPERSEDE else ROLLED_BACK
    variants.end(
        tx,
        found,
        became,
        actor=ACTOR,
        why=cause.sentence,
        at=cause.at,
        key=cause.key,
        evidence=evidence,
        measured=measured,
    )
    how = "was rolled back" if became == ROLLED_BACK else "ended"
    told = f"Canary {found.name} (version {found.version} of {found.model}) {how}. {cause.sentence}"
    return Outcome(changed=True, sentence=told, evidence=evidence)


def _grow(tx: Transaction, found: Deployed, share: float, cause: Cause) -> Outcome | None:
    try:
        variants.set_share(tx, found, share, actor=ACTOR, why=cause.sentence, at=cause.at, key=cause.key)
    except Conflict as error:  # another variant holds what it would grow into
        log.warning("canary waits for its share", model=found.model, variant=found.name, why=error.message)
        return None
    told = f"Canary {found.name} (version {found.version} of {found.model}) has {share * 100:.4g} % now."
    return Outcome(changed=True, sentence=told)


def held(tx: Transaction, project: str, people: People, action: str, now: datetime) -> str:
    """Why what the test says is not carried out now; empty where it is."""
    stopped = frozen(tx, project)
    if stopped is not None:
        return f"frozen by {stopped.by}: {stopped.reason}"
    until = people.held_until(PROMOTE if action in {PROMOTE, SHARE} else ROLL_BACK, now)
    return f"in a freeze window until {until:%Y-%m-%d %H:%M} UTC" if until else ""


def _champion(tx: Transaction, work: LaneWork, found: Deployed) -> int | None:
    alias = alias_of(work.lane.operation.environments, found.environment)
    return registry.alias(tx, found.project, found.model, alias)


def _measure(name: str, state: TwoArms, tolerance: float, terms: CanaryTerms) -> Measure:
    seen = state.total
    return Measure(
        name=name,
        rows=seen.trial,
        canary=seen.trial_sum / seen.trial if seen.trial else None,
        champion=seen.standing_sum / seen.standing if seen.standing else None,
        tolerance=tolerance,
        harm=max(0.0, state.harm_evidence / math.log(terms.watched / terms.alpha)),
        sound=max(0.0, state.sound_evidence / math.log(1 / terms.alpha)),
    )


def _worse(one: Measure) -> str:
    if one.name == SLOW:  # measured time has no place in what the ledger's digest covers
        return f"{SLOW}: more of its answers are slow than is tolerated."
    return f"{one.name}: {one.canary or 0:.4g} against the champion's {one.champion or 0:.4g} on {one.rows} rows."


def _within(one: Measure) -> str:
    return SLOW if one.name == SLOW else f"{one.name} {one.canary or 0:.4g} against {one.champion or 0:.4g}"


def _evidence(verdict: Verdict) -> tuple[dict[str, Any], dict[str, Any]]:
    """What goes into the ledger, and what is measured time and stays beside its digest."""
    told = {one.name: msgspec.to_builtins(one) for one in verdict.measures}
    measured = {name: told.pop(name) for name in (SLOW,) if name in told}
    return {"measures": told}, measured


def _tell(tx: Transaction, work: LaneWork, found: Deployed, cause: Cause, outcome: Outcome, *, harmful: bool) -> None:
    if work.lane.replayed:
        return
    outbox.put(
        tx,
        project=found.project,
        key=cause.key,
        to=work.lane.owner,
        severity="warning" if harmful else "info",
        message={
            "event": "canary",
            "model": found.model,
            "variant": found.name,
            "text": outcome.sentence,
            "at": cause.at.isoformat(),
        },
        at=cause.at,
        quiet=work.lane.people.quiet,
    )
