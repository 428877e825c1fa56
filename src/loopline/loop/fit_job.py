"""A fit, here or as a job of the crew: the same function on the same arrays, so the same package to the last bit."""

from collections.abc import Mapping
from typing import Any

import msgspec

from loopline.evaluation.calibrators import Calibration
from loopline.executors.crew import Crew, Errand
from loopline.executors.transit import parcelled, unparcelled
from loopline.loop.abroad import Abroad, abroad, fit_function
from loopline.loop.model import Model
from loopline.loop.resources import Resources
from loopline.models.explanation import ExplanationSummary
from loopline.models.package import decode_package
from loopline.models.signature import Signature
from loopline.storage.artifacts import open_artifacts
from loopline.training.carried import array_bytes, array_of, brought, carried
from loopline.training.outcome import Explained, FitOutcome, fit_outcome
from loopline.training.training_set import TrainingSet

_FIT = f"{__name__}:fit_abroad"


class _Rows(msgspec.Struct, frozen=True):
    """What goes to the fit: the training set with its signature, whose bounds and categories are of rows too, and the rows that are explained."""

    sets: bytes
    signature: Signature
    explained: bytes | None = None


class _Outcome(msgspec.Struct, frozen=True):
    """What comes back. The model itself is in the home's artifacts by then."""

    package: bytes
    calibration: Calibration
    unseen_scores: bytes
    unseen_labels: bytes
    summary: ExplanationSummary | None


def made(
    resources: Resources,
    model: Model,
    params: Mapping[str, Any],
    signature: Signature,
    whole: TrainingSet,
    *,
    seed: int,
    explained: Explained | None,
) -> FitOutcome:
    """Fit the model on `whole`: by the crew, if there is one and it can have the model's function, else in this process.

    Raises as `fit_outcome`, and as `Crew.start`.
    """
    crew, place = resources.crew, abroad(resources.crew, model, params)
    if crew is None or place is None:
        return fit_outcome(model.fit, params, signature, whole, resources.artifacts, seed=seed, explained=explained)
    rows = _Rows(carried([whole]), signature, None if explained is None else array_bytes(explained.rows))
    given = {
        "params": dict(params),
        "seed": seed,
        "of_rows": None if explained is None else explained.of_rows,
    }
    return _read(_sent(crew, place, model.name, given, msgspec.msgpack.encode(rows)))


def fit_abroad(
    fit: str,
    params: dict[str, Any],
    seed: int,
    of_rows: str | None,
    rows: bytes,
    artifacts_url: str,
    durable: bool,  # noqa: FBT001 - arguments of a job come by name
) -> bytes:
    """A fit, in a process of the executor."""
    given = msgspec.msgpack.decode(unparcelled(rows), type=_Rows)
    [whole] = brought(given.sets)
    explained = None if given.explained is None else Explained(array_of(given.explained), of_rows or "")
    artifacts = open_artifacts(artifacts_url, durable=durable)
    function, signature = fit_function(fit), given.signature
    found = fit_outcome(function, params, signature, whole, artifacts, seed=seed, explained=explained)
    scores, labels = array_bytes(found.unseen_scores), array_bytes(found.unseen_labels)
    told = _Outcome(found.package.encoded(), found.calibration, scores, labels, found.summary)
    return parcelled(msgspec.msgpack.encode(told))


def _sent(crew: Crew, place: Abroad, name: str, given: Mapping[str, Any], rows: bytes) -> bytes:
    own = {**given, "fit": place.key, "artifacts_url": crew.artifacts_url, "durable": crew.durable}
    with crew.parcel(rows) as parcel:
        arguments = {name: crew.value(value) for name, value in own.items()} | {"rows": parcel}
        return crew.received(crew.start(Errand(f"fit of {name}", _FIT, arguments, place.code)).result())


def _read(content: bytes) -> FitOutcome:
    told = msgspec.msgpack.decode(content, type=_Outcome)
    package, scores, labels = decode_package(told.package), array_of(told.unseen_scores), array_of(told.unseen_labels)
    return FitOutcome(package, told.calibration, scores, labels, told.summary)
