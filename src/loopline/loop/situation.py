"""The situation of a lane at the end of a window: what the conditions of its playbook ask."""

from datetime import datetime
from functools import cache
from typing import Any

import polars as pl

from loopline.evaluation.intervals import paired_by_block
from loopline.evaluation.kind import as_column
from loopline.gates.check import Comparison
from loopline.gates.promotion import CHAMPION, previous_champion
from loopline.incidents import store
from loopline.incidents.forecast import Forecast
from loopline.incidents.incident import Incident
from loopline.loop.decision_watch import previous_is_cheaper
from loopline.loop.deployment import Predictors
from loopline.loop.forecasting import forecast, rows_of
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.lasting import in_force, open_incidents
from loopline.loop.priced import priced
from loopline.loop.resources import Resources
from loopline.loop.review import reviewed_of
from loopline.loop.watch import matured
from loopline.models import registry
from loopline.models.predictor import Predictor
from loopline.monitoring.alarm_kinds import DATA_FAULT, DECISION_HARM, HARM
from loopline.scoring.feature_columns import as_kinds, by_name
from loopline.scoring.record import prediction_table
from loopline.values import Window

LEAST_BLOCKS = 3


class LaneSituation:
    """Answers are computed when asked, once."""

    def __init__(
        self, resources: Resources, lane: Lane, history: History, predictors: Predictors, window: Window
    ) -> None:
        self.window = window
        self._resources, self._lane, self._history, self._predictors = resources, lane, history, predictors
        self.harm = cache(self._harm)
        self.data_fault = cache(self._data_fault)
        self.previous_is_better = cache(self._previous_is_better)
        self.decision_harm = cache(self._decision_harm)
        self.previous_decision_is_cheaper = cache(self._previous_decision_is_cheaper)
        self.growth = cache(self._growth)
        self.causes = cache(self._causes)
        self.forecast = cache(self._forecast)

    def last_done(self, action: str) -> datetime | None:
        with self._resources.database.reading() as tx:
            return store.last_action(tx, self._lane.project, self._lane.model, action)

    def times_done(self, action: str, since: datetime) -> int:
        with self._resources.database.reading() as tx:
            return store.actions_since(tx, self._lane.project, self._lane.model, action, since)

    def in_force(self, measure: str) -> bool:
        with self._resources.database.reading() as tx:
            return in_force(tx, self._lane, measure)

    def _causes(self) -> list[list[dict[str, Any]]]:
        return [one.diagnosis for one in self._incidents(self._lane.recipe.tables)]

    def _forecast(self, horizon: str) -> Forecast:
        lane = self._lane
        prices = priced(lane.operation.prices)
        growth, harms = self.growth(), [one for one in self._incidents() if one.kind == HARM]
        with self._resources.database.reading() as tx:
            return forecast(tx, lane, prices, horizon, growth=growth, harms=harms, now=self.window.end)

    def _harm(self) -> bool:
        return self._open(HARM)

    def _data_fault(self) -> bool:
        return self._open(DATA_FAULT, also=self._lane.recipe.tables)

    def _decision_harm(self) -> bool:
        return self._open(DECISION_HARM)

    def _previous_decision_is_cheaper(self) -> bool:
        until = self._lane.operation.model.label.mature_until(self.window.end)
        return previous_is_cheaper(
            self._resources, self._lane, self._history, until=until, now=self.window.end, least_blocks=LEAST_BLOCKS
        )

    def alarmed(self, kind: str) -> bool:
        return self._open(kind)

    def _open(self, kind: str, *, also: tuple[str, ...] = ()) -> bool:
        """Whether an incident of the kind is open for the model, or for one of the tables `also`."""
        return any(one.kind == kind for one in self._incidents(also))

    def _incidents(self, also: tuple[str, ...] = ()) -> list[Incident]:
        """The open incidents of the model, and of the tables `also`."""
        with self._resources.database.reading() as tx:
            return open_incidents(tx, self._lane, also)

    def _growth(self) -> float:
        if self._lane.operation.model.external is not None:
            return 1.0
        with self._resources.database.reading() as tx:
            trained = registry.versions(tx, self._lane.project, self._lane.model)
        if not trained:
            return 1.0
        known_then = rows_of(trained[-1])
        return self._labelled() / known_then if known_then else 1.0

    def _labelled(self) -> int:
        """Keys with a label by now, told or a reviewer's; where absence is a label, all that are due."""
        recipe, now = self._lane.recipe, self.window.end
        if recipe.label.absent == "negative":
            table, counts = recipe.table, pl.col(recipe.at) <= recipe.label.mature_until(now)
        else:
            table, counts = recipe.label.table, recipe.label.expression.is_not_null()
        keys = self._history.known(table, now).filter(counts)["_key"]
        reviewed = reviewed_of(self._resources, self._lane, now)
        return (pl.concat([keys, reviewed.frame["_key"]]) if reviewed else keys).n_unique()

    def _previous_is_better(self) -> bool:
        """The harm followed the last change of the champion, and the earlier one is better on the same rows since."""
        lane = self._lane
        if lane.operation.model.external is not None:
            return False
        with self._resources.database.reading() as tx:
            changes = registry.alias_history(tx, lane.project, lane.model, CHAMPION)
            before = previous_champion(tx, project=lane.project, model=lane.model)
            if before is None:
                return False
            predictor = self._predictors.version(tx, lane.project, lane.model, before)
        since = changes[-1].from_at
        until = lane.operation.model.label.mature_until(self.window.end)
        if until <= since:
            return False
        rows = self._labelled_rows(since, until)
        if rows["block"].n_unique() < LEAST_BLOCKS:
            return False
        output = lane.operation.model.output
        rows = rows.join(self._scored(predictor, rows, since, until), on="_key", how="left")
        rows = rows.with_columns(champion=pl.col(output.column))
        judged = Comparison(rows, f"version {before}", "the champion", output).losses(lane.operation.watch.loss)
        earlier, present = judged["candidate_loss"].to_numpy(), judged["champion_loss"].to_numpy()
        return paired_by_block(earlier, present, judged["block"].to_numpy()).upper < 0

    def _labelled_rows(self, since: datetime, until: datetime) -> pl.DataFrame:
        rows = matured(self._resources, self._lane, self._history, after=since, until=until, now=self.window.end)
        block = pl.col("at").dt.truncate(self._lane.operation.watch.block)
        return rows.filter(pl.col("label").is_not_null()).with_columns(block=block)

    def _scored(self, predictor: Predictor, rows: pl.DataFrame, since: datetime, until: datetime) -> pl.DataFrame:
        """What `predictor` makes of the features with which `rows` were predicted: the columns `_key` and `candidate`."""
        table = self._resources.tables.open(prediction_table(self._lane.project, self._lane.model))
        logged = table.read(event_after=since, event_until=until).join(rows, on="_key", how="semi")
        features = as_kinds(by_name(logged), {field.name: field.kind for field in predictor.signature.fields})
        return logged.select("_key", as_column("candidate", predictor.predict(features)))
