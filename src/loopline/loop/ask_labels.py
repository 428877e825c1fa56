"""Ask people for labels: of recent predictions that have none, drawn by chance, since those that come by themselves are no sample."""

from datetime import timedelta
from typing import Any

import numpy as np

from loopline.incidents import outbox
from loopline.incidents.actions import Cause, Outcome, Prepared
from loopline.ledger import chain
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.loop.watch import matured
from loopline.scoring.record import prediction_table
from loopline.storage.database import Transaction
from loopline.values import canonical_json, derive_seed

RECENT = timedelta(days=28)


def prepare_asking(resources: Resources, lane: Lane, history: History, cause: Cause) -> Prepared:
    """Draw the predictions, keep their ids as an artifact, and tell the owner; a replay tells nobody."""
    drawn = _drawn(resources, lane, history, cause, int(cause.terms["rows"]))
    if not drawn:
        nothing = Outcome(changed=False, sentence="No recent prediction is without a label.")
        return Prepared(lambda _tx: nothing)
    artifact = resources.artifacts.put(canonical_json({"model": lane.model, "predictions": drawn}))
    told = f"The labels of {len(drawn)} predictions were asked for ({artifact})."
    evidence: dict[str, Any] = {"artifact": artifact, "rows": len(drawn)}

    def commit(tx: Transaction) -> Outcome:
        chain.append(
            tx,
            project=lane.project,
            at=cause.at,
            kind="labels.asked",
            actor=cause.actor,
            subject=lane.model,
            body={"cause": cause.sentence, "sentence": told, **evidence},
            key=f"labels.asked:{cause.key}",
        )
        if not lane.replayed:
            _tell(tx, lane, cause, told, drawn)
        return Outcome(changed=False, sentence=told, evidence=evidence)

    return Prepared(commit)


def _drawn(resources: Resources, lane: Lane, history: History, cause: Cause, rows: int) -> list[str]:
    """Ids of at most so many predictions of the last 28 days without a label, by a chance that follows from the seed and the cause."""
    if not resources.tables.exists(prediction_table(lane.project, lane.model)):
        return []
    found = matured(
        resources, lane, history, after=cause.at - RECENT, until=cause.at, now=cause.at, also=["prediction_id"]
    )
    ids = sorted(found.filter(found["label"].is_null())["prediction_id"].to_list())
    chance = np.random.default_rng(derive_seed(lane.seed, "labels", lane.model, cause.key))
    return sorted(chance.choice(ids, size=min(rows, len(ids)), replace=False).tolist()) if ids else []


def _tell(tx: Transaction, lane: Lane, cause: Cause, told: str, drawn: list[str]) -> None:
    text = f"{told} {cause.sentence}. Push them by prediction_id to /api/v1/projects/{lane.project}/models/{lane.model}/labels."
    message = {"event": "labels.asked", "model": lane.model, "text": text, "predictions": drawn}
    outbox.put(
        tx,
        project=lane.project,
        key=f"labels:{cause.key}",
        to=lane.owner,
        severity="warning",
        message={**message, "at": cause.at.isoformat()},
        at=cause.at,
        quiet=lane.people.quiet,
    )
