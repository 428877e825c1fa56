"""What healing must do on every database, also where a worker dies on the way. Subclass `HealingSuite` and give it a fixture `database_url`."""

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import loopline as ll
from loopline.clock import SystemClock
from loopline.errors import DeclarationError, InvalidInput
from loopline.pipelines import reading
from loopline.pipelines.again import resume
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.engine import Engine
from loopline.pipelines.executions import submit
from loopline.pipelines.failing import lose
from loopline.pipelines.healing import postponed, record
from loopline.pipelines.healing.decide import Next
from loopline.pipelines.inline import Inline
from loopline.pipelines.perform import perform
from loopline.pipelines.planning import plan
from loopline.pipelines.postponing import starting
from loopline.pipelines.taking import commit, take
from loopline.pipelines.why import why
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.storage.statements import Sql, Statements
from loopline.testing.opened import OpenedDatabase
from loopline.values import Window

DAY = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
NEXT_DAY = Window(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))
_END_LEASES = Sql("update step set leased_until = 0 where state = 'running'")
_AT_ONCE = Sql("update step set ready_at = 0 where state = 'ready'")
_AGE = Sql("update step set ended_at = ended_at - 3600000000")

calls: Counter[str] = Counter()
fails: Counter[str] = Counter()
met: list[str] = []


def _met(name: str, error: Exception) -> None:
    calls[name] += 1
    if fails[name] > 0:
        fails[name] -= 1
        met.append(name)
        raise error


@ll.step(heal=ll.when("access", ll.wait("1h", every="1m")))
def waiting(window: ll.Window) -> int:
    """Waits for its file."""
    _met("waiting", FileNotFoundError(2, "not there"))
    return window.start.day


@ll.step(
    retries=ll.Retries(1, first="60s", at_most="60s"), heal=ll.when("data", ll.retry(3, first="60s", at_most="60s"))
)
def retrying(window: ll.Window) -> int:
    """Tried again: three times for its data, once for what it depends on."""
    _met("retrying data", ValueError("no"))
    _met("retrying", ConnectionError("no"))
    return window.start.day


@ll.step
def read(window: ll.Window) -> pl.DataFrame:
    """Amounts, two of them wrong."""
    return pl.DataFrame({"amount": [1, -2, 3, -4, window.start.day]})


@ll.step(heal=ll.when("data", ll.quarantine_rows, ll.page))
def counted(rows: pl.DataFrame) -> int:
    """The sum of amounts."""
    calls["counted"] += 1
    bad = rows.with_row_index().filter(pl.col("amount") < 0)["index"]
    if len(bad) or fails["counted"]:
        raise ll.BadRows("rows", bad, "negative amounts")
    return int(rows["amount"].sum())


@ll.step(heal=ll.when("dependency", ll.last_good(max_age="2h"), ll.page("ann")), reuse=False)
def taking(window: ll.Window) -> int:
    """What a service says of the day."""
    _met("taking", ConnectionError("no"))
    return window.start.day


def simple(window: ll.Window) -> int:
    """In place of `falling`."""
    _met("simple", ConnectionError("no"))
    return -window.start.day


@ll.step(heal=ll.when("any", ll.fall_back(simple), ll.page))
def falling(window: ll.Window) -> int:
    """What a model says of the day."""
    _met("falling", ZeroDivisionError())
    return window.start.day


@ll.step(heal=ll.when("dependency", ll.skip_window(backfill_after="1d")))
def skipping(window: ll.Window) -> int:
    """What cannot be had today."""
    _met("skipping", ConnectionError("no"))
    return window.start.day


@ll.step
def plain(window: ll.Window) -> int:
    """Without a declaration of its own."""
    _met("plain", KeyError("no"))
    return window.start.day


@ll.step
def after(value: int | None) -> str:
    """What came of it."""
    return f"got {value}"


@ll.step
def needs(value: int) -> str:
    """What needs it."""
    return f"needs {value}"


@ll.pipeline
def waits(window: ll.Window) -> Any:
    """Waits."""
    return after(waiting(window))


@ll.pipeline
def retries(window: ll.Window) -> Any:
    """Tries again."""
    return after(retrying(window))


@ll.pipeline
def sets_aside(window: ll.Window) -> Any:
    """Goes on without bad rows."""
    return after(counted(read(window)))


@ll.pipeline
def takes_over(window: ll.Window, region: str = "north") -> Any:
    """Goes on with what was good."""
    del region
    return after(taking(window))


@ll.pipeline
def falls_back(window: ll.Window) -> Any:
    """Goes on with another function."""
    return after(falling(window))


@ll.pipeline
def skips(window: ll.Window) -> Any:
    """Skips its window."""
    got = skipping(window)
    return after(got), needs(got)


@ll.pipeline(heal=ll.when("KeyError", ll.page("team-data")), owner="ann", classes={"KeyError": "data"})
def pages(window: ll.Window) -> Any:
    """Has somebody paged."""
    return after(plain(window))


@ll.step(heal=ll.when("dependency", ll.skip_window))
def shaky(value: int) -> int:
    """One of many."""
    _met(f"shaky {value}", ConnectionError("no"))
    return value


@ll.step
def summed(values: list[int] | None) -> str:
    """The sum of many."""
    return "nothing" if values is None else str(sum(values))


@ll.pipeline
def many(count: int) -> Any:
    """Many shaky steps."""
    return summed(shaky.each(list(range(count))))


class Died(Exception):
    """What ends a worker in these tests."""


class HealingSuite(OpenedDatabase):
    """Each remedy: what comes of the step, what is told, and that a death before or after the commit changes neither."""

    @pytest.fixture
    def told(self) -> list[tuple[str, str, str]]:
        return []

    @pytest.fixture
    def engine(self, tmp_path: Path, told: list[tuple[str, str, str]]) -> Engine:
        for one in (calls, fails, met):
            one.clear()
        engine = Engine(open_artifacts(str(tmp_path / "artifacts")), SystemClock(), lease_ms=60_000)

        def tell(_: Any, where: record.Where, __: Any, then: Next, owner: str, ___: datetime) -> None:
            told.append((where.step, then.kind, owner))

        engine.tell = tell
        return engine

    @pytest.fixture(params=["lives", "dies"])
    def fate(self, request: pytest.FixtureRequest) -> str:
        """What becomes of a worker whose attempt fails: it lives, or dies before that is committed. Each attempt is another worker's."""
        return str(request.param)

    def submitted(self, database: Database, engine: Engine, pipeline: Pipeline, **params: Any) -> str:
        planned = plan(pipeline, params, engine.artifacts)
        with database.transaction() as tx:
            return submit(tx, engine, planned)[0]

    def run(self, database: Database, engine: Engine, execution: str, tmp_path: Path, fate: str = "lives") -> str:
        """Work until the execution has ended: each attempt by another worker, of which every second one dies where its attempt fails."""
        died = False
        for number in range(50):
            with database.reading() as tx:
                if (state := reading.get_execution(tx, execution).state) != "running":
                    return state
            died = self.attempt(database, engine, f"w{number}", tmp_path, dies=fate == "dies" and not died)
        raise AssertionError("it does not end")

    def attempt(self, database: Database, engine: Engine, worker: str, tmp_path: Path, *, dies: bool) -> bool:
        """One attempt; whether its worker died before it was committed."""
        self.hurry(database)
        inline = Inline(engine, database, tmp_path / "code")
        with database.transaction() as tx:
            taken, _ = take(engine, Statements.of(tx), worker)
        if taken is None:
            return False
        performed = perform(inline._function(taken), taken.arguments, engine.artifacts)  # noqa: SLF001 - as it does
        with suppress(Died), database.transaction() as tx:
            commit(engine, Statements.of(tx), taken, performed, worker=worker)
            if dies and performed.failure is not None:
                raise Died
            return False
        with database.transaction() as tx:
            sql = Statements.of(tx)
            sql.change(_END_LEASES)
            claimed = taken.claimed
            assert lose(engine, sql, claimed.execution, claimed.number, claimed.attempt, worker="other")
        if met:
            fails[met[-1]] += 1  # the next meets the same error
        return True

    def hurry(self, database: Database) -> None:
        with database.transaction() as tx:
            Statements.of(tx).change(_AT_ONCE)

    def outcome(self, database: Database, engine: Engine, execution: str) -> Any:
        with database.reading() as tx:
            return reading.result_of(tx, execution, engine.artifacts)

    def tried(self, database: Database, execution: str, step: str) -> list[tuple[str, str]]:
        with database.reading() as tx:
            return [(one.kind, one.outcome) for one in record.history(tx, execution, step)]

    def step(self, database: Database, execution: str, name: str) -> reading.StepRow:
        with database.reading() as tx:
            return next(one for one in reading.steps_of(tx, execution) if one.name == name)

    def because(self, database: Database, engine: Engine, execution: str, name: str) -> str:
        with database.reading() as tx:
            return why(tx, engine, execution, name).sentence

    def details(self, database: Database, execution: str, kind: str) -> list[dict[str, Any]]:
        with database.reading() as tx:
            return [one.detail or {} for one in reading.events_of(tx, execution) if one.kind == kind]

    def test_a_source_is_waited_for(
        self, database: Database, engine: Engine, tmp_path: Path, fate: str, told: list[Any]
    ) -> None:
        fails["waiting"] = 2
        execution = self.submitted(database, engine, waits, window=DAY)
        assert self.run(database, engine, execution, tmp_path, fate) == "done"
        assert self.outcome(database, engine, execution) == "got 1"
        assert self.tried(database, execution, "waiting") == [("wait", "failed"), ("wait", "helped")]
        assert [one["wait"] for one in self.details(database, execution, "retrying")] == [60.0, 60.0]
        assert told == []

    def test_a_step_is_tried_again_as_its_kind_of_error_says(
        self, database: Database, engine: Engine, tmp_path: Path, fate: str, told: list[Any]
    ) -> None:
        fails.update({"retrying data": 2, "retrying": 1})
        execution = self.submitted(database, engine, retries, window=DAY)
        assert self.run(database, engine, execution, tmp_path, fate) == "done"
        assert [kind for kind, _ in self.tried(database, execution, "retrying")] == ["retry"] * 3
        fails.update({"retrying data": 0, "retrying": 2})
        execution = self.submitted(database, engine, retries, window=NEXT_DAY)
        assert self.run(database, engine, execution, tmp_path) == "failed"
        assert told == [("retrying", "fail", "")]
        fails["retrying"] = 1
        with database.transaction() as tx:
            resume(tx, engine, execution)  # by a person: retries count anew
        assert self.run(database, engine, execution, tmp_path) == "done"

    def test_bad_rows_are_set_aside_and_kept(
        self, database: Database, engine: Engine, tmp_path: Path, fate: str, told: list[Any]
    ) -> None:
        execution = self.submitted(database, engine, sets_aside, window=DAY)
        assert self.run(database, engine, execution, tmp_path, fate) == "done"
        assert self.outcome(database, engine, execution) == "got 5"
        assert calls["counted"] == (2 if fate == "lives" else 3)
        [detail] = self.details(database, execution, "set_aside")
        kept = pl.read_parquet(engine.artifacts.get(detail["bad"]["rows"]))
        assert kept["amount"].to_list() == [-2, -4]
        assert detail["rows"] == 2
        with database.reading() as tx:
            [remedied] = record.history(tx, execution, "counted")
        assert (remedied.kind, remedied.outcome, remedied.detail) == ("quarantine_rows", "helped", {"rows": 2})
        assert "2 rows" in self.because(database, engine, execution, "counted")
        again = self.submitted(database, engine, sets_aside, window=DAY)
        assert self.run(database, engine, again, tmp_path) == "done"
        assert self.step(database, again, "counted").reused is None  # what was healed is not kept for others
        assert told == []

    def test_rows_that_cannot_be_set_aside_go_to_the_next_remedy(
        self, database: Database, engine: Engine, tmp_path: Path, told: list[Any]
    ) -> None:
        fails["counted"] = 1  # it calls rows wrong, and names none the second time
        execution = self.submitted(database, engine, sets_aside, window=DAY)
        assert self.run(database, engine, execution, tmp_path) == "failed"
        assert self.tried(database, execution, "counted") == [("quarantine_rows", "failed"), ("page", "ended")]
        assert told == [("counted", "page", "")]

    def test_the_last_good_result_is_taken_over(
        self, database: Database, engine: Engine, tmp_path: Path, fate: str, told: list[Any]
    ) -> None:
        first = self.submitted(database, engine, takes_over, window=DAY)
        assert self.run(database, engine, first, tmp_path) == "done"
        with database.transaction() as tx:
            Statements.of(tx).change(_AGE)
        fails["taking"] = 1
        second = self.submitted(database, engine, takes_over, window=NEXT_DAY)
        assert self.run(database, engine, second, tmp_path, fate) == "done"
        assert self.outcome(database, engine, second) == "got 1"
        step = self.step(database, second, "taking")
        assert step.instead is not None
        assert (step.state, step.instead["execution"]) == ("done", first)
        with database.reading() as tx:
            [remedied] = record.history(tx, second, "taking")
        assert remedied.outcome == "helped"
        assert 3600 <= remedied.detail["stale_seconds"] < 7200
        assert f"taken over from {first}" in self.because(database, engine, second, "taking")
        assert told == []

    @pytest.mark.parametrize(
        ("region", "age", "problem"), [("south", 1, "there is no good"), ("north", 3, "younger than 2h")]
    )
    def test_without_a_good_result_the_next_remedy_is_tried(
        self, database: Database, engine: Engine, tmp_path: Path, told: list[Any], region: str, age: int, problem: str
    ) -> None:
        first = self.submitted(database, engine, takes_over, window=DAY)
        assert self.run(database, engine, first, tmp_path) == "done"
        with database.transaction() as tx:
            for _ in range(age):
                Statements.of(tx).change(_AGE)
        fails["taking"] = 1
        second = self.submitted(database, engine, takes_over, window=NEXT_DAY, region=region)
        assert self.run(database, engine, second, tmp_path) == "failed"
        assert self.tried(database, second, "taking") == [("last_good", "failed"), ("page", "ended")]
        [detail] = self.details(database, second, "not_healed")
        assert problem in detail["because"]
        with database.reading() as tx:
            attempts = [(one.attempt, one.state) for one in reading.attempts_of(tx, second, 0)]
        assert attempts == [(1, "failed"), (2, "failed")]
        assert told == [("taking", "page", "")]

    def test_another_function_is_called_instead(
        self, database: Database, engine: Engine, tmp_path: Path, fate: str, told: list[Any]
    ) -> None:
        fails["falling"] = 1
        execution = self.submitted(database, engine, falls_back, window=DAY)
        assert self.run(database, engine, execution, tmp_path, fate) == "done"
        assert self.outcome(database, engine, execution) == "got -1"
        assert calls["simple"] == 1
        assert self.tried(database, execution, "falling") == [("fall_back", "helped")]
        assert "simple" in self.because(database, engine, execution, "falling")
        assert told == []

    def test_where_the_other_function_fails_too_the_next_remedy_is_tried(
        self, database: Database, engine: Engine, tmp_path: Path, told: list[Any]
    ) -> None:
        fails.update({"falling": 1, "simple": 1})
        execution = self.submitted(database, engine, falls_back, window=DAY)
        assert self.run(database, engine, execution, tmp_path) == "failed"
        assert self.tried(database, execution, "falling") == [("fall_back", "failed"), ("page", "ended")]
        assert told == [("falling", "page", "")]

    def test_a_window_is_skipped_and_executed_again_once(
        self, database: Database, engine: Engine, tmp_path: Path, fate: str, told: list[Any]
    ) -> None:
        fails["skipping"] = 1
        execution = self.submitted(database, engine, skips, window=DAY)
        assert self.run(database, engine, execution, tmp_path, fate) == "done"
        assert self.outcome(database, engine, execution) == ["got None", None]
        assert self.step(database, execution, "needs").state == "skipped"
        assert "its window is skipped" in self.because(database, engine, execution, "skipping")
        assert told[-1] == ("skipping", "skip_window", "")
        now = SystemClock().now()
        with database.reading() as tx:
            [later] = postponed.waiting(tx, "default")
        assert later.window == DAY
        assert postponed.start_due(database, "default", starting(engine), now=now) == []
        [begun] = postponed.start_due(database, "default", starting(engine), now=now + timedelta(days=1, minutes=1))
        assert postponed.start_due(database, "default", starting(engine), now=now + timedelta(days=9)) == []
        assert begun.execution is not None
        assert self.run(database, engine, begun.execution, tmp_path) == "done"
        assert self.outcome(database, engine, begun.execution) == ["got 1", "needs 1"]

    def test_a_skipped_element_skips_its_fan_out(self, database: Database, engine: Engine, tmp_path: Path) -> None:
        fails["shaky 1"] = 1
        execution = self.submitted(database, engine, many, count=3)
        assert self.run(database, engine, execution, tmp_path) == "done"
        assert self.outcome(database, engine, execution) == "nothing"
        assert self.step(database, execution, "shaky").state == "skipped"

    def test_a_page_ends_the_step_and_the_pipeline_says_who_is_told(
        self, database: Database, engine: Engine, tmp_path: Path, fate: str, told: list[Any]
    ) -> None:
        fails["plain"] = 1
        execution = self.submitted(database, engine, pages, window=DAY)
        assert self.run(database, engine, execution, tmp_path, fate) == "failed"
        assert self.tried(database, execution, "plain") == [("page", "ended")]
        assert told[-1] == ("plain", "page", "ann")
        with database.reading() as tx:
            [(_, error)] = reading.failures_of(tx, execution)
        assert (error.error_class, "team-data is paged" in error.sentence) == ("data", True)
        assert "team-data is paged" in self.because(database, engine, execution, "plain")

    @pytest.mark.parametrize("remedy", [ll.fall_back("nowhere"), ll.fall_back("simple"), ll.fall_back("needs")])
    def test_what_cannot_stand_in_for_a_step_is_refused_at_tracing(self, engine: Engine, remedy: Any) -> None:
        step = ll.step(heal=ll.when("any", remedy))(shaky.function)
        with pytest.raises(DeclarationError, match=rf"`shaky` .*`{remedy.step}`"):
            plan(ll.pipeline(name="p")(lambda: step(1)), {}, engine.artifacts)

    def test_a_window_that_is_not_there_cannot_be_put_off(self, engine: Engine) -> None:
        with pytest.raises(InvalidInput, match="takes no window"):
            plan(ll.pipeline(name="p")(lambda: skipping(DAY)), {}, engine.artifacts)
