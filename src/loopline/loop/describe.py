"""A declaration as plain values, in a stable order: what a plan compares and a digest covers."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from loopline.loop.declare import Loop, Model, Operation, Source
from loopline.values import duration, duration_text


def describe(loop: Loop) -> dict[str, Any]:
    """The whole declaration as plain values."""
    return {
        "loop": loop.name,
        "turn": loop.turn,
        "sources": {name: _describe_source(source) for name, source in loop.sources.items()},
        "models": {name: _describe_model(model) for name, model in loop.models.items()},
        "operations": {name: _describe_operation(found) for name, found in loop.operations.items()},
    }


def code_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of a function's source text, so that a version can say which code made it."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = repr(function)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


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
    }


def _describe_model(model: Model) -> dict[str, Any]:
    return {
        "on": model.on.table,
        "at": model.at,
        "given": list(model.given),
        "categories": list(model.categories),
        "views": [msgspec.to_builtins(view) for view in model.views],
        "label": model.label.describe(),
        "params": dict(model.params),
        "fallback": model.fallback,
        "holdout": duration_text(duration(model.holdout)),
        "code": code_digest(model.fit),
    }


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
    }
