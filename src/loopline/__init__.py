"""Runs machine learning as a closed loop: declare it once in Python, replay it over history, operate it for real.

    import loopline as ll

Names are loaded when they are first used, so that `import loopline` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from loopline.app.track import track as track
    from loopline.decisions.amount import amount_costs as amount_costs
    from loopline.decisions.choice import choice_costs as choice_costs
    from loopline.decisions.exploration import explore as explore
    from loopline.decisions.policy import costs as costs
    from loopline.errors import BadRows as BadRows
    from loopline.evaluation.bias import bias as bias
    from loopline.gates.approval_terms import approval as approval
    from loopline.gates.better import better as better
    from loopline.gates.fair import fair as fair
    from loopline.gates.not_worse import not_worse as not_worse
    from loopline.incidents.conditions import ask_for_labels as ask_for_labels
    from loopline.incidents.conditions import broken_data as broken_data
    from loopline.incidents.conditions import cause as cause
    from loopline.incidents.conditions import data_fault as data_fault
    from loopline.incidents.conditions import decision_harm as decision_harm
    from loopline.incidents.conditions import estimated_harm as estimated_harm
    from loopline.incidents.conditions import exceeded as exceeded
    from loopline.incidents.conditions import grown as grown
    from loopline.incidents.conditions import harm as harm
    from loopline.incidents.conditions import moved as moved
    from loopline.incidents.conditions import notify as notify
    from loopline.incidents.conditions import previous_decision_is_cheaper as previous_decision_is_cheaper
    from loopline.incidents.conditions import previous_is_better as previous_is_better
    from loopline.incidents.conditions import quarantine_source as quarantine_source
    from loopline.incidents.conditions import regret as regret
    from loopline.incidents.conditions import retrain as retrain
    from loopline.incidents.conditions import retraining_pays as retraining_pays
    from loopline.incidents.conditions import roll_back as roll_back
    from loopline.incidents.conditions import roll_back_decision as roll_back_decision
    from loopline.incidents.conditions import serve_fallback as serve_fallback
    from loopline.incidents.conditions import unfair as unfair
    from loopline.incidents.conditions import widen_band as widen_band
    from loopline.incidents.people import freeze_window as freeze_window
    from loopline.incidents.people import quiet_hours as quiet_hours
    from loopline.incidents.playbook import every as every
    from loopline.incidents.playbook import on as on
    from loopline.incidents.prices import prices as prices
    from loopline.labels.review.terms import review as review
    from loopline.loop.declare import Loop as Loop
    from loopline.loop.labelled import label as label
    from loopline.loop.labelled import logged as logged
    from loopline.loop.model import category as category
    from loopline.loop.windowed import count as count
    from loopline.loop.windowed import max_ as max  # noqa: A004, F401 - ll.max reads as it should
    from loopline.loop.windowed import mean as mean
    from loopline.loop.windowed import min_ as min  # noqa: A004, F401 - ll.min reads as it should
    from loopline.loop.windowed import std as std
    from loopline.loop.windowed import sum_ as sum  # noqa: A004, F401 - ll.sum reads as it should
    from loopline.models.breaker_terms import breaker as breaker
    from loopline.models.contract_terms import contract as contract
    from loopline.models.ensemble import chain as chain
    from loopline.models.ensemble import chained as chained
    from loopline.models.ensemble import ensemble as ensemble
    from loopline.models.ladder_terms import ladder as ladder
    from loopline.models.network import save_network as save_network
    from loopline.models.rule import rule as rule
    from loopline.monitoring.change import Change as Change
    from loopline.monitoring.custom import monitor as monitor
    from loopline.monitoring.kinds import Estimated as Estimated
    from loopline.monitoring.kinds import Fairness as Fairness
    from loopline.monitoring.kinds import Powered as Powered
    from loopline.monitoring.kinds import Rate as Rate
    from loopline.monitoring.kinds import Regret as Regret
    from loopline.monitoring.risk import Risk as Risk
    from loopline.pipelines.declare import pipeline as pipeline
    from loopline.pipelines.declare import step as step
    from loopline.pipelines.healing.remedies import fall_back as fall_back
    from loopline.pipelines.healing.remedies import last_good as last_good
    from loopline.pipelines.healing.remedies import page as page
    from loopline.pipelines.healing.remedies import quarantine_rows as quarantine_rows
    from loopline.pipelines.healing.remedies import retry as retry
    from loopline.pipelines.healing.remedies import skip_window as skip_window
    from loopline.pipelines.healing.remedies import wait as wait
    from loopline.pipelines.healing.remedies import when as when
    from loopline.pipelines.kinds.steps import command as command
    from loopline.pipelines.kinds.steps import notebook as notebook
    from loopline.pipelines.kinds.steps import query as query
    from loopline.pipelines.kinds.steps import sheet as sheet
    from loopline.pipelines.retries import Retries as Retries
    from loopline.pipelines.schedules.cron import cron as cron
    from loopline.pipelines.schedules.interval import interval as interval
    from loopline.pipelines.schedules.triggers import on_alarm as on_alarm
    from loopline.pipelines.schedules.triggers import on_table as on_table
    from loopline.pipelines.schedules.triggers import on_webhook as on_webhook
    from loopline.sources.files import files as files
    from loopline.sources.known import delayed as delayed
    from loopline.sources.known import modified as modified
    from loopline.sources.query import sql as sql
    from loopline.sources.spreadsheet import spreadsheet as spreadsheet
    from loopline.tables.dedupe import dedupe as dedupe
    from loopline.tables.evolution import evolve as evolve
    from loopline.training.folds import Folds as Folds
    from loopline.training.space import choice as choice
    from loopline.training.space import integer as integer
    from loopline.training.space import loguniform as loguniform
    from loopline.training.space import uniform as uniform
    from loopline.training.training_set import TrainingSet as TrainingSet
    from loopline.values import Window as Window

_WHERE = {
    "BadRows": "errors",
    "Estimated": "monitoring.kinds",
    "Fairness": "monitoring.kinds",
    "Folds": "training.folds",
    "Loop": "loop.declare",
    "Powered": "monitoring.kinds",
    "Rate": "monitoring.kinds",
    "Change": "monitoring.change",
    "Regret": "monitoring.kinds",
    "Retries": "pipelines.retries",
    "Risk": "monitoring.risk",
    "TrainingSet": "training.training_set",
    "Window": "values",
    "amount_costs": "decisions.amount",
    "approval": "gates.approval_terms",
    "better": "gates.better",
    "bias": "evaluation.bias",
    "breaker": "models.breaker_terms",
    "ask_for_labels": "incidents.conditions",
    "broken_data": "incidents.conditions",
    "category": "loop.model",
    "cause": "incidents.conditions",
    "prices": "incidents.prices",
    "quarantine_source": "incidents.conditions",
    "retraining_pays": "incidents.conditions",
    "serve_fallback": "incidents.conditions",
    "widen_band": "incidents.conditions",
    "chain": "models.ensemble",
    "chained": "models.ensemble",
    "choice": "training.space",
    "choice_costs": "decisions.choice",
    "command": "pipelines.kinds.steps",
    "contract": "models.contract_terms",
    "costs": "decisions.policy",
    "count": "loop.windowed",
    "cron": "pipelines.schedules.cron",
    "data_fault": "incidents.conditions",
    "dedupe": "tables.dedupe",
    "delayed": "sources.known",
    "ensemble": "models.ensemble",
    "every": "incidents.playbook",
    "evolve": "tables.evolution",
    "files": "sources.files",
    "freeze_window": "incidents.people",
    "fall_back": "pipelines.healing.remedies",
    "fair": "gates.fair",
    "explore": "decisions.exploration",
    "decision_harm": "incidents.conditions",
    "previous_decision_is_cheaper": "incidents.conditions",
    "roll_back_decision": "incidents.conditions",
    "estimated_harm": "incidents.conditions",
    "exceeded": "incidents.conditions",
    "moved": "incidents.conditions",
    "grown": "incidents.conditions",
    "regret": "incidents.conditions",
    "unfair": "incidents.conditions",
    "harm": "incidents.conditions",
    "integer": "training.space",
    "interval": "pipelines.schedules.interval",
    "label": "loop.labelled",
    "ladder": "models.ladder_terms",
    "last_good": "pipelines.healing.remedies",
    "logged": "loop.labelled",
    "loguniform": "training.space",
    "max": "loop.windowed",
    "mean": "loop.windowed",
    "min": "loop.windowed",
    "monitor": "monitoring.custom",
    "modified": "sources.known",
    "not_worse": "gates.not_worse",
    "notebook": "pipelines.kinds.steps",
    "notify": "incidents.conditions",
    "on": "incidents.playbook",
    "pipeline": "pipelines.declare",
    "on_alarm": "pipelines.schedules.triggers",
    "on_table": "pipelines.schedules.triggers",
    "on_webhook": "pipelines.schedules.triggers",
    "page": "pipelines.healing.remedies",
    "previous_is_better": "incidents.conditions",
    "query": "pipelines.kinds.steps",
    "quiet_hours": "incidents.people",
    "quarantine_rows": "pipelines.healing.remedies",
    "retrain": "incidents.conditions",
    "retry": "pipelines.healing.remedies",
    "review": "labels.review.terms",
    "roll_back": "incidents.conditions",
    "save_network": "models.network",
    "sheet": "pipelines.kinds.steps",
    "skip_window": "pipelines.healing.remedies",
    "spreadsheet": "sources.spreadsheet",
    "rule": "models.rule",
    "sql": "sources.query",
    "step": "pipelines.declare",
    "std": "loop.windowed",
    "sum": "loop.windowed",
    "track": "app.track",
    "uniform": "training.space",
    "wait": "pipelines.healing.remedies",
    "when": "pipelines.healing.remedies",
}

_TRAILING = {"max", "min", "sum"}  # named with an underscore where they would hide a builtin

__all__ = ["__version__", *sorted(_WHERE)]  # noqa: PLE0604 - the names are strings; __getattr__ provides them


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        message = f"module 'loopline' has no attribute {name!r}"
        raise AttributeError(message)
    module = import_module(f"loopline.{_WHERE[name]}")
    value = getattr(module, f"{name}_" if name in _TRAILING else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
