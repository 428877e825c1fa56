"""A declaration as plain values, in a stable order: what a plan compares and a digest covers."""

from dataclasses import asdict
from typing import Any

import msgspec

from loopline.evaluation.kind import BINARY
from loopline.gates.environment import ONLY_PRODUCTION
from loopline.loop.code import code_digest
from loopline.loop.declare import Loop, Operation
from loopline.loop.model import Model
from loopline.loop.source import Pushed, Source
from loopline.models.contract_terms import FLAGGED
from loopline.models.ladder_terms import DEFAULT_LADDER
from loopline.monitoring.custom import Custom
from loopline.monitoring.kinds import Watched
from loopline.monitoring.risk import Risk
from loopline.sources.known import Delayed, KnownAt
from loopline.sources.reader import Reading
from loopline.tables.dedupe import Dedupe
from loopline.values import duration, duration_text


def describe(loop: Loop) -> dict[str, Any]:
    """The whole declaration as plain values. What is not declared of people and environments is left out."""
    people = msgspec.to_builtins(loop.people)
    return {
        "loop": loop.name,
        "turn": loop.turn,
        "sources": {name: _describe_source(source) for name, source in loop.sources.items()},
        "models": {name: _describe_model(model) for name, model in loop.models.items()},
        "operations": {name: _describe_operation(found) for name, found in loop.operations.items()},
        **({"false_pages_per_year": loop.false_pages_per_year} if loop.false_pages_per_year else {}),
        **({"people": people} if people else {}),
        **({"consumers": {name: one.describe() for name, one in loop.consumers.items()}} if loop.consumers else {}),
    }


def _describe_source(source: Source) -> dict[str, Any]:
    spec = source.spec
    return {
        "key": list(spec.key_columns),
        "event_time": spec.event_time,
        "known_at": spec.known_at,
        "tombstone": spec.tombstone,
        "columns": {name: str(dtype) for name, dtype in spec.columns.items()} if spec.columns else None,
        "personal": list(spec.personal),
        **({"subject": spec.subject} if spec.subject else {}),
        "every": source.every,
        "known": source.known,
        "code": code_digest(source.function),
        **_describe_reading(source),
        **_owned(source.owner),
    }


def _describe_reading(source: Source) -> dict[str, Any]:
    """What only some sources say; those that do not keep the description they had."""
    said: dict[str, Any] = {}
    if isinstance(source.function, Reading):
        said |= {"reads": source.function.reader.describe(), "known_by": _known_by(source.function.terms.known_at)}
    if isinstance(source.function, Pushed):
        said["pushed"] = True
    if source.identify:
        said["identify"] = [one.describe() for one in source.identify]
    if source.spec.evolve:
        said["evolve"] = asdict(source.spec.evolve)
    if source.spec.dedupe != Dedupe():
        said["dedupe"] = asdict(source.spec.dedupe)
    if source.spec.categories:
        said["categories"] = {name: listed and list(listed) for name, listed in source.spec.categories.items()}
    if source.freshness:
        said["freshness"] = source.freshness
    if duration(source.settle):
        said["settle"] = source.settle
    return said


def _known_by(known_at: KnownAt) -> Any:
    if isinstance(known_at, Delayed):
        return {"delayed": known_at.column, "by": known_at.by}
    return known_at if isinstance(known_at, str) else "modified"


def _describe_model(model: Model) -> dict[str, Any]:
    searched = {"search": model.search.describe()} if model.search else {}
    return {
        **searched,
        "on": model.on.table,
        "at": model.at,
        "given": list(model.given),
        "categories": list(model.categories),
        "views": [msgspec.to_builtins(view) for view in model.views],
        "label": model.label.describe(),
        "params": dict(model.params),
        "fallback": model.fallback,
        **({} if model.output == BINARY else {"output": msgspec.to_builtins(model.output)}),
        **({} if model.group is None else {"group": model.group}),
        **({} if model.target is None else {"target": model.target}),
        "holdout": duration_text(duration(model.holdout)),
        "code": code_digest(model.fit),
        **_owned(model.owner),
        **({} if model.explain is None else {"explain": model.explain}),
        **({} if model.bias is None else {"bias": model.bias.describe()}),
        **({} if model.rule is None else {"rule": msgspec.to_builtins(model.rule)}),
        **({} if model.external is None else {"external": msgspec.to_builtins(model.external)}),
    }


def _owned(owner: str) -> dict[str, str]:
    return {"owner": owner} if owner else {}


def _describe_operation(operation: Operation) -> dict[str, Any]:
    return {
        "decide": msgspec.to_builtins(operation.decide),
        "promote": [msgspec.to_builtins(check) for check in operation.promote],
        "watch": msgspec.to_builtins(operation.watch),
        "respond": [msgspec.to_builtins(response) for response in operation.respond],
        "compare": {
            name: [msgspec.to_builtins(response) for response in responses]
            for name, responses in operation.compare.items()
        },
        "first_after": operation.first_after,
        **({"also": [_described(one) for one in operation.also]} if operation.also else {}),
        **({"watch_decision": msgspec.to_builtins(operation.watch_decision)} if operation.watch_decision else {}),
        **({"explore": msgspec.to_builtins(operation.explore)} if operation.explore else {}),
        **({} if operation.contract == FLAGGED else {"contract": msgspec.to_builtins(operation.contract)}),
        **({} if operation.ladder == DEFAULT_LADDER else {"ladder": msgspec.to_builtins(operation.ladder)}),
        **({"challenger": operation.challenger} if operation.challenger else {}),
        **({"review": msgspec.to_builtins(operation.review)} if operation.review else {}),
        **({"prices": msgspec.to_builtins(operation.prices)} if operation.prices else {}),
        **_describe_release(operation),
    }


def _described(watched: Watched) -> dict[str, Any]:
    """A further monitor; a plain risk says that it is one."""
    if isinstance(watched, Custom):
        function = watched.function
        return {"type": "custom", **_without_function(watched), "code": code_digest(function)}
    said: dict[str, Any] = msgspec.to_builtins(watched)
    return {"type": "risk", **said} if isinstance(watched, Risk) else said


def _without_function(watched: Custom) -> dict[str, Any]:
    return {name: said for name, said in msgspec.structs.asdict(watched).items() if name != "function"}


def _describe_release(operation: Operation) -> dict[str, Any]:
    several = {"environments": list(operation.environments)} if operation.environments != ONLY_PRODUCTION else {}
    return several | ({"approve": msgspec.to_builtins(operation.approve)} if operation.approve else {})
