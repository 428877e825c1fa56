"""Models and their versions; promotion and rollback."""

from datetime import datetime

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody

from loopline.access.permissions import Permission
from loopline.gates.promotion import CHAMPION
from loopline.incidents.actions import Outcome
from loopline.loop import changes
from loopline.models import registry
from loopline.models.registry import ModelVersion
from loopline.server.control.inputs import Body, Caller, Home, Name, PathVersion, Reason, Version
from loopline.server.control.places import models_of

_MODEL = "/projects/{project:str}/models/{model:str}"


class ModelSummary(msgspec.Struct, frozen=True):
    """A model, how many versions it has, and which of them is the champion (None: the declared fallback serves)."""

    model: str
    versions: int
    champion: int | None
    since: datetime | None


class Promotion(Body):
    """Which version is to be the champion, why, and in which environment; in production by default."""

    version: Version
    reason: Reason
    to: Name | None = None


class Rollback(Body):
    """Why to roll back, and to which version; without one, to the champion before this one. In production by default."""

    reason: Reason
    to: Version | None = None
    environment: Name | None = None


@get("/projects/{project:str}/models", permission=Permission.MODELS_READ, sync_to_thread=True)
def list_models(home: Home, project: FromPath[str]) -> list[ModelSummary]:
    """The project's models."""
    with home.database.reading() as tx:
        found = []
        for model in models_of(tx, project):
            history = registry.alias_history(tx, project, model, CHAMPION)
            last = history[-1] if history else None
            count = len(registry.versions(tx, project, model))
            found.append(ModelSummary(model, count, last.version if last else None, last.from_at if last else None))
        return found


@get(f"{_MODEL}/versions", permission=Permission.MODELS_READ, sync_to_thread=True)
def list_versions(home: Home, project: FromPath[str], model: FromPath[str]) -> list[ModelVersion]:
    """All versions of a model, from the first."""
    with home.database.reading() as tx:
        return registry.versions(tx, project, model)


@get(f"{_MODEL}/versions/{{version:int}}", permission=Permission.MODELS_READ, sync_to_thread=True)
def read_version(home: Home, project: FromPath[str], model: FromPath[str], version: PathVersion) -> ModelVersion:
    """One version."""
    with home.database.reading() as tx:
        return registry.get_version(tx, project, model, version)


@post(f"{_MODEL}/promote", permission=Permission.MODELS_PROMOTE, status_code=200, sync_to_thread=True)
def promote(
    home: Home, caller: Caller, project: FromPath[str], model: FromPath[str], data: JSONBody[Promotion]
) -> Outcome:
    """Make a version the champion by a person's word; where that takes an approval, ask for it, or use it."""
    return changes.promote(
        home,
        project=project,
        model=model,
        version=data.version,
        actor=caller.principal,
        reason=data.reason,
        to=data.to,
    )


@post(f"{_MODEL}/rollback", permission=Permission.MODELS_PROMOTE, status_code=200, sync_to_thread=True)
def roll_back(
    home: Home, caller: Caller, project: FromPath[str], model: FromPath[str], data: JSONBody[Rollback]
) -> Outcome:
    """Bring back the earlier champion."""
    return changes.roll_back(
        home,
        project=project,
        model=model,
        actor=caller.principal,
        reason=data.reason,
        to=data.to,
        environment=data.environment,
    )


HANDLERS = (list_models, list_versions, read_version, promote, roll_back)
