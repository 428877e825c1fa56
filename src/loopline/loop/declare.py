"""A loop, declared. Everything here is pure data; nothing runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from msgspec.structs import replace as replace_fields

from loopline.decisions.actions import require_actions
from loopline.decisions.decision import AnySpec, NoCosts, require_fit
from loopline.decisions.exploration import Exploration
from loopline.evaluation.bias import Bias
from loopline.evaluation.kind import BINARY, Kind, Output
from loopline.features.definitions import LatestView, View, WindowView
from loopline.gates.approval_terms import ApprovalTerms
from loopline.gates.check import Check
from loopline.gates.environment import ONLY_PRODUCTION, alias_of
from loopline.gates.environment import environments as read_environments
from loopline.gates.fair import Fair
from loopline.incidents.calendar import Span
from loopline.incidents.people import FreezeWindow, People, check_name
from loopline.incidents.people import people as read_people
from loopline.incidents.playbook import Response
from loopline.incidents.prices import Prices
from loopline.labels.label import Label, Values
from loopline.loop.consumer import Consumer
from loopline.loop.mistake import blaming_caller, caller, mistake
from loopline.loop.priced import require_prices
from loopline.loop.source import Source
from loopline.loop.sourcing import Sourcing
from loopline.models.contract_terms import FLAGGED, ContractTerms
from loopline.models.ladder_terms import DEFAULT_LADDER, LadderTerms
from loopline.models.rule import Rule
from loopline.monitoring.allotment import scaled
from loopline.monitoring.kinds import Watched, read_watched
from loopline.monitoring.risk import Risk, require_cost
from loopline.training.folds import Folds
from loopline.training.search_spec import SearchSpec
from loopline.training.space import Range
from loopline.training.training_set import Recipe
from loopline.values import duration

FitFunction = Callable[..., Any]

NO_COSTS = NoCosts()
_PROBABLE = {"binary", "multiclass"}
_VALUES: Mapping[Kind, Values] = {
    "binary": "binary",
    "multiclass": "class",
    "regression": "number",
    "quantile": "number",
    "ranking": "number",
    "multioutput": "number",
}


@dataclass(frozen=True)
class Category:
    """A column whose values are names, not amounts."""

    column: str


@dataclass(frozen=True)
class Model:
    """A model: which rows it answers for, when, from what, and what would have been right."""

    name: str
    on: Source
    at: str
    given: tuple[str, ...]
    categories: tuple[str, ...]
    views: tuple[View, ...]
    label: Label
    fit: FitFunction
    params: Mapping[str, Any]
    fallback: float | tuple[float, ...]
    holdout: str
    where: tuple[str, int]
    owner: str = ""
    explain: bool | None = None
    search: SearchSpec | None = None
    output: Output = BINARY
    group: str | None = None
    target: str | None = None
    bias: Bias | None = None
    rule: Rule | None = None

    @property
    def recipe(self) -> Recipe:
        """What its training sets are made of."""
        return Recipe(
            self.on.table,
            self.at,
            self.given,
            self.categories,
            self.views,
            self.label,
            self.output,
            self.group,
            self.target,
            self.bias.by if self.bias else (),
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """All features in the order of the model's input: given columns first, then those of the views."""
        return self.recipe.feature_names


@dataclass(frozen=True)
class Operation:
    """How a model is operated: decided by, promoted on, watched for, responded to. `also` are its further monitors."""

    model: Model
    decide: AnySpec
    promote: tuple[Check, ...]
    watch: Risk
    respond: tuple[Response, ...]
    compare: Mapping[str, tuple[Response, ...]]
    first_after: str
    environments: tuple[str, ...] = ONLY_PRODUCTION
    approve: ApprovalTerms | None = None
    explore: Exploration | None = None
    watch_decision: Risk | None = None
    contract: ContractTerms = FLAGGED
    ladder: LadderTerms = DEFAULT_LADDER
    challenger: Literal["shadow"] | None = None
    also: tuple[Watched, ...] = ()
    prices: Prices | None = None

    @property
    def watched(self) -> tuple[Watched, ...]:
        """All that has a monitor."""
        return (self.watch, *((self.watch_decision,) if self.watch_decision else ()), *self.also)

    def with_budget(self, factor: float) -> "Operation":
        """The same with each monitor's budget of false pages multiplied."""
        decision = self.watch_decision and scaled(self.watch_decision, factor)
        also = tuple(scaled(one, factor) for one in self.also)
        return replace(self, watch=scaled(self.watch, factor), watch_decision=decision, also=also)

    def needs_approval(self, environment: str) -> bool:
        """Whether a person has to say so before a version enters the environment."""
        return self.approve is not None and environment in self.approve.environments


@dataclass
class Loop(Sourcing):
    """A loop under construction. Sources, models and operations are added by its decorators and methods.

    `owner` is who is told of what goes wrong, where a model or source has no owner of its own; `escalate` who is told next,
    each `escalate_after` the one before, while nobody acknowledges. In `quiet` hours only what is critical is told; in the
    windows of `calm` nothing is retrained or promoted automatically. With `false_pages_per_year` that is the budget of all monitors of all
    its models together: each gets of it in proportion to what it says of its own.
    """

    name: str
    turn: str = "1d"
    owner: str = ""
    escalate: Sequence[str] = ()
    escalate_after: str = "30m"
    quiet: Span | Sequence[Span] = ()
    calm: Sequence[FreezeWindow] = ()
    false_pages_per_year: float | None = None
    sources: dict[str, Source] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    consumers: dict[str, Consumer] = field(default_factory=dict)
    people: People = field(init=False)

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise mistake("loop.bad_name", f"{self.name!r} cannot name a loop", "Use letters, digits and underscores.")
        with blaming_caller():
            length = duration(self.turn)
            self.people = read_people(
                owner=self.owner,
                escalate=self.escalate,
                escalate_after=self.escalate_after,
                quiet=self.quiet,
                calm=self.calm,
            )
        if self.false_pages_per_year is not None and not self.false_pages_per_year > 0:
            raise mistake("loop.no_budget", "a budget of no false pages allows no page", "Write e.g. 4.")
        if not length:
            raise mistake("loop.empty_turn", f"a turn of {self.turn!r} holds no time", 'Write e.g. "1d" or "1h".')

    def model(
        self,
        *,
        on: Source,
        at: str,
        features: Sequence[View | Category | str],
        label: Label,
        params: Mapping[str, Any] | None = None,
        fallback: float | Sequence[float] | Rule | None = None,
        holdout: str = "7d",
        owner: str = "",
        explain: bool | None = None,
        search: Mapping[str, Range] | None = None,
        trials: int = 30,
        folds: int | Folds = 4,
        timeout: str = "",
        search_every: str = "",
        trials_at_once: int = 1,
        kind: Kind = "binary",
        levels: Sequence[float] = (),
        target: str | None = None,
        group: str | None = None,
        bias: Bias | None = None,
    ) -> Callable[[FitFunction], Model]:
        """Declare a model: `function(training_set, params)` returns a fitted estimator of scikit-learn, LightGBM or XGBoost.

        It answers for each row of `on` at the time in column `at`. `kind` is `"binary"` (a classifier of two classes),
        `"multiclass"` (one of the label's `classes`), `"regression"` (a number), `"quantile"` (the function returns a mapping of each
        of `levels` to its fitted regressor; `target` names the column of the time that a forecast is for) or `"ranking"` (`group`
        names the column of what is ordered together). `fallback` is the output given while no model can answer, or a rule for it (see `rule`). The last
        `holdout` of labelled rows are kept from training, for the gates. `explain` says whether each version gets a summary of
        which features matter: by default in operation, and not in a replay, which it would slow; False also keeps no rows to
        explain single predictions with. `bias` names groups of people to whom the model must do alike (see `bias`).

        `search` names ranges of parameters: the first training tries up to `trials` of them on `folds` in order of time, and
        later ones use what was found, until `ll.retrain(search=True)`, or `search_every` has passed since, or the model
        changed. `timeout` ends a search early; a replay does without. `trials_at_once` are proposed together, so that an executor
        can make them side by side; the same is found wherever and however many at a time they are made.
        """
        where = caller()
        if kind == "multioutput":
            raise mistake(
                "model.one_label_a_row",
                "a loop joins one label to a row, so it cannot judge a model of several targets",
                "Declare a model for each target. `loopline serve --kind multioutput` serves such a model as it is.",
            )
        with blaming_caller():
            output = Output(kind, label.classes, tuple(levels))
        constant, ruled = _fallback(output, fallback)
        wanted = replace(label, values=_VALUES[kind])
        if (kind == "ranking") != (group is not None):
            raise mistake(
                "model.group",
                f"group={group!r} does not go with a {kind} model",
                "Name the group's column of a ranking.",
            )

        def declare(function: FitFunction) -> Model:
            name = function.__name__
            if name in self.models:
                raise mistake("model.declared_twice", f"model {name!r} is declared twice", "Give each its own name.")
            with blaming_caller():
                duration(holdout)
                searching = _searching(search, trials, folds, timeout, search_every, trials_at_once)
            given, categories, views = _sort_features(features)
            made = Model(
                name,
                on,
                at,
                given,
                categories,
                views,
                wanted,
                function,
                dict(params or {}),
                constant,
                holdout,
                where,
                _owner(owner),
                explain,
                searching,
                output,
                group,
                target,
                bias,
                ruled,
            )
            _check_unique(made)
            _check_rule(made)
            _check_groups(made)
            self.models[name] = made
            return made

        return declare

    def operate(
        self,
        model: Model,
        *,
        decide: AnySpec = NO_COSTS,
        promote: Sequence[Check],
        watch: Risk | Sequence[Watched],
        respond: Sequence[Response] = (),
        compare: Mapping[str, Sequence[Response]] | None = None,
        first_after: str = "30d",
        environments: Sequence[str] = ONLY_PRODUCTION,
        approve: ApprovalTerms | None = None,
        explore: Exploration | None = None,
        watch_decision: Risk | None = None,
        contract: ContractTerms = FLAGGED,
        ladder: LadderTerms = DEFAULT_LADDER,
        challenger: Literal["shadow"] | None = None,
        prices: Prices | None = None,
    ) -> Operation:
        """Say how `model` is operated. Without `decide` nothing is decided: whoever asks decides. `compare` names other responses that a replay runs beside these.

        The first model is trained `first_after` the loop's first rows. A version passes `environments` in their order: gates
        promote it into the first, people on from there; the last is production. `approve` says which of them take a
        person's approval. `explore` tries other actions than the decision's on a small share, and logs how probable each was.
        `watch` is the risk that the model is held to; or a list of it and of what else is watched, each with a monitor and an incident
        of its own: other risks, `Estimated`, `Regret`, `Fairness`, `Rate`. `watch_decision`, a risk of the loss `"cost"`, watches what each decision costs against what was expected of it. `contract` says what
        is done about values that are not like those of the training rows (see `contract`), `ladder` what steps in when something fails (see
        `ladder`).
        With `challenger="shadow"` the newest version that was trained and did not pass its gates scores in the background, so that
        what not promoting it costs is known: `loopline shadow`.
        `prices` say what loss, trainings and pages cost: what `retraining_pays` weighs, and what `loopline replay --choose-until` chooses a
        policy by.
        """
        if not isinstance(model, Model):
            raise mistake(
                "operate.not_a_model", f"{model!r} is not a model of this loop", "Pass what @loop.model returned."
            )
        if model.name in self.operations:
            raise mistake(
                "operate.declared_twice", f"{model.name!r} is operated twice", "Call operate once for each model."
            )
        _check_challenger(challenger)
        others = {name: tuple(responses) for name, responses in (compare or {}).items()}
        for name in others:
            if not name.isidentifier() or name == "loop":
                raise mistake(
                    "operate.bad_policy",
                    f"{name!r} cannot name a policy",
                    "Use letters, digits, underscores; not 'loop'.",
                )
        with blaming_caller():
            duration(first_after)
            output = model.output
            require_fit(decide, output.kind, output.classes)
            require_actions(decide, output.classes, explore, model.label.observed_after)
            risk, also = read_watched(watch, model.output, model.feature_names)
            require_cost(watch_decision)
            require_prices((respond, *others.values()), prices)
            passed = read_environments(environments)
            for environment in approve.environments if approve else ():
                alias_of(passed, environment)
            for check in promote:
                _check_judged(check, model)
        _check_contract(contract, model)
        made = Operation(
            model,
            decide,
            tuple(promote),
            risk,
            tuple(respond),
            others,
            first_after,
            passed,
            approve,
            explore,
            watch_decision,
            contract,
            ladder,
            challenger,
            also,
            prices,
        )
        self.operations[model.name] = made
        return made


def _check_challenger(said: str | None) -> None:
    if said not in {None, "shadow"}:
        raise mistake(
            "operate.challenger",
            f"a challenger cannot be kept as {said!r}",
            'Write challenger="shadow", or leave it out.',
        )


def _owner(name: str) -> str:
    with blaming_caller():
        return check_name(name) if name else ""


def category(column: str) -> Category:
    """A given column whose values are names."""
    return Category(column)


def _searching(
    space: Mapping[str, Range] | None, trials: int, folds: int | Folds, timeout: str, every: str, at_once: int
) -> SearchSpec | None:
    if space is None:
        return None
    return SearchSpec(dict(space), trials, folds if isinstance(folds, Folds) else Folds(folds), timeout, every, at_once)


def _fallback(
    output: Output, said: float | Sequence[float] | Rule | None
) -> tuple[float | tuple[float, ...], Rule | None]:
    """The constant, which a rule gives where none of its clauses holds, and the rule in the shape of the output."""
    if not isinstance(said, Rule):
        return _constant(output, said), None
    constant = _constant(output, said.otherwise)
    clauses = tuple(replace_fields(clause, output=_constant(output, clause.output)) for clause in said.clauses)
    return constant, Rule(clauses, constant)


def _constant(output: Output, fallback: float | Sequence[float] | None) -> float | tuple[float, ...]:
    """The fallback in the shape of the output; where none is said, what knows nothing."""
    knows_nothing = {"binary": 0.5, "multiclass": 1 / output.width}.get(output.kind, 0.0)
    said = np.full(output.width, knows_nothing) if fallback is None else fallback
    given = np.ravel(np.asarray(said, dtype=np.float64))
    probable = output.kind not in _PROBABLE or bool(((given >= 0) & (given <= 1)).all())
    if len(given) != output.width or not np.isfinite(given).all() or not probable:
        raise mistake(
            "model.bad_fallback",
            f"fallback={fallback} is no output of a {output.kind} model",
            "Give a probability from 0 to 1, one for each class, a number, or one for each level.",
        )
    return tuple(given.tolist()) if output.wide else float(given[0])


def _sort_features(
    features: Sequence[View | Category | str],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[View, ...]]:
    given: list[str] = []
    categories: list[str] = []
    views: list[View] = []
    for feature in features:
        if isinstance(feature, Category):
            given.append(feature.column)
            categories.append(feature.column)
        elif isinstance(feature, str):
            given.append(feature)
        elif isinstance(feature, (WindowView, LatestView)):
            views.append(feature)
        else:
            raise mistake(
                "model.not_a_feature",
                f"{feature!r} is not a feature",
                "Use a column's name, category(...), or a feature view.",
            )
    return tuple(given), tuple(categories), tuple(views)


def _check_unique(model: Model) -> None:
    names = model.feature_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise mistake(
            "model.feature_twice", f"{model.name!r} has features twice: {', '.join(twice)}", "List each once."
        )
    if not names:
        raise mistake("model.no_features", f"{model.name!r} has no features", "Give at least one.")


def _check_rule(model: Model) -> None:
    known = set(model.feature_names)
    unknown = [name for name in (model.rule.columns if model.rule else ()) if name not in known]
    if unknown:
        raise mistake(
            "model.rule_column",
            f"the rule of {model.name!r} looks at {unknown[0]!r}, which is no feature of it",
            f"Compare one of {', '.join(model.feature_names)}.",
        )


def _check_contract(contract: ContractTerms, model: Model) -> None:
    unknown = [name for name in contract.fields if name not in model.feature_names]
    if unknown:
        raise mistake(
            "operate.contract_field",
            f"the contract speaks of {unknown[0]!r}, which is no feature of {model.name!r}",
            f"It has {', '.join(model.feature_names)}.",
        )


def _check_groups(model: Model) -> None:
    """A group named like a feature must be that feature."""
    taken = (
        [name for name, one in model.bias.by if name in model.feature_names and not one.meta.eq(pl.col(name))]
        if model.bias
        else []
    )
    if taken:
        raise mistake(
            "model.group_taken", f"{model.name!r} has a feature {taken[0]!r} already", "Give the group another name."
        )


def _check_judged(check: Check, model: Model) -> None:
    known = {*model.feature_names, *(model.bias.names if model.bias else ())}
    if isinstance(check, Fair) and check.by not in known:
        raise mistake(
            "operate.unknown_group",
            f"fair(by={check.by!r}) names neither a feature of {model.name!r} nor a group it is judged by",
            f'Declare the model with bias=ll.bias(by=["{check.by}"]).',
        )
