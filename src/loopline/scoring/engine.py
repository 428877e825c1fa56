"""The scoring engine of one endpoint: validate, look up features, score, decide, and make the records. No input or output.

When something fails it answers from the next rung of a ladder: the champion, the version before it, a constant. Every
answer says which rung it came from and what was not as it should be.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import structlog

from loopline.clock import Clock
from loopline.decisions.decision import decode_decision
from loopline.errors import InvalidInput, Unavailable, told, trace
from loopline.evaluation.kind import as_column
from loopline.models.explanation import Explanation
from loopline.models.manifest import Deployment
from loopline.models.signature import Signature
from loopline.scoring.carried import carried_columns, carry, recorded
from loopline.scoring.contract import Contract, Matrix
from loopline.scoring.exploration import DayBudget, Explorer
from loopline.scoring.features import FeatureReader, NoFeatures
from loopline.scoring.frame import frame_keys, frame_times, record_frame
from loopline.scoring.record import CHAMPION, FALLBACK, PREVIOUS, Prediction, code_lists
from loopline.values import derive_id

MODEL_UNAVAILABLE = "model_unavailable"

_log = structlog.get_logger(__name__)


class Scorer(Protocol):
    """What the engine needs of a model; `loopline.models.predictor.Predictor` is one."""

    signature: Signature

    def outputs(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]: ...


class RowExplainer(Protocol):
    """What the engine needs to explain; `loopline.models.explainer.Explainer` is one."""

    def explain(self, matrix: npt.NDArray[np.float32]) -> list[Explanation]: ...


Explainers = Mapping[str, Callable[[], RowExplainer]]
"""By variant, what loads its explainer when it is first asked for."""


@dataclass(frozen=True)
class _Rung:
    """A model that can answer."""

    variant: str
    version: int
    scorer: Scorer
    contract: Contract


@dataclass(frozen=True)
class _Scored:
    """Outputs for some rows, who gave them, and what was odd about each row."""

    variant: str
    version: int
    contract: Contract
    outputs: npt.NDArray[np.float64]
    codes: list[tuple[str, ...]]


class Engine:
    """Scores rows for one deployment. Safe to share between threads.

    `predictor` and `previous` are None where the model cannot be loaded; `features` looks up what the caller does not
    send. `instance` names this engine's process run among all of the project, so that no two give the same prediction id;
    `budget` counts what was explored, across the engines that follow each other.
    """

    def __init__(
        self,
        project: str,
        deployment: Deployment,
        predictor: Scorer | None,
        previous: Scorer | None = None,
        features: FeatureReader | None = None,
        *,
        clock: Clock,
        instance: str,
        explainers: Explainers | None = None,
        budget: DayBudget | None = None,
    ) -> None:
        self.project = project
        self.deployment = deployment
        self._features = features or NoFeatures()
        self._clock = clock
        self._instance = instance
        self._count = itertools.count()
        self._decision = decode_decision(deployment.decision)
        self._decide_one: Callable[[Any], str] = self._decision.decide_one
        self._explorer = Explorer(deployment.explore, self._decision, budget)
        self._output = deployment.output
        self._rungs = self._ladder(predictor, previous)
        self.contract = self._rungs[0].contract if self._rungs else self._contract(None)
        self._failing: set[str] = set()
        self._explainers = explainers or {}

    @property
    def ready(self) -> bool:
        """Whether any rung of the ladder can answer."""
        return bool(self._rungs) or self.deployment.fallback is not None

    def predict(
        self, rows: Sequence[Mapping[str, Any]], *, principal: str | None, request_id: str | None = None
    ) -> list[Prediction]:
        """A prediction for each of `rows`, in order; see `Contract` for what a row is.

        With `request_id` the prediction ids follow from (principal, request id, key): a request that is sent again gets the
        same ids. Raises `InvalidInput` (nothing is scored) and, where no rung answers, `Unavailable` "scoring.no_model".
        """
        rows = self._filled(rows) if self.deployment.fills else rows
        keys, times = self.contract.check(rows)
        if not keys:
            return []
        looked_up = self._features.read(rows, times)
        values = [{**row, **found} for row, found in zip(rows, looked_up.values, strict=True)]
        scored = self._score(
            lambda contract: contract.encode(values), lambda index, name: values[index].get(name), len(values)
        )
        shared = {**self._shared(scored), "scored_at": self._clock.now(), "principal": principal}
        scores = self._output.scores(scored.outputs)
        carried = self._carried(rows, times, scores)
        predictions = []
        for index, prediction_id in enumerate(self._ids(keys, principal, request_id)):
            score = float(scores[index])
            outputs = tuple(scored.outputs[index].tolist()) if self._output.wide else None
            numbers, categories = scored.contract.used(values[index])
            degraded = tuple(dict.fromkeys((*looked_up.codes, *scored.codes[index])))
            decision = self._decide_one(outputs or score)
            in_health = scored.variant == CHAMPION and not degraded
            chosen = self._explorer.choose(
                prediction_id, decision, outputs or score, scored_at=shared["scored_at"], in_health=in_health
            )
            predictions.append(
                Prediction(
                    prediction_id=prediction_id,
                    key=keys[index],
                    at=times[index],
                    score=score,
                    decision=decision,
                    action=chosen.action or None,
                    propensity=chosen.propensity,
                    outputs=outputs,
                    degraded=degraded,
                    numbers=numbers,
                    categories=categories,
                    **(carried[index] if carried else {}),
                    **shared,
                )
            )
        return predictions

    def predict_frame(self, frame: pl.DataFrame, *, scored_at: datetime, seed: int = 0) -> pl.DataFrame:
        """Rows of the prediction table for a whole frame, in its order: batch scoring and replay.

        `frame` holds the deployment's key column (String, no nulls), its time column (Datetime with a zone, no nulls), and
        every field of the signature: given columns and features alike, nothing is looked up. What is carried is in `_group`,
        `_target_time` and `_label_key`. Scores, decisions and codes
        are those of `predict`; prediction ids follow from (seed, project, model, key, time) alone. Raises `InvalidInput` and
        `Unavailable` as `predict`.
        """
        keys = frame_keys(frame, self.deployment.key)
        times = frame_times(frame, self.deployment.at)
        scored = self._score(
            lambda contract: contract.encode_frame(frame), lambda index, name: _cell(frame, index, name), frame.height
        )
        moments = zip(keys.to_list(), times.to_physical().to_list(), strict=True)
        ids = [derive_id("pr", seed, self.project, self.deployment.model, key, at) for key, at in moments]
        scores = self._output.scores(scored.outputs)
        decided: list[str] = self._decision.decide(scored.outputs).tolist()
        columns = {
            "prediction_id": ids,
            "score": scores,
            "decision": decided,
            **self._actions(ids, decided, scored, scored_at),
            "degraded": code_lists(scored.codes),
            **({"outputs": as_column("outputs", scored.outputs)} if self._output.wide else {}),
            **recorded(frame, times, scores),
        }
        return record_frame(
            frame,
            scored.contract.signature,
            keys=keys,
            times=times,
            columns=columns,
            constants={**self._shared(scored), "scored_at": scored_at},
        )

    def explainer(self) -> RowExplainer | None:
        """What explains the answers of the highest rung; None where only the constant can answer.

        Raises `Unavailable` "explain.no_background" where it has nothing to compare with.
        """
        return self._explainer(self._rungs[0].variant) if self._rungs else None

    def explain(self, predictions: Sequence[Prediction]) -> list[Explanation | None]:
        """What each field added to each of this engine's predictions, from the values they were made of; None for one
        that the constant gave, and where it could not be told: they were answered and logged already.
        """
        explained: list[Explanation | None] = [None] * len(predictions)
        for rung in self._rungs:
            places = [place for place, found in enumerate(predictions) if found.variant == rung.variant]
            for place, one in zip(places, self._explain(rung, [predictions[place] for place in places]), strict=True):
                explained[place] = one
        return explained

    def _explain(self, rung: _Rung, predictions: Sequence[Prediction]) -> Sequence[Explanation | None]:
        if not predictions:
            return []
        try:
            matrix = rung.contract.encode([{**found.numbers, **found.categories} for found in predictions])
            return self._explainer(rung.variant).explain(matrix)
        except Exception as error:  # an answer that is logged is given, whatever becomes of its explanation
            _log.error("cannot explain", endpoint=self.deployment.endpoint, variant=rung.variant, error=trace(error))
            return [None] * len(predictions)

    def _explainer(self, variant: str) -> RowExplainer:
        if variant not in self._explainers:
            raise Unavailable(
                "explain.not_here", "this process explains no predictions", remedy="Ask the scoring process."
            )
        return self._explainers[variant]()

    def _actions(
        self, ids: Sequence[str], decided: Sequence[str], scored: _Scored, scored_at: datetime
    ) -> dict[str, Any]:
        """The columns `action` and `propensity` of a frame, drawn in its order."""
        if not self._explorer.explores or scored.variant != CHAMPION:
            return {"action": [decision or None for decision in decided], "propensity": [1.0] * len(ids)}
        rows = zip(ids, decided, scored.outputs, scored.codes, strict=True)
        chosen = [
            self._explorer.choose(name, decision, output, scored_at=scored_at, in_health=not codes)
            for name, decision, output, codes in rows
        ]
        return {"action": [one.action or None for one in chosen], "propensity": [one.propensity for one in chosen]}

    def _filled(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """A key and the present for rows that come without."""
        key, at, now = self.deployment.key, self.deployment.at, self._clock.now()
        given = [dict(row) for row in rows if isinstance(row, Mapping)]
        if len(given) < len(rows):
            return list(rows)  # the contract says what is wrong
        path = (self.project, self.deployment.model, "row", self._instance)
        return [{at: now, **row, key: row.get(key) or derive_id("row", 0, *path, next(self._count))} for row in given]

    def _shared(self, scored: _Scored) -> dict[str, Any]:
        return {
            "project": self.project,
            "endpoint": self.deployment.endpoint,
            "model": self.deployment.model,
            "model_version": scored.version,
            "decision_version": self.deployment.decision_version,
            "variant": scored.variant,
        }

    def _ladder(self, predictor: Scorer | None, previous: Scorer | None) -> list[_Rung]:
        rungs = []
        if predictor is not None:
            rungs.append(_Rung(CHAMPION, self.deployment.version, predictor, self._contract(predictor.signature)))
        if previous is not None and self.deployment.previous is not None:
            version = self.deployment.previous.version
            rungs.append(_Rung(PREVIOUS, version, previous, self._contract(previous.signature)))
        return rungs

    def _contract(self, signature: Signature | None) -> Contract:
        entities = frozenset(self._features.entities)
        carried = carried_columns(self.deployment)
        return Contract(signature, key=self.deployment.key, at=self.deployment.at, entities=entities, carried=carried)

    def _carried(
        self, rows: Sequence[Mapping[str, Any]], times: Sequence[datetime], scores: npt.NDArray[np.float64]
    ) -> list[dict[str, Any]] | None:
        carried = carry(self.deployment, rows, times)
        if carried is None:
            return None
        moments = pl.Series("at", times, dtype=pl.Datetime("us", "UTC"))
        return pl.DataFrame(recorded(carried, moments, scores)).to_dicts()

    def _score(self, encode: Callable[[Contract], Matrix], value: Callable[[int, str], Any], count: int) -> _Scored:
        for rung in self._rungs:
            health = () if rung.variant == CHAMPION else (MODEL_UNAVAILABLE,)
            try:
                matrix = encode(rung.contract)
                outputs = _finite(rung.scorer.outputs(matrix) if count else self._output.shaped([]))
                codes = [(*health, *odd) for odd in rung.contract.oddities(matrix, value)]
            except Exception as error:  # the ladder is there for failures nobody foresaw
                if isinstance(error, InvalidInput) and rung.variant == CHAMPION:
                    raise
                self._note_failure(rung, error)
                continue
            self._failing.discard(rung.variant)
            return _Scored(rung.variant, rung.version, rung.contract, outputs, codes)
        return self._constant(count)

    def _constant(self, count: int) -> _Scored:
        if self.deployment.fallback is None:
            raise Unavailable(
                "scoring.no_model",
                f"no model of endpoint {self.deployment.endpoint!r} can answer, and it has no constant to fall back on",
                remedy="See the scoring process's log for why; roll back, or give the model a fallback.",
            )
        constant = self._output.shaped(self.deployment.fallback)
        outputs = np.repeat(constant, count, axis=0)
        return _Scored(FALLBACK, 0, self.contract, outputs, [(MODEL_UNAVAILABLE,)] * count)

    def _note_failure(self, rung: _Rung, error: Exception) -> None:
        if rung.variant not in self._failing:  # once, until it answers again: not a line a request
            self._failing.add(rung.variant)
            _log.error(
                "model fails",
                endpoint=self.deployment.endpoint,
                variant=rung.variant,
                version=rung.version,
                error=told(error),
            )

    def _ids(self, keys: Sequence[str], principal: str | None, request_id: str | None) -> list[str]:
        path = (self.project, self.deployment.model)
        if request_id is not None:
            return [derive_id("pr", 0, *path, "request", principal, request_id, key) for key in keys]
        return [derive_id("pr", 0, *path, "instance", self._instance, next(self._count)) for _ in keys]


def _finite(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not np.isfinite(scores).all():
        raise Unavailable("scoring.not_finite_score", "the model gave a score that is not finite")
    return scores


def _cell(frame: pl.DataFrame, index: int, name: str) -> Any:
    return frame[name][index] if name in frame.columns else None
