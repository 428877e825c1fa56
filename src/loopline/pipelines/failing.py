"""An attempt that failed: what is declared against its error is decided and carried out, in the transaction that ends the attempt."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from math import ceil

import msgspec

from loopline.pipelines.advance import complete, ended_of, fall, lock, skip
from loopline.pipelines.completion import CLOSE_ATTEMPT
from loopline.pipelines.engine import CLAIMED, MOST_LOSSES, Claimed, Engine, claimed_from
from loopline.pipelines.failure import Failure, SetAside, StepError
from loopline.pipelines.graph import Options, text_of
from loopline.pipelines.healing import record
from loopline.pipelines.healing.classes import Classified, ErrorClass, check_own, classify
from loopline.pipelines.healing.decide import Next
from loopline.pipelines.healing.record import Where
from loopline.pipelines.healing.remedies import ANY, FallBack, LastGood, QuarantineRows, SkipWindow, When
from loopline.pipelines.instead import Instead
from loopline.pipelines.last_good import last_good
from loopline.pipelines.postponing import postpone_window
from loopline.storage.statements import Sql, Statements
from loopline.values import utc

_LOST_CODE = "step.lost"  # it was tried often enough already
_FENCE = "where execution = ? and number = ? and attempt = ? and state = 'running'"
_OURS = Sql(f"select 1 from step {_FENCE}")
_AGAIN = Sql(
    "update step set state = 'ready', attempt = ?, ready_at = {now} + ?, failures = ?, instead = ?, worker = null, leased_until = null "
    + _FENCE
)
_FAILED = Sql(
    "update step set state = 'failed', attempt = ?, error = ?, failures = ?, worker = null, leased_until = null, ended_at = ? "
    + _FENCE
)
_TRIED = Sql("update step set attempt = ?, failures = ? " + _FENCE)
_REMEDY = Sql(
    "insert into attempt (execution, number, attempt, worker, state, started_at, ended_at, seconds, log, error)"
    " values (?, ?, ?, ?, 'failed', ?, ?, 0, ?, ?)"
)
_EXPIRED = Sql(
    f"select {CLAIMED}, losses from step where execution = ? and number = ? and attempt = ? and state = 'running' and leased_until < {{now}}"
)
_OWN = Sql(f"select {CLAIMED}, losses from step {_FENCE} and worker = ?")
_FIRST_WAIT = 250
_LET_GO = Sql(
    "update step set state = 'ready', ready_at = {now} + ?, losses = losses + 1, worker = null, leased_until = null "
    + _FENCE
)


def fail(
    engine: Engine,
    sql: Statements,
    claimed: Claimed,
    failure: Failure,
    *,
    worker: str,
    seconds: float | None = 0.0,
    log: str | None = None,
    state: str = "failed",
) -> bool:
    """Commit that an attempt failed, and what follows: the step is tried again, goes on with something else, is skipped, or has failed for
    good and what needs it is cancelled. False, and nothing changed, where the step is not this attempt's any more.
    """
    lock(sql, claimed.execution)
    if sql.first(_OURS, claimed.execution, claimed.number, claimed.attempt) is None:
        return False
    _Failing(engine, sql, claimed, failure, worker, log).run(state, seconds)
    return True


def lose(
    engine: Engine,
    sql: Statements,
    execution: str,
    number: int,
    attempt: int,
    *,
    worker: str,
    because: str | None = None,
) -> bool:
    """Take a step from a worker whose lease has ended. It is ready again; for one that took several workers with it that is a failure.

    With `because` its own worker says so, whose executor lost it; then it waits, longer each time: a cluster needs a while to see that a node is gone.
    """
    lock(sql, execution)
    key = (execution, number, attempt)
    row = sql.first(_EXPIRED, *key) if because is None else sql.first(_OWN, *key, worker)
    if row is None:
        return False
    claimed, losses = claimed_from(row[:-1]), row[-1]
    detail = None if because is None else text_of({"because": because})
    engine.record(sql, execution, "lost", number, attempt, worker, detail)
    if losses + 1 < MOST_LOSSES:
        sql.later(CLOSE_ATTEMPT, "lost", engine.now(), None, None, None, *key)
        sql.change(_LET_GO, 0 if because is None else _FIRST_WAIT << 2 * losses, *key)
        return True
    failure = Failure.known("capacity", _LOST_CODE, f"{MOST_LOSSES} workers were lost while they ran it")
    return fail(engine, sql, claimed, failure, worker=worker, seconds=None, state="lost")


class _Failing:
    """One failure on its way to what is done about it."""

    def __init__(
        self, engine: Engine, sql: Statements, claimed: Claimed, failure: Failure, worker: str, log: str | None
    ) -> None:
        self.engine, self.sql, self.claimed, self.failure, self.worker, self.log = (
            engine, sql, claimed, failure, worker, log,
        )  # fmt: skip
        self.attempt, self.failures = claimed.attempt, claimed.failures
        self.key = (claimed.execution, claimed.number, claimed.attempt)
        self.at: datetime = utc(engine.clock.now())
        self.own = check_own(claimed.options.classes)
        self.facts = engine.facts(sql, claimed.execution)

    def run(self, state: str, seconds: float | None) -> None:
        """Try remedies until one can be carried out, or none is left. One that cannot be is an attempt that failed."""
        error, then = self._decided()
        told = text_of(StepError.of(self.failure, error, then.sentence))
        self.sql.change(CLOSE_ATTEMPT, state, self.engine.now(), seconds, self.log, told, *self.key)
        while (problem := self._carried_out(error, then)) is not None:
            record.ended(
                self.sql.tx, execution=self.claimed.execution, step=self.claimed.name, helped=False, at=self.at
            )
            self._note("not_healed", error, then, {"because": problem})
            self.attempt, self.failures = self.attempt + 1, self.failures + 1
            error, then = self._decided()
            now = self.engine.now()
            told = text_of(StepError(error.class_, "step.remedy_failed", problem, sentence=then.sentence))
            key = (*self.key[:2], self.attempt)
            self.sql.change(_REMEDY, *key, self.worker, now, now, self.log, told)
        if then.ends and self.engine.tell is not None:
            self.engine.tell(self.sql.tx, self._where(), error, then, self.claimed.options.owner, self.at)

    def _where(self) -> Where:
        return Where(
            project=self.facts.project,
            pipeline=self.facts.pipeline,
            step=self.claimed.name,
            execution=self.claimed.execution,
            attempt=self.attempt,
        )

    def _decided(self) -> tuple[Classified, Next]:
        return record.failed(
            self.sql.tx,
            self._where(),
            self.failure.raised,
            _declared(self.claimed.options, self.failure, self.own),
            at=self.at,
            seed=self.engine.seed,
            own=self.own,
            counted=self.failures,
        )

    def _carried_out(self, error: Classified, then: Next) -> str | None:
        """Do it; why it cannot be done, where it cannot."""
        remedy = then.remedy
        if isinstance(remedy, QuarantineRows):
            return self._set_aside(error, then)
        if isinstance(remedy, LastGood):
            return self._take_over(error, then, remedy)
        if isinstance(remedy, FallBack):
            self._again(error, then, "fallen_back", Instead("fall_back", function=remedy.function))
        elif isinstance(remedy, SkipWindow):
            self._skip(error, then, remedy)
        elif then.ends:
            self._end(error, then)
        else:
            self._again(error, then, "retrying", self.claimed.instead)
        return None

    def _again(self, error: Classified, then: Next, kind: str, instead: Instead | None, **detail: object) -> None:
        wait = 0 if then.at is None else max(0, ceil((then.at - self.at).total_seconds() * 1000))
        text = None if instead is None else text_of(instead)
        self.sql.change(_AGAIN, self.attempt, wait, self.failures + 1, text, *self.key)
        self._note(kind, error, then, {"wait": wait / 1000, **detail})

    def _set_aside(self, error: Classified, then: Next) -> str | None:
        found, before = self.failure.set_aside, self.claimed.instead or Instead("quarantine_rows")
        if not isinstance(found, SetAside):
            return found or "it does not say which rows are wrong, as ll.BadRows does"
        instead = msgspec.structs.replace(
            before,
            kind="quarantine_rows",
            inputs={**before.inputs, found.parameter: found.good},
            bad={**before.bad, found.parameter: found.bad},
            rows=before.rows + found.rows,
        )
        bad = {found.parameter: found.bad}
        self._again(error, then, "set_aside", instead, rows=found.rows, bad=bad)
        return None

    def _take_over(self, error: Classified, then: Next, remedy: LastGood) -> str | None:
        good = last_good(self.engine, self.sql, self.claimed, remedy)
        if isinstance(good, str):
            return good
        instead = Instead("last_good", execution=good.execution, stale_seconds=good.stale_seconds)
        self._note("taken_over", error, then, {"from": good.execution, "stale_seconds": good.stale_seconds})
        self.sql.change(_TRIED, self.attempt, self.failures + 1, *self.key)
        claimed = replace(self.claimed, attempt=self.attempt, failures=self.failures + 1, instead=instead)
        complete(self.engine, self.sql, claimed, good.result, worker=self.worker, attempted=False)
        return None

    def _skip(self, error: Classified, then: Next, remedy: SkipWindow) -> None:
        later = postpone_window(self.sql, self.facts, remedy, at=self.at, why=then.sentence)
        self.sql.change(_TRIED, self.attempt, self.failures + 1, *self.key)
        due = {} if later is None else {"due": later.due_at.isoformat()}
        detail = {"because": then.sentence.rstrip("."), **due}
        skip(self.engine, self.sql, self.claimed, self._told(error, then), self.attempt, self.worker, detail)

    def _end(self, error: Classified, then: Next) -> None:
        self.sql.change(_FAILED, self.attempt, self._told(error, then), self.failures + 1, self.engine.now(), *self.key)
        self._note("failed", error, then, {})
        fall(self.engine, self.sql, self.claimed.execution, ended_of(self.claimed), self.claimed.name)

    def _told(self, error: Classified, then: Next) -> str:
        return text_of(StepError.of(self.failure, error, then.sentence))

    def _note(self, kind: str, error: Classified, then: Next, detail: dict[str, object]) -> None:
        told = {
            "class": error.class_,
            "message": self.failure.message,
            "remedy": then.kind,
            "sentence": then.sentence,
            **detail,
        }
        self.engine.record(
            self.sql, self.claimed.execution, kind, self.claimed.number, self.attempt, self.worker, text_of(told)
        )


def _declared(options: Options, failure: Failure, own: Mapping[str, ErrorClass]) -> tuple[When, ...]:
    """What is declared against the error; behind it the step's `retries`, where they are for such errors."""
    declared, retrying = options.heal or (), options.retries
    class_ = classify(failure.raised, own).class_
    if failure.code == _LOST_CODE or not retrying.takes(class_, failure.kinds):
        return declared
    return (*declared, When(kinds=(ANY,), remedies=(retrying.remedy,)))
