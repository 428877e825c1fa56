"""Runs side by side: the params in which they differ, and their metrics, the best of each marked where better is known."""

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from loopline.runs.run import Run
from loopline.values import canonical_json

Better = Literal["lower", "higher"]

_LOWER = {
    "loss", "losses", "error", "errors", "err", "mse", "rmse", "mae", "mape", "smape", "rmsle", "brier", "perplexity", "ppl", "deviance", "nll", "wer",
    "cer", "regret", "cost", "seconds", "latency", "duration", "time", "ece", "pinball", "logloss", "entropy", "fpr", "fnr",
}  # fmt: skip
_HIGHER = {
    "accuracy", "acc", "auc", "auroc", "auprc", "roc", "f1", "precision", "recall", "r2", "score", "ndcg", "map", "mrr", "ap", "bleu", "rouge", "iou",
    "dice", "kappa", "mcc", "gini", "sensitivity", "specificity", "reward", "hits", "tpr", "tnr", "lift",
}  # fmt: skip
_WORDS = re.compile(r"[^a-z0-9]+")


class Line(msgspec.Struct, frozen=True):
    """One param or metric over the runs, in their order; `best` are the places of its best values, `better` how that is known."""

    name: str
    values: list[Any]
    better: Better | None = None
    best: list[int] = []


class RunComparison(msgspec.Struct, frozen=True):
    """Runs side by side: their `params` (only those that differ), the `same` for all of them, and every metric."""

    runs: list[str]
    params: list[Line]
    same: dict[str, Any]
    metrics: list[Line]


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """The runs side by side. A metric's better direction is read from its name (loss: lower; auc: higher), or unknown."""
    names = sorted({name for run in runs for name in run.params})
    lines = [Line(name, [run.params.get(name) for run in runs]) for name in names]
    differ = [line for line in lines if _differs(line, runs)]
    told = {line.name for line in differ}
    metrics = sorted({name for run in runs for name in run.metrics})
    return RunComparison(
        [run.run_id for run in runs],
        differ,
        {line.name: line.values[0] for line in lines if line.name not in told},
        [_metric(name, runs) for name in metrics],
    )


def better_of(metric: str) -> Better | None:
    """Whether lower or higher values of a metric of this name are better; None where the name does not tell."""
    words = [word for word in _WORDS.split(re.sub(r"([a-z])([A-Z])", r"\1_\2", metric).lower()) if word]
    for word in reversed(words):
        bare = word.rstrip("0123456789@") or word
        if {word, bare} & _LOWER:
            return "lower"
        if {word, bare} & _HIGHER:
            return "higher"
    return None


def _differs(line: Line, runs: Sequence[Run]) -> bool:
    return len({canonical_json(value) for value in line.values}) > 1 or any(line.name not in run.params for run in runs)


def _metric(name: str, runs: Sequence[Run]) -> Line:
    values = [run.metrics.get(name) for run in runs]
    known = [value for value in values if value is not None and math.isfinite(value)]
    better = better_of(name)
    if better is None or len(known) < 2 or len(set(known)) == 1:  # noqa: PLR2004 - the best of one says nothing
        return Line(name, values, better)
    best = min(known) if better == "lower" else max(known)
    return Line(name, values, better, [place for place, value in enumerate(values) if value == best])
