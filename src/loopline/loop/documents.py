"""What is written down about a candidate beside its package: how it did on rows held out, what it does to groups, which fields
matter, and the rows that its explanations compare with.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.clock import ReplayClock
from loopline.decisions.decision import AnyDecision
from loopline.evaluation.bias import BIAS, Bias, bias_report
from loopline.evaluation.group_measures import measures
from loopline.evaluation.held_out import HELD_OUT, evaluate
from loopline.evaluation.kind import Output, from_column
from loopline.evaluation.slices import slices_of
from loopline.gates.chosen import chosen
from loopline.loop.lane import Lane
from loopline.loop.personal_fields import personal_fields
from loopline.loop.resources import Resources
from loopline.models.background import BACKGROUND, keep_background
from loopline.models.explanation import SUMMARY, ExplanationSummary
from loopline.models.predictor import Predictor
from loopline.models.signature import Signature
from loopline.training.outcome import Explained
from loopline.training.training_set import GROUP, TrainingSet
from loopline.values import derive_seed

PURPOSE = "purpose"
"""Under this name a version's lineage has what its training function says of itself."""

LEAST_HELD_OUT = 50


@dataclass(frozen=True)
class Judged:
    """The rows held out of a candidate's training: with `candidate` (its outputs), `candidate_decision`, `candidate_cost`."""

    frame: pl.DataFrame
    block: str

    @property
    def blocks(self) -> npt.NDArray[np.generic]:
        """What block each row is of."""
        return self.frame["_event_time"].dt.truncate(self.block).dt.timestamp("us").to_numpy()


def decided(frame: pl.DataFrame, decision: AnyDecision) -> pl.DataFrame:
    """`frame` with what is decided on the outputs in `candidate`, and what that costs given the labels."""
    taken = decision.decide(from_column(frame["candidate"]))
    costs = decision.cost(taken, frame["label"].cast(pl.Float64).to_numpy())
    return frame.with_columns(candidate_decision=pl.Series(taken, dtype=pl.String), candidate_cost=pl.Series(costs))


def rows_explained(
    resources: Resources, lane: Lane, signature: Signature, whole: TrainingSet, held_out: pl.DataFrame
) -> Explained | None:
    """The rows that the summary is to be made on, those held out if they are enough; None where none is to be made.

    It takes seconds, so a replay, which trains again and again, makes it only where the model is declared with `explain=True`.
    """
    wanted = lane.operation.model.explain
    if wanted is False or (wanted is None and isinstance(resources.clock, ReplayClock)):
        return None
    if held_out.height >= LEAST_HELD_OUT:
        return Explained(signature.encode(held_out), "held out")
    return Explained(whole.X, "trained on")


def write_documents(
    resources: Resources,
    lane: Lane,
    whole: TrainingSet,
    summary: ExplanationSummary | None,
    predictor: Predictor,
    held_out: pl.DataFrame,
) -> dict[str, str]:
    """Digests of the artifacts, by the names under which lineage and run have them.

    `held_out` has what `decided` adds. The bias report is made where the model declares one. The background, rows of the
    training set `whole`, is kept unless the model is declared with `explain=False`.
    """
    judged = Judged(held_out, lane.operation.watch.block)
    hidden = personal_fields(resources, lane.project, lane.model)
    found = {}
    if held_out.height:
        found[HELD_OUT] = resources.artifacts.put(_evaluation(lane, predictor, judged, hidden))
        if lane.operation.model.bias is not None:
            found[BIAS] = resources.artifacts.put(_bias(lane.operation.model.bias, predictor.signature.output, judged))
    return found | _explanation(resources, lane, whole, summary, predictor, hidden)


def _evaluation(lane: Lane, predictor: Predictor, judged: Judged, hidden: frozenset[str]) -> bytes:
    frame, output = judged.frame, predictor.signature.output
    told = [frame[name] for name in predictor.signature.names if name not in hidden]
    slices = {name: mask for column in told for name, mask in slices_of(column, at_most=8).items()}
    return evaluate(
        output,
        output.shaped(from_column(frame["candidate"])),
        frame["label"].to_numpy(),
        frame["_event_time"].to_list(),
        block=lane.operation.watch.block,
        blocks=judged.blocks,
        decisions=frame["candidate_decision"].to_numpy().astype(np.str_),
        costs=frame["candidate_cost"].to_numpy(),
        slices=slices,
        groups=frame[GROUP].to_numpy() if GROUP in frame.columns else None,
    ).encoded()


def _bias(wanted: Bias, output: Output, judged: Judged) -> bytes:
    frame = judged.frame
    outputs = output.shaped(from_column(frame["candidate"]))
    found = measures(
        output.kind,
        output.scores(outputs) if output.kind == "quantile" else outputs,
        frame["label"].to_numpy(),
        chosen(frame["candidate_decision"].to_numpy()),
        frame["candidate_cost"].to_numpy(),
    )
    return bias_report(
        found,
        {name: frame[name].cast(pl.String).to_list() for name in wanted.names},
        judged.blocks,
        kind=output.kind,
        of_rows="held out",
        min_rows=wanted.min_rows,
        confidence=wanted.confidence,
        intersections=wanted.intersections,
    ).encoded()


def _explanation(
    resources: Resources,
    lane: Lane,
    whole: TrainingSet,
    summary: ExplanationSummary | None,
    predictor: Predictor,
    hidden: frozenset[str],
) -> dict[str, str]:
    if lane.operation.model.explain is False:
        return {}
    package, seed = predictor.package.digest, derive_seed(whole.seed, BACKGROUND)
    background = keep_background(resources.artifacts, resources.key, package=package, matrix=whole.X, seed=seed)
    if summary is None:
        return {BACKGROUND: background}
    return {BACKGROUND: background, SUMMARY: resources.artifacts.put(summary.without_values(hidden).encoded())}
