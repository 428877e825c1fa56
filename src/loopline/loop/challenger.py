"""The loop's own challenger: the newest version that did not pass its gates scores in the shadow of the champion."""

import structlog

from loopline.errors import Conflict
from loopline.gates import variants
from loopline.gates.environment import alias_of
from loopline.gates.variants import SHADOW, SUPERSEDED, Wanted
from loopline.incidents.actions import Cause
from loopline.loop.lane import Lane
from loopline.loop.variants import refuse_other_features
from loopline.models import registry
from loopline.models.registry import ModelVersion
from loopline.storage.database import Transaction

CHALLENGER = "challenger"

_log = structlog.get_logger(__name__)


def keep_challenger(tx: Transaction, lane: Lane, version: ModelVersion, cause: Cause) -> None:
    """Let the version score in production's shadow in the place of the challenger before it, where the loop declares that.

    Without a champion there is nothing to be beside, and one whose features mean something else cannot be.
    """
    if lane.operation.challenger is None:
        return
    environments = lane.operation.environments
    place = environments[-1]
    champion = registry.alias(tx, lane.project, lane.model, alias_of(environments, place))
    if champion is None:
        return
    try:
        refuse_other_features(tx, lane.project, lane.model, version.version, [champion])
    except Conflict as error:
        _log.warning("no challenger", model=lane.model, version=version.version, why=error.message)
        return
    key = f"challenger:{cause.key}"
    for one in variants.find(tx, lane.project, model=lane.model, environment=place, only_running=True):
        if one.name == CHALLENGER:
            why = f"Version {version.version} is newer."
            variants.end(tx, one, SUPERSEDED, actor=cause.actor, why=why, at=cause.at, key=key)
    wanted = Wanted(
        project=lane.project,
        model=lane.model,
        environment=place,
        version=version.version,
        role=SHADOW,
        share=1.0,
        name=CHALLENGER,
    )
    variants.start(tx, wanted, against=champion, actor=cause.actor, why=cause.sentence, at=cause.at, key=key)
