"""The part of a loop that declares models which something else serves: their predictions are taken in, and not made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from loopline.errors import Unavailable
from loopline.evaluation.bias import Bias
from loopline.evaluation.kind import Kind, Output
from loopline.features.definitions import View
from loopline.incidents.playbook import Response
from loopline.labels.label import Label
from loopline.loop.mistake import blaming_caller, caller, mistake
from loopline.loop.model import VALUES, Category, External, Model, check_groups, check_unique, owned_by, sort_features
from loopline.loop.source import Source
from loopline.monitoring.kinds import Regret, Watched

NOTIFY = "notify"


class Externals:
    """The part of a loop that declares models which something else serves."""

    models: dict[str, Model]

    def external(
        self,
        name: str,
        *,
        predictions: Source,
        score: str | Sequence[str],
        label: Label,
        at: str = "",
        features: Sequence[View | Category | str] = (),
        id: str = "",  # noqa: A002 - it is the prediction's id
        version: str = "",
        decision: str = "",
        owner: str = "",
        kind: Kind = "binary",
        levels: Sequence[float] = (),
        target: str | None = None,
        group: str | None = None,
        bias: Bias | None = None,
    ) -> Model:
        """Declare a model that something else serves: the rows of `predictions`, a source that is pushed, read or called, are its predictions.

        `score` names the column of its output, or the columns in the order of the label's classes or of `levels`; `at` that of the moment a prediction is for,
        by default the source's event time. `features` are columns that hold what it was made from: what is watched for faults and drift. `id` names the
        column of the prediction's id, by which reviews and pushed labels speak of it; without, one is derived from key and time. The first row of an id
        counts. `version` names the column that says which version answered, `decision` that of what was decided; without, what the costs of `operate`
        decide is taken. A label is found by the source's key, or `by` columns of its rows, as for any model.

        It is operated like any other: what its first `first_after` showed is what it is held to. What it takes a model of ours for is refused.
        """
        where = caller()
        given, categories, views = sort_features(features)
        scores = (score,) if isinstance(score, str) else tuple(score)
        with blaming_caller():
            output = Output(kind, label.classes, tuple(levels))
        if name in self.models or not name.isidentifier():
            raise mistake(
                "model.external_name",
                f"{name!r} cannot name one more model",
                "Use a name of its own: letters, digits, underscores.",
            )
        if views:
            raise mistake(
                "model.external_views",
                f"{name!r} is served elsewhere, so its features are computed there",
                "Name columns of its predictions.",
            )
        if len(scores) not in {1, output.width}:
            raise mistake(
                "model.external_score",
                f"{len(scores)} columns are no output of a {kind} model",
                f"Name one column, or {output.width}.",
            )
        made = Model(
            name=name,
            on=predictions,
            at=at or predictions.spec.event_time,
            given=given,
            categories=categories,
            views=(),
            label=_valued(label, kind),
            fit=served_elsewhere,
            params={},
            fallback=tuple([0.0] * output.width) if output.wide else 0.0,
            holdout="0s",
            where=where,
            owner=owned_by(owner),
            explain=False,
            output=output,
            group=group,
            target=target,
            bias=bias,
            external=External(scores, id, version, decision),
        )
        if given:
            check_unique(made)
        check_groups(made)
        self.models[name] = made
        return made


def served_elsewhere(*_arguments: Any) -> Any:
    """Stands for the training function of a model that is trained elsewhere. Raises `Unavailable`."""
    raise Unavailable(
        "model.trained_elsewhere",
        "this model is trained and served elsewhere: there is nothing of it here but its predictions",
        remedy="Retrain, deploy or roll it back where it is served.",
    )


def check_external(
    model: Model,
    respond: Sequence[Response],
    compare: Mapping[str, Sequence[Response]],
    needs_ours: Sequence[object],
    also: Sequence[Watched],
) -> None:
    """Raise `DeclarationError` where an operation asks of an external model what takes one of ours."""
    if model.external is None:
        return
    actions = [one.action.name for one in [*respond, *(one for policy in compare.values() for one in policy)]]
    wrong = next((name for name in actions if name != NOTIFY), None)
    if wrong is not None:
        raise mistake(
            "operate.external_action",
            f"{model.name!r} is served elsewhere, and {wrong} can be done there only",
            "Respond with ll.notify; whoever is told acts where it is served.",
        )
    if any(needs_ours) or any(isinstance(one, Regret) for one in also):
        raise mistake(
            "operate.external_terms",
            f"{model.name!r} is served elsewhere: promote, approve, watch_decision, explore, challenger and Regret take a model that is served here",
            "Leave them out.",
        )


def _valued(label: Label, kind: Kind) -> Label:

    return replace(label, values=VALUES[kind])
