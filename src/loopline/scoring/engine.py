"""The scoring engine of one endpoint: validate, look up features, score, decide, and make the records. No input or output.

When something fails it answers from the next rung of a ladder: the champion, the version before it, a constant. Every
answer says which rung it came from and what was not as it should be.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import perf_counter
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import structlog

from loopline.clock import Clock
from loopline.decisions.decision import decode_decision
from loopline.errors import Unavailable, trace
from loopline.evaluation.kind import as_column
from loopline.models.explanation import Explanation
from loopline.models.manifest import Deployment
from loopline.models.signature import Signature
from loopline.scoring.asked import NOBODY, Asked, Caller, Part, Shared
from loopline.scoring.beside import Beside, Scorers
from loopline.scoring.block import Block, Maker, Origin, Predictions, packed_times
from loopline.scoring.bottom import Bottom
from loopline.scoring.carried import carried_columns, carry, recorded
from loopline.scoring.columns import Columns, as_list
from loopline.scoring.contract import Contract
from loopline.scoring.exploration import DayBudget, Explorer
from loopline.scoring.features import FeatureReader, NoFeatures
from loopline.scoring.frame import Framed, frame_keys, frame_times, record_frame
from loopline.scoring.guarded import Scorer
from loopline.scoring.ids import CountedIds, repeated_ids
from loopline.scoring.ladder import MODEL_UNAVAILABLE, Ahead, Ladder, Rung, Scored
from loopline.scoring.pace import Pace
from loopline.scoring.record import CHAMPION, PREVIOUS, code_lists
from loopline.scoring.treatment import Codes, Matrix
from loopline.values import derive_ids

_MILLISECONDS = 1000.0
_NONE = [None]

_log = structlog.get_logger(__name__)


class RowExplainer(Protocol):
    """What the engine needs to explain; `loopline.models.explainer.Explainer` is one."""

    def explain(self, matrix: npt.NDArray[np.float32]) -> list[Explanation]: ...


Explainers = Mapping[str, Callable[[], RowExplainer]]
"""By variant, what loads its explainer when it is first asked for."""


class Engine:
    """Scores rows for one deployment. Safe to share between threads.

    `predictor` and `previous` are None where the model cannot be loaded; `features` looks up what the caller does not
    send. `instance` names this engine's process run among all of the project, so that no two give the same prediction id;
    `budget` counts what was explored, across the engines that follow each other; `pace` is that of the champion's model;
    `variants` are the models of what is deployed beside it, by name.
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
        pace: Pace | None = None,
        variants: Scorers | None = None,
    ) -> None:
        self.project = project
        self.deployment = deployment
        self.pace = pace
        self._features = features or NoFeatures()
        self._clock = clock
        self._ids = CountedIds("pr", project, deployment.model, instance)
        self._row_ids = CountedIds("row", project, deployment.model, instance)
        self._decision = decode_decision(deployment.decision)
        self._explorer = Explorer(deployment.explore, self._decision, budget)
        self._makers: dict[tuple[str, int, bool], bytes] = {}
        self._output = deployment.output
        bottom = Bottom.of(deployment)
        self._ruled = bottom.columns
        rungs = self._rungs(predictor, previous)
        self.contract = rungs[0].contract if rungs else self._contract(None)
        self.ladder = Ladder(deployment.endpoint, rungs, self.contract, deployment.output, bottom)
        self.beside = Beside(deployment, variants or {}, rungs, self._contract, self.contract, bottom)
        self._explainers = explainers or {}

    @property
    def ready(self) -> bool:
        """Whether any rung of the ladder can answer."""
        return self.ladder.ready

    def predict(
        self, rows: Sequence[Mapping[str, Any]] | Columns, *, principal: str | None, request_id: str | None = None
    ) -> Predictions:
        """A prediction for each of `rows`, in order; see `Contract` for what a row is.

        Raises `InvalidInput` (nothing is scored) and, where no rung answers, `Unavailable` "scoring.no_model".
        """
        asked = self.ask(rows)
        return self.answer(asked, self.score(asked), Caller(principal, request_id))

    @property
    def joins(self) -> bool:
        """Whether rows of several callers can be answered together: none is split off, drawn for, or carries anything along."""
        plain = not (self.beside.ladders or self.beside.shares.shadows or self._explorer.explores)
        return plain and not self.contract.carried and bool(self.ladder.rungs)

    def together(self, rows: Columns, callers: Sequence[tuple[int, Caller]]) -> Block:
        """The predictions for rows of several callers, given how many are whose, as if each had asked alone.

        Raises whatever is wrong with any row, or with the champion's model: then nothing is answered, and each is to be asked alone.
        """
        asked = self.ask(rows, counts=[count for count, _ in callers])
        scored = self.ladder.top(asked)
        ids = self._ids.new(asked.count)
        origins = [Origin(count, one.principal, one.trace_id, one.latency_ms()) for count, one in callers]
        return self._block(asked, scored, ids, origins, self._clock.now())

    def ask(
        self,
        rows: Sequence[Mapping[str, Any]] | Columns,
        caller: Caller = NOBODY,
        *,
        counts: Sequence[int] = (),
    ) -> Asked:
        """Check rows, given as objects or as columns, and look their features up, by the time `caller` allows. `counts` are the numbers of
        rows of each request, where they are of several. Raises `InvalidInput`.
        """
        columns = rows if isinstance(rows, Columns) else self.contract.read(rows)
        if self.deployment.fills:
            columns = self._filled(columns)
        keys, times = self.contract.check(columns, counts)
        carried = carry(self.deployment, columns, times)
        if not keys or isinstance(self._features, NoFeatures):
            return self._parted(Asked(keys, times, columns, carried))
        began = perf_counter()
        found = self._features.read(columns, times, caller.by(self.deployment.ladder.features))
        values = {**columns, **found.values}
        return self._parted(Asked(keys, times, values, carried, found, perf_counter() - began))

    def matrix(self, asked: Asked) -> Matrix | None:
        """What the highest rung's model is asked, None where no model can answer, or none of the rows is the champion's. Raises as
        `Contract.treat`.
        """
        own = asked if not asked.parts else next((one.asked for one in asked.parts if one.variant == CHAMPION), None)
        if not self.ladder.rungs or own is None:
            return None
        contract = self.ladder.rungs[0].contract
        matrix = own.encode(contract)
        if not contract.ordinary(matrix):
            contract.treat(matrix, own)  # what is imputed is put in
        return matrix

    def late(self, asked: Asked, caller: Caller) -> bool:
        """Whether the champion's model, at its pace, would take longer than its share of what the caller allows, and something else can
        answer.
        """
        until = caller.by(self.deployment.ladder.model)
        if until is None or self.pace is None or not self.ladder.bottom.answers:
            return False
        return perf_counter() + self.pace.seconds(asked.count) > until

    def score(self, asked: Asked, ahead: Ahead | None = None, *, late: bool = False) -> Scored | Shared:
        """The outputs for the rows, from the highest rung that answers; `ahead` is what it gave when it was asked before, `late` says that
        no model is to be asked.
        """
        if not asked.parts:
            return self.ladder.score(asked, ahead, late=late)
        scored, took = [], []
        for part in asked.parts:
            began = perf_counter()
            champions = part.variant == CHAMPION
            ladder = self.ladder if champions else self.beside.ladders[part.variant]
            scored.append(ladder.score(part.asked, ahead if champions else None, late=late))
            took.append((perf_counter() - began) * _MILLISECONDS)
        return Shared(scored, took)

    def answer(self, asked: Asked, scored: Scored | Shared, caller: Caller) -> Predictions:
        """Decide, and make the records."""
        scored_at = self._clock.now()
        if isinstance(scored, Scored):
            return self._one_block(asked, scored, caller, scored_at)
        blocks: list[Block] = []
        for part, found, took in zip(asked.parts, scored.parts, scored.took, strict=True):
            own = msgspec.structs.replace(
                caller, waited=sum(scored.took) - took
            )  # no part is slower for what another did
            blocks += self._one_block(part.asked, found, own, scored_at).blocks
        return Predictions(blocks, [part.places for part in asked.parts])

    def shadow(self, asked: Asked, name: str, answered: Sequence[str], caller: Caller) -> Block:
        """What the shadow `name` makes of the rows, under the prediction ids with which they were answered.

        Raises `Unavailable` where its model cannot be loaded or fails.
        """
        if name not in self.beside.shadows:
            raise Unavailable("scoring.no_shadow", f"the model of shadow {name!r} cannot be loaded")
        rung, began = self.beside.shadows[name], perf_counter()
        alone = Ladder(self.deployment.endpoint, [rung], rung.contract, self._output, Bottom(self._output, None))
        scored = alone.score(asked)
        took = (perf_counter() - began) * _MILLISECONDS
        origin = Origin(asked.count, caller.principal, caller.trace_id, took)
        return self._block(asked, scored, list(answered), [origin], self._clock.now(), shadow=True)

    def _parted(self, asked: Asked) -> Asked:
        """With the rows of each variant apart, where any falls to another than the champion. A ranking's group stays together."""
        if not self.beside.ladders:
            return asked
        groups = asked.carried is not None and self.deployment.group is not None
        by = asked.keys if not groups or asked.carried is None else asked.carried["_group"].cast(pl.String).to_list()
        found = self.beside.split(by)
        if not found:
            return asked
        if len(found) == 1:
            return msgspec.structs.replace(
                asked, parts=tuple(Part(name, places, asked) for name, places in found.items())
            )
        return msgspec.structs.replace(
            asked, parts=tuple(Part(name, places, asked.taken(places)) for name, places in found.items())
        )

    def _one_block(self, asked: Asked, scored: Scored, caller: Caller, scored_at: datetime) -> Predictions:
        if not asked.count:
            return Predictions(())
        origin = Origin(asked.count, caller.principal, caller.trace_id, caller.latency_ms())
        return Predictions((self._block(asked, scored, self._named(asked, caller), [origin], scored_at),))

    def _block(
        self,
        asked: Asked,
        scored: Scored,
        ids: list[str],
        origins: list[Origin],
        scored_at: datetime,
        *,
        shadow: bool = False,
    ) -> Block:
        scores = self._output.scores(scored.outputs)
        decided = self._decision.decide_each(scored.outputs)
        several = self.deployment.variants and not scored.contract.open
        codes = asked.found.joined(scored.codes, asked.count, scored.contract.signature.names if several else None)
        action, propensity = self._actions(ids, decided, scored, codes, scored_at)
        cells, texts = scored.contract.used(asked.values, asked.cells(scored.contract), scored.imputed)
        carried = {} if asked.carried is None else _lists(recorded(asked.carried, _times(asked.times), scores))
        return Block(
            made_by=self._made_by(scored, shadow=shadow),
            scored_at=scored_at,
            origins=origins,
            prediction_id=ids,
            key=asked.keys,
            at=packed_times(asked.times),
            score=scores.tobytes(),
            decision=decided,
            cells=cells.tobytes(),
            texts=texts,
            degraded=codes,
            outputs=[tuple(row) for row in scored.outputs.tolist()] if self._output.wide else None,
            action=action,
            propensity=propensity,
            **carried,
        )

    def _made_by(self, scored: Scored, *, shadow: bool) -> bytes:
        """The encoded maker of a block, which is the same from block to block."""
        known = scored.variant, scored.version, shadow
        found = self._makers.get(known)
        if found is None:
            maker = Maker(
                project=self.project,
                endpoint=self.deployment.endpoint,
                model=self.deployment.model,
                model_version=scored.version,
                decision_version=self.deployment.decision_version,
                variant=scored.variant,
                numbers=scored.contract.numbers,
                categories=scored.contract.categories,
                shadow=shadow,
            )
            found = self._makers[known] = maker.encoded()
        return found

    def predict_frame(self, frame: pl.DataFrame, *, scored_at: datetime, seed: int = 0) -> pl.DataFrame:
        """Rows of the prediction table for a whole frame, in its order: batch scoring and replay.

        `frame` holds the deployment's key column (String, no nulls), its time column (Datetime with a zone, no nulls), and
        every field of the signature: given columns and features alike, nothing is looked up. What is carried is in `_group`,
        `_target_time` and `_label_key`. Scores, decisions and codes
        are those of `predict`, but nothing is refused for being odd; prediction ids follow from (seed, project, model, key, time) alone.
        Raises `InvalidInput` and `Unavailable` as `predict`.
        """
        keys = frame_keys(frame, self.deployment.key)
        times = frame_times(frame, self.deployment.at)
        framed = Framed(frame)
        scored = self.ladder.score(framed)
        codes = scored.codes or [()] * frame.height
        moments = zip(keys.to_list(), times.to_physical().to_list(), strict=True)
        ids = derive_ids("pr", seed, (self.project, self.deployment.model), moments)
        scores = self._output.scores(scored.outputs)
        decided: list[str] = self._decision.decide(scored.outputs).tolist()
        action, propensity = self._actions(ids, decided, scored, scored.codes, scored_at)
        columns = {
            "prediction_id": ids,
            "score": scores,
            "decision": decided,
            "action": [decision or None for decision in decided] if action is None else action,
            "propensity": [1.0] * len(ids) if propensity is None else propensity,
            "degraded": code_lists(codes),
            **({"outputs": as_column("outputs", scored.outputs)} if self._output.wide else {}),
            **recorded(frame, times, scores),
        }
        return record_frame(
            framed.used(scored.imputed),
            scored.contract.signature,
            keys=keys,
            times=times,
            columns=columns,
            constants={
                "project": self.project,
                "endpoint": self.deployment.endpoint,
                "model": self.deployment.model,
                "model_version": scored.version,
                "decision_version": self.deployment.decision_version,
                "variant": scored.variant,
                "scored_at": scored_at,
            },
        )

    def explainer(self) -> RowExplainer | None:
        """What explains the answers of the highest rung; None where only the constant can answer.

        Raises `Unavailable` "explain.no_background" where it has nothing to compare with.
        """
        return self._explainer(self.ladder.rungs[0].variant) if self.ladder.rungs else None

    def explain(self, predictions: Predictions) -> list[Explanation | None]:
        """What each field added to each of this engine's predictions, from the values they were made of; None for one
        that the constant gave, and where it could not be told: they were answered and logged already.
        """
        by_variant = {rung.variant: rung for rung in (*self.beside.rungs, *self.ladder.rungs)}
        explained = [
            self._explain(by_variant[block.maker.variant], block)
            if block.maker.variant in by_variant
            else [None] * len(block)
            for block in predictions.blocks
        ]
        return predictions.ordered(explained)

    def _explain(self, rung: Rung, block: Block) -> Sequence[Explanation | None]:
        try:
            matrix = rung.contract.encode({**block.numbers, **block.categories}, len(block))
            return self._explainer(rung.variant).explain(matrix)
        except Exception as error:  # an answer that is logged is given, whatever becomes of its explanation
            _log.error("cannot explain", endpoint=self.deployment.endpoint, variant=rung.variant, error=trace(error))
            return [None] * len(block)

    def _explainer(self, variant: str) -> RowExplainer:
        if variant not in self._explainers:
            raise Unavailable(
                "explain.not_here", "this process explains no predictions", remedy="Ask the scoring process."
            )
        return self._explainers[variant]()

    def _named(self, asked: Asked, caller: Caller) -> list[str]:
        if caller.request_id is None:
            return self._ids.new(asked.count)
        path = (self.project, self.deployment.model)
        return repeated_ids(path, asked.keys, caller.principal, caller.request_id)

    def _actions(
        self, ids: Sequence[str], decided: Sequence[str], scored: Scored, codes: Codes | None, scored_at: datetime
    ) -> tuple[list[str | None] | None, list[float | None] | None]:
        """Actions and propensities drawn in the order of the rows; None, None where every decision is acted on."""
        if not self._explorer.explores or scored.variant != CHAMPION:
            return None, None
        outputs = [tuple(row) for row in scored.outputs.tolist()] if self._output.wide else scored.outputs.tolist()
        rows = zip(ids, decided, outputs, codes or [()] * len(ids), strict=True)
        chosen = [
            self._explorer.choose(name, decision, output, scored_at=scored_at, in_health=not odd)
            for name, decision, output, odd in rows
        ]
        return [one.action or None for one in chosen], [one.propensity for one in chosen]

    def _filled(self, columns: Columns) -> Columns:
        """The same, with a key and the present for rows that come without."""
        key, at, count = self.deployment.key, self.deployment.at, columns.count
        keys, times = as_list(columns.get(key, _NONE * count)), as_list(columns.get(at, _NONE * count))
        if not any(keys):
            keys = self._row_ids.new(count)
        elif not all(keys):
            own = iter(self._row_ids.new(count))
            keys = [given or next(own) for given in keys]
        if None in times:
            now = self._clock.now()
            absent = times.count(None)
            times = [now] * count if absent == count else [now if given is None else given for given in times]
        columns[key], columns[at] = keys, times
        return columns

    def _rungs(self, predictor: Scorer | None, previous: Scorer | None) -> list[Rung]:
        rungs = []
        if predictor is not None:
            rungs.append(Rung(CHAMPION, self.deployment.version, predictor, self._contract(predictor.signature)))
        steps = self.deployment.ladder.steps
        if previous is not None and self.deployment.previous is not None and "previous" in steps:
            version = self.deployment.previous.version
            contract = self._contract(previous.signature)
            rungs.append(Rung(PREVIOUS, version, previous, contract, (MODEL_UNAVAILABLE,)))
        return rungs

    def _contract(self, signature: Signature | None) -> Contract:
        entities = frozenset(self._features.entities)
        carried = carried_columns(self.deployment)
        key, at, fills = self.deployment.key, self.deployment.at, self.deployment.fills
        terms, ruled = self.deployment.contract, self._ruled
        return Contract(
            signature, key=key, at=at, entities=entities, carried=carried, fills=fills, ruled=ruled, terms=terms
        )


def _times(times: Sequence[datetime]) -> pl.Series:
    return pl.Series("at", times, dtype=pl.Datetime("us", "UTC"))


def _lists(columns: Mapping[str, pl.Series]) -> dict[str, Any]:
    return {name: values.to_list() for name, values in columns.items()}
