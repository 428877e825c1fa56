"""What a replayed policy would have cost where outcomes depend on the action taken: estimated from the actions that were logged."""

from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.decisions.decision import only_costs
from loopline.decisions.policy import ABSTAIN
from loopline.errors import InvalidInput
from loopline.evaluation.off_policy import OffPolicy, off_policy, robust_rows
from loopline.evaluation.reward_model import cross_fitted
from loopline.labels.action_log import known_actions
from loopline.loop.declare import Loop
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.scoring.record import FEATURE_PREFIX, prediction_table

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class LoggedCosts(msgspec.Struct, frozen=True):
    """The estimate of one policy's cost per prediction. `without_log` counts predictions whose logged action is not known, and
    `labelled` is the share of the outcomes that could be seen and were.
    """

    estimate: OffPolicy
    without_log: int
    labelled: float

    @property
    def sentence(self) -> str:
        """How far it is to be trusted."""
        found, overlap = self.estimate, self.estimate.overlap
        if found.refused:
            return f"no cost is estimated: {found.refused}"
        told = "doubly robust" if found.doubly_robust else "self-normalised"
        return (
            f"its cost is a {told} estimate; by inverse propensity {found.ips.mean:.4g} "
            f"({found.ips.lower:.4g} to {found.ips.upper:.4g}), self-normalised {found.self_normalised.mean:.4g} "
            f"({found.self_normalised.lower:.4g} to {found.self_normalised.upper:.4g}); {overlap.observed} of {overlap.rows} rows "
            f"were seen and say as much as {overlap.effective_rows:.0f}; the largest weight is {overlap.largest_weight:.3g}, "
            f"{overlap.clipped} were clipped at {overlap.clip:.3g}; {self.without_log} predictions have no logged action"
        )


def require_log(loop: Loop) -> None:
    """Raise `InvalidInput` where a replay could not know what came of other decisions than those that were made."""
    for name, operation in loop.operations.items():
        label = operation.model.label
        if label.depends_on_action and label.logged is None:
            raise InvalidInput(
                "replay.actions_not_logged",
                f"the outcomes of {name} depend on the action taken, so what another policy would have led to is not in the data",
                remedy="Log actions and their probabilities and name them: `ll.label(..., logged=ll.logged(action=..., propensity=...))`. "
                "`explore=ll.explore(share=0.02)` on operate logs both, and tries other actions on a small share.",
            )


def logged_costs(
    resources: Resources, lane: Lane, history: History, rows: pl.DataFrame, *, now: datetime
) -> tuple[LoggedCosts | None, pl.DataFrame]:
    """The estimate over `rows` (a policy's matured predictions, labelled or not), and each row's part in it.

    The second has `_key`, `at` and `cost`, whose mean is the doubly robust estimate. Without a single logged action
    there is no estimate.
    """
    label = lane.operation.model.label
    if label.logged is None:
        return None, _nothing(rows)
    log = known_actions(history.known(label.table, now), label.logged)
    known = rows.join(log, on="_key", how="inner", maintain_order="left")
    terms = _Terms(lane, known)
    if not terms.seen.any():
        return None, _nothing(rows)
    modelled = terms.modelled(_features(resources, lane, known), lane.seed)
    given = (terms.seen, terms.propensity, terms.loss)
    estimate = off_policy(*given, terms.blocks, modelled=modelled)
    parts = robust_rows(*given, modelled)
    found = LoggedCosts(estimate, rows.height - known.height, terms.labelled)
    return found, known.select("_key", "at", cost=pl.Series(parts, dtype=pl.Float64))


def weigh_selected(rows: pl.DataFrame, lane: Lane, history: History, *, now: datetime) -> pl.DataFrame:
    """`rows` with `weight` such that labelled rows stand for all, where an outcome is only seen after one action: each weighs the
    inverse of the probability of that. A row whose action was not logged keeps its weight.
    """
    label = lane.operation.model.label
    if label.observed_after is None or label.logged is None:
        return rows
    log = known_actions(history.known(label.table, now), label.logged).filter(pl.col("action") == label.observed_after)
    weight = pl.col("weight") if "weight" in rows.columns else pl.lit(1.0)
    joined = rows.join(log.select("_key", "propensity"), on="_key", how="left", maintain_order="left")
    return joined.with_columns(weight=weight / pl.col("propensity").fill_null(1.0)).drop("propensity")


class _Terms:
    """The arrays of an estimate, one entry a row with a logged action.

    Where the label tells one action's outcome only, that outcome prices every decision; else only the decision that
    was logged too. A review costs what it costs, whatever the log did. Outcomes that could be seen and have no label are taken to be
    missing at random: propensities are lowered by their share, action by action.
    """

    def __init__(self, lane: Lane, known: pl.DataFrame) -> None:
        label = lane.operation.model.label
        self._price = only_costs(lane.operation.decide, classes=lane.operation.model.output.classes)
        self._label = known["label"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        self._logged = known["action"].to_numpy().astype(np.str_)
        self._taken = known["decision"].fill_null("").to_numpy().astype(np.str_)
        self._any_decision = label.observed_after is not None
        self._exact: Mask = self._taken == ABSTAIN
        shown: Mask = self._logged == (label.observed_after or self._taken)
        told = ~np.isnan(self._label)
        chosen = known["propensity"].to_numpy()
        self.labelled = float(told[shown].mean()) if shown.any() else 0.0
        told_of = self._told_of(told, label.observed_after)
        self.seen = (shown & told) | self._exact
        silent = 1 - np.where(shown, chosen, 1 - chosen) * told_of
        self.propensity = np.where(self._exact, 1.0, np.where(shown & told, chosen * told_of, silent))
        self.loss = np.where(self.seen, self._cost(self._taken), np.nan)
        self.blocks = known["at"].dt.truncate("1d").to_numpy()

    def _told_of(self, told: Mask, observed_after: str | None) -> Floats:
        """For each row, how often the outcome of the action that would show its own is labelled: never is no support."""
        shows = np.full(len(told), observed_after) if observed_after else self._taken
        share = {action: float(told[self._logged == action].mean()) for action in np.unique(self._logged).tolist()}
        return np.array([share.get(action, 0.0) for action in shows.tolist()])

    def modelled(self, features: Floats, seed: int) -> Floats:
        """The cost of each row's decision as a model expects it that did not see the row's day."""
        expected = np.zeros(len(self._taken))
        for action in np.unique(self._taken).tolist():
            rows = self._taken == action
            learnt = self.seen if self._any_decision else (self._logged == action) & ~np.isnan(self._label)
            cost = np.where(learnt & ~self._exact, self._cost(np.full(len(rows), action)), np.nan)
            expected[rows] = cross_fitted(features, cost, self.blocks, seed=seed)[rows]
        expected[self._exact] = self.loss[self._exact]
        return expected

    def _cost(self, decisions: npt.NDArray[Any]) -> Floats:
        return np.asarray(self._price.cost(decisions, self._label), dtype=np.float64)


def _features(resources: Resources, lane: Lane, known: pl.DataFrame) -> Floats:
    """The logged features of the rows and their score, categories as numbers; (rows, k), NaN where missing."""
    table = resources.tables.open(prediction_table(lane.project, lane.model))
    bounds = known["at"].min(), known["at"].max()
    logged = table.read(where=pl.col("_event_time").is_between(*bounds)).unique("_key", keep="last")
    joined = known.select("_key", "score").join(logged.drop("score"), on="_key", how="left", maintain_order="left")
    named = [name for name in joined.columns if name.startswith(FEATURE_PREFIX)]
    columns = [joined["score"], *(joined[name] for name in named)]
    return np.column_stack([_numbers(column) for column in columns])


def _numbers(column: pl.Series) -> Floats:
    if not column.dtype.is_numeric():
        column = column.cast(pl.String).rank("dense")
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _nothing(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("_key", "at", cost=pl.lit(None, pl.Float64)).clear()
