"""A loop, declared. Everything here is pure data; nothing runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from loopline.decisions.actions import require_actions
from loopline.decisions.decision import AnySpec, NoCosts, require_fit
from loopline.decisions.exploration import Exploration
from loopline.evaluation.bias import Bias
from loopline.evaluation.kind import Kind, Output
from loopline.features.definitions import View
from loopline.gates.approval_terms import ApprovalTerms
from loopline.gates.check import Check
from loopline.gates.environment import ONLY_PRODUCTION, alias_of
from loopline.gates.environment import environments as read_environments
from loopline.gates.fair import Fair
from loopline.incidents.calendar import Span
from loopline.incidents.people import FreezeWindow, People
from loopline.incidents.people import people as read_people
from loopline.incidents.playbook import Response
from loopline.incidents.prices import Prices
from loopline.labels.label import Label
from loopline.labels.review.terms import ReviewTerms
from loopline.loop.consumer import Consumer
from loopline.loop.declared_fallback import declared_fallback
from loopline.loop.externals import Externals, check_external
from loopline.loop.mistake import blaming_caller, caller, mistake
from loopline.loop.model import (
    VALUES,
    Category,
    FitFunction,
    Model,
    check_groups,
    check_unique,
    owned_by,
    sort_features,
)
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
from loopline.values import duration

NO_COSTS = NoCosts()


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
    review: ReviewTerms | None = None
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
class Loop(Sourcing, Externals):
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
        constant, ruled = declared_fallback(output, fallback)
        wanted = replace(label, values=VALUES[kind])
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
            given, categories, views = sort_features(features)
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
                owned_by(owner),
                explain,
                searching,
                output,
                group,
                target,
                bias,
                ruled,
            )
            check_unique(made)
            _check_rule(made)
            check_groups(made)
            self.models[name] = made
            return made

        return declare

    def operate(
        self,
        model: Model,
        *,
        decide: AnySpec = NO_COSTS,
        promote: Sequence[Check] = (),
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
        review: ReviewTerms | None = None,
        prices: Prices | None = None,
    ) -> Operation:
        """Say how `model` is operated. Without `decide` nothing is decided: whoever asks decides. `compare` names other responses that a replay runs beside these.

        The first model is trained `first_after` the loop's first rows. A version passes `environments` in their order: gates
        promote it into the first, people on from there; the last is production. `approve` says which of them take a
        person's approval. `explore` tries other actions than the decision's on a small share, and logs how probable each was.
        `watch` is the risk that the model is held to; or a list of it and of what else is watched, each with a monitor and an incident
        of its own: other risks, `Estimated`, `Powered`, `Regret`, `Fairness`, `Rate`, `Change`. `watch_decision`, a risk of the loss `"cost"`, watches what each decision costs against what was expected of it. `contract` says what
        is done about values that are not like those of the training rows (see `contract`), `ladder` what steps in when something fails (see
        `ladder`).
        With `challenger="shadow"` the newest version that was trained and did not pass its gates scores in the background, so that
        what not promoting it costs is known: `loopline shadow`. `review` puts predictions before people, whose labels count (see `review`).
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
            risk, also = read_watched(watch, model.output, model.feature_names, self.sources)
            require_cost(watch_decision)
            require_prices((respond, *others.values()), prices)
            passed = read_environments(environments)
            for environment in approve.environments if approve else ():
                alias_of(passed, environment)
            for check in promote:
                _check_judged(check, model)
        _check_contract(contract, model)
        _check_review(review, model)
        check_external(model, respond, others, (watch_decision, explore, challenger, approve, tuple(promote)), also)
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
            review,
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


def _searching(
    space: Mapping[str, Range] | None, trials: int, folds: int | Folds, timeout: str, every: str, at_once: int
) -> SearchSpec | None:
    if space is None:
        return None
    return SearchSpec(dict(space), trials, folds if isinstance(folds, Folds) else Folds(folds), timeout, every, at_once)


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


def _check_review(review: ReviewTerms | None, model: Model) -> None:
    if review is not None and model.label.censors:
        raise mistake(
            "operate.review_censored",
            f"the label of {model.name!r} is censored, and what reviewers see is not known to be weighed together with that",
            "Leave review= out, or declare a label whose absence says nothing.",
        )


def _check_judged(check: Check, model: Model) -> None:
    known = {*model.feature_names, *(model.bias.names if model.bias else ())}
    if isinstance(check, Fair) and check.by not in known:
        raise mistake(
            "operate.unknown_group",
            f"fair(by={check.by!r}) names neither a feature of {model.name!r} nor a group it is judged by",
            f'Declare the model with bias=ll.bias(by=["{check.by}"]).',
        )
