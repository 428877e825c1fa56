"""The project and the model that a path speaks of have to be there."""

from collections.abc import Mapping
from typing import Any

from loopline.errors import NotFound
from loopline.loop.deployment import declared_terms
from loopline.loop.status import require_project
from loopline.models import registry
from loopline.storage.database import Transaction


def require_place(tx: Transaction, path: Mapping[str, Any]) -> None:
    """Raise `NotFound` "project.unknown" or "model.unknown" unless the path's `project` and `model`, if any, are there."""
    if (project := path.get("project")) is None:
        return
    require_project(tx, project)
    if (model := path.get("model")) is not None and model not in models_of(tx, project):
        raise NotFound("model.unknown", f"{project} has no model {model!r}", remedy="List the project's models.")


def models_of(tx: Transaction, project: str) -> list[str]:
    """The project's models, sorted: those operated as declared, trained yet or not, and those registered."""
    declared = declared_terms(tx, project.split(".", 1)[0])
    return sorted({*declared, *registry.models(tx, project)})
