"""The model that a batch is scored with: a version as it would serve, its ladder included."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from loopline.clock import Clock
from loopline.errors import InvalidInput, LooplineError, NotFound
from loopline.features.definitions import View
from loopline.gates.promotion import CHAMPION as CHAMPION_ALIAS
from loopline.gates.smoke import smoke_test
from loopline.loop import store
from loopline.loop.deployment import Terms, declared_terms, deployment
from loopline.models import registry
from loopline.models.manifest import Deployment
from loopline.models.predictor import Predictor
from loopline.models.signature import Signature
from loopline.scoring.engine import Engine
from loopline.scoring.record import CHAMPION, PREVIOUS
from loopline.storage.database import Transaction


@dataclass(frozen=True)
class Asked:
    """`model`, `model:3` or `model@alias`, taken apart; an alias is also an environment's name."""

    model: str
    version: int | None = None
    alias: str | None = None


def read_asked(said: str) -> Asked:
    """Raises `InvalidInput` "batch.which_model"."""
    name, colon, number = said.partition(":")
    if colon and number.isdigit() and name:
        return Asked(name, version=int(number))
    name, at, alias = said.partition("@")
    if name and not colon and bool(at) == bool(alias):
        return Asked(name, alias=alias or None)
    raise InvalidInput(
        "batch.which_model", f"{said!r} names no model", remedy="Give MODEL, MODEL:VERSION or MODEL@ALIAS."
    )


def serving(tx: Transaction, project: str, asked: Asked) -> Deployment:
    """What would answer for the version asked for, with the decision in force.

    Nothing is explored in batch, and nothing serves beside it. Raises `NotFound` ("loop.not_applied", "batch.not_operated",
    "batch.no_champion", "model.version_not_found").
    """
    terms = _terms(tx, project, asked.model)
    place = asked.alias if asked.alias in terms.environments else None
    found = deployment(tx, project, asked.model, terms, place)
    wanted = asked.version
    if asked.alias not in {None, CHAMPION_ALIAS, place}:
        wanted = registry.alias(tx, project, asked.model, str(asked.alias))
    elif wanted is None:
        wanted = found.version
    if not wanted:
        raise NotFound(
            "batch.no_champion",
            f"{project} has no {asked.alias or 'champion'} of {asked.model}",
            remedy="Promote a version, or name one: MODEL:VERSION. `loopline models` lists them.",
        )
    if wanted != found.version:
        found = _as_version(tx, project, asked.model, found, wanted)
    return msgspec.structs.replace(found, explore=None, variants=())


def _as_version(tx: Transaction, project: str, model: str, found: Deployment, version: int) -> Deployment:
    one = registry.get_version(tx, project, model, version)
    views: list[dict[str, Any]] = one.lineage.get("views", [])
    return msgspec.structs.replace(
        found, version=version, package=one.package, package_envelope=one.envelope, views=views, previous=None
    )


def _terms(tx: Transaction, project: str, model: str) -> Terms:
    terms = declared_terms(tx, project.split(".", 1)[0])
    if model not in terms:
        raise NotFound(
            "batch.not_operated",
            f"the loop operates no model {model!r}",
            remedy=f"It operates: {', '.join(sorted(terms)) or 'none'}.",
        )
    return terms[model]


def views_of(found: Deployment) -> list[View]:
    """The feature views of a deployment."""
    return msgspec.convert(found.views, list[View])


def key_columns(tx: Transaction, project: str, model: str) -> tuple[str, ...]:
    """The columns that make up the key of the rows that the model answers for."""
    applied = store.latest_applied(tx, project.split(".", 1)[0])
    said = applied["declaration"] if applied else {}
    return tuple(said["sources"][said["models"][model]["on"].split(".", 1)[1]]["key"]) if said else ()


@dataclass(frozen=True)
class Loaded:
    """An engine, the signature of the version it answers by, and what `Scoring` needs of its variants."""

    engine: Engine
    signature: Signature
    variants: dict[str, Signature | None]


Load = Callable[[str, str], Predictor]
"""The predictor of a package, by the digests of package and envelope."""


def loaded(load: Load, clock: Clock, project: str, found: Deployment) -> Loaded:
    """The engine of a deployment.

    Raises as `load`, and `Unavailable` where the version cannot score at all: nobody waits for an answer, so that none is
    better than a million constants.
    """
    champion = load(found.package, found.package_envelope)
    smoke_test(champion)
    previous = _previous(load, found)
    engine = Engine(project, found, champion, previous, clock=clock, instance="batch")
    variants = {CHAMPION: _needs_all(champion)} | ({PREVIOUS: _needs_all(previous)} if previous else {})
    return Loaded(engine, champion.signature, variants)


def _previous(load: Load, found: Deployment) -> Predictor | None:
    """As in a scoring process: what cannot be loaded is no rung."""
    if found.previous is None:
        return None
    try:
        return load(found.previous.package, found.previous.package_envelope)
    except LooplineError:
        return None


def _needs_all(predictor: Predictor) -> Signature | None:
    return None if predictor.package.takes_missing else predictor.signature
