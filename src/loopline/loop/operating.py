"""The loop in operation: what is done again and again while it runs for real."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl
import structlog

from loopline.clock import SystemClock
from loopline.errors import told, trace
from loopline.features.definitions import View
from loopline.features.online import OnlineFeatures
from loopline.loop import store
from loopline.loop.backoff import Backoff
from loopline.loop.canary import CanaryWatch
from loopline.loop.declare import Loop
from loopline.loop.deployment import champion_views, publish
from loopline.loop.describe import describe
from loopline.loop.freshness import watch_freshness
from loopline.loop.ingestion import ingest_each, tables_behind
from loopline.loop.mishaps import Mishaps
from loopline.loop.notices import attend
from loopline.loop.personal import Tags, keep_tags, tags
from loopline.loop.resources import Resources
from loopline.loop.review import fill_reviews
from loopline.loop.source import Source
from loopline.loop.take_in import take_in
from loopline.loop.turn import LaneWork, TurnSummary, run_turn
from loopline.scoring.shipper import Shipped, ask_to_seal, ship_all
from loopline.values import Window, duration

log = structlog.get_logger(__name__)

# Requests may ask for a time this far back and still get the features exactly as they were then.
LOOK_BACK = timedelta(days=2)


@dataclass(frozen=True)
class Operating:
    """One loop in operation: its lanes' work, the online store and the spools of its scoring processes.

    `begin` is from when sources are asked the first time; a turn back by default. A source that fails is asked again ever later,
    the others go on; a lane that reads it waits with its turn, since outcomes that did not come are no outcomes.
    """

    resources: Resources
    loop: Loop
    works: Sequence[LaneWork]
    online: OnlineFeatures
    spools: Path
    begin: datetime | None = None
    failing: dict[str, Backoff] = field(default_factory=dict)
    patience: Backoff = field(init=False)
    canaries: CanaryWatch = field(init=False)
    mishaps: Mishaps = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "canaries", CanaryWatch(self.works))
        object.__setattr__(self, "mishaps", Mishaps(self.loop.name, "turn"))
        object.__setattr__(self, "patience", Backoff(self._seconds))

    def prepare(self) -> None:
        """Bring the online store to what the tables hold, ship what spools hold, ask about it, and publish what serves."""
        with self.resources.activity.shared():
            self._prepare()

    def _prepare(self) -> None:
        now = self.resources.clock.now()
        self.ship()
        self.ask_people()
        declared = self._views()
        held = {name for name in {view.table for view in declared} if self.resources.tables.exists(name)}
        history = {name: rows for name in held if (rows := self._rows(name)).height}
        views = [view for view in declared if view.table in history]
        self.online.rebuild(views, history, horizon=now - LOOK_BACK)
        self.publish()

    def ship(self) -> Shipped:
        """Ship sealed segments of predictions into their tables."""
        with self.resources.activity.shared():
            shipped = ship_all(self.spools, self.resources.tables)
            if shipped.rows:
                self._tag()
        return shipped

    def ask_people(self) -> None:
        """Take in what was predicted elsewhere since, and put into the review queues what is to be reviewed. An error of one lane is logged, and
        tried again at the next call.
        """
        now = self.resources.clock.now()
        for work in self.works:
            try:
                with self.resources.activity.shared():
                    take_in(self.resources, work.lane)
                    fill_reviews(self.resources, work.lane, now)
            except Exception as error:  # one lane's rows must not hold back what others serve
                self._log("reviews_failed", error)

    def publish(self) -> None:
        """Publish the manifest where it changed. Tokens expire by the real time, whatever the loop's clock says."""
        publish(self.resources, self.loop.name, at=SystemClock().now())

    def due(self) -> bool:
        """Whether the time of a lane's next turn has come."""
        return any(self._is_due(work) for work in self.works)

    def turn(self) -> list[TurnSummary]:
        """Ingest what became known, update the online store, and take the next turn of each lane that is due.

        A lane that reads a source which fails waits for it.
        """
        end = self.resources.clock.now()
        due = [work for work in self.works if self._is_due(work)]
        self._ingest(end, urgent={table for work in due if not self._waits(work) for table in self._needs(work)})
        summaries = [self._take_turn(work, end) for work in due if not self._waits(work)]
        self.publish()
        return summaries

    def keep(self) -> None:
        """Ship what was predicted, ask people about what they are to review of it, and publish what changed. An error is logged, and tried
        again at the next call.
        """
        try:
            self.ship()
            self.ask_people()
            self.publish()
        except Exception as error:  # the loop must outlive a bad hour
            self._log("keep_failed", error)

    def watch(self) -> None:
        """Watch the canaries, and publish what they came to. An error is logged, and tried again at the next call."""
        try:
            now = self.resources.clock.now()
            with self.resources.activity.shared():
                if self.canaries.look(now):
                    self.publish()
            if self.canaries.hurries(now):
                ask_to_seal(self.spools)
        except Exception as error:  # the loop must outlive a bad hour
            self._log("watch_failed", error)

    def attend(self) -> None:
        """Send what people are to be told, and escalate what nobody looks after. An error is logged, and tried again."""
        try:
            attend(self.resources, self.resources.clock.now())
        except Exception as error:  # the loop must outlive a bad hour
            self._log("attend_failed", error)

    def step(self) -> bool:
        """Ask the sources whose time has come, and turn where it is time; says whether that went well.

        An error is logged. What was done stays done; the rest is for a later call, and the later the more calls failed before.
        A source that fails holds back itself and the lanes that read it, and nothing else.
        """
        if not self.patience.ready():
            return False
        now = self.resources.clock.now()
        try:
            self._go_on(now)
        except Exception as error:  # the database, a fit, a full disk: the loop must outlive a bad hour
            self._log("turn_failed", error)
            self.patience.note(succeeded=False)
            self.mishaps.note(self.resources.database, error, now)
            return False
        self.patience.note(succeeded=True)
        self.mishaps.note(self.resources.database, None, now)
        return not self.failing

    def _log(self, event: str, error: Exception) -> None:
        """Where a loop is about persons, the texts of others' errors stay out of the log: they may quote rows."""
        if self._tags:
            log.error(event, error=told(error), exception=trace(error))
        else:
            log.error(event, error=str(error), exc_info=error)

    def _go_on(self, now: datetime) -> None:
        """What reads rows and writes what comes of them is one: no person is erased in between."""
        with self.resources.activity.shared():
            self._ingest(now)
            watch_freshness(self.resources, self.loop, now, tells=True)
            if self.due():
                for summary in self.turn():
                    log.info("turn", number=summary.number, alarms=len(summary.alarms), action=summary.action)

    def _is_due(self, work: LaneWork) -> bool:
        last = self._last_turn(work)
        return last is None or self.resources.clock.now() - last >= duration(self.loop.turn)

    def _waits(self, work: LaneWork) -> bool:
        return any(table in self.failing for table in self._needs(work))

    def _needs(self, work: LaneWork) -> set[str]:
        return tables_behind(self.loop, work.lane.recipe.tables)

    def _take_turn(self, work: LaneWork, end: datetime) -> TurnSummary:
        window = Window(self._last_turn(work) or self._beginning(end), end)
        return run_turn(work, number=self._next_number(work), window=window, due=None)

    def _beginning(self, end: datetime) -> datetime:
        return self.begin or end - duration(self.loop.turn)

    def _ingest(self, end: datetime, *, urgent: Collection[str] = ()) -> None:
        """Ask the sources whose time has come, and those whose tables are urgent or that failed and may be tried again."""
        intake = ingest_each(
            self.resources,
            self.loop,
            end,
            begin=self._beginning(end),
            at_leisure=True,
            urgent={*urgent, *self.failing},
            asked=self._may_be_asked,
        )
        for table in intake.failed:
            self.failing.setdefault(table, Backoff(self._seconds)).note(succeeded=False)
        for table in intake.done:
            self.failing.pop(table, None)
        self._tag()
        views = self._views()
        for table in {view.table for view in views}:
            self._update_online(table, [view for view in views if view.table == table], end)

    @cached_property
    def _tags(self) -> dict[str, Tags]:
        return tags(describe(self.loop))

    def _tag(self) -> None:
        """Tables that came or grew say what of them is about persons."""
        keep_tags(self.resources.tables, self._tags)

    def _views(self) -> list[View]:
        """What the loop declares, and what its champions were trained with, where that differs."""
        views = [view for work in self.works for view in work.lane.operation.model.views]
        with self.resources.database.reading() as tx:
            for work in self.works:
                views += champion_views(tx, work.lane.project, work.lane.model, work.lane.operation.environments)
        return [view for place, view in enumerate(views) if view not in views[:place]]

    def _update_online(self, table: str, views: Sequence[View], end: datetime) -> None:
        """File what became known since what is filed: the store itself says how far it is."""
        if not self.resources.tables.exists(table):
            return
        filed = [self.online.freshness(view) for view in views]
        known = [moment for moment in filed if moment is not None]
        after = min(known) if len(known) == len(filed) else None
        rows = self._rows(table, known_after=after, known_until=end)
        if rows.height:
            self.online.update(views, table, rows, horizon=end - LOOK_BACK)

    def _rows(self, name: str, **bounds: datetime | None) -> pl.DataFrame:
        """Rows to file. Where a table was kept from an erasure, what is held of the person is not worked with."""
        table = self.resources.tables.open(name)
        return table.without_erased(
            table.read(known_after=bounds.get("known_after"), known_until=bounds.get("known_until"))
        )

    def _may_be_asked(self, source: Source) -> bool:
        return source.table not in self.failing or self.failing[source.table].ready()

    def _seconds(self) -> float:
        return self.resources.clock.now().timestamp()

    def _last_turn(self, work: LaneWork) -> datetime | None:
        with self.resources.database.reading() as tx:
            row = store.last_turn(tx, work.lane.project, work.lane.model)
        return row["window_end"] if row else None

    def _next_number(self, work: LaneWork) -> int:
        with self.resources.database.reading() as tx:
            row = store.last_turn(tx, work.lane.project, work.lane.model)
        return (row["number"] if row else 0) + 1
