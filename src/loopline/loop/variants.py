"""What is deployed beside a champion, as the manifest says it: versions with their packages, and the features they look up."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from loopline.errors import Conflict
from loopline.features.definitions import LatestView, View
from loopline.gates import variants
from loopline.gates.variants import Deployed
from loopline.models import registry
from loopline.models.background import BACKGROUND
from loopline.models.manifest import PackagedVersion, Variant
from loopline.storage.database import Transaction

_log = structlog.get_logger(__name__)

Views = list[dict[str, Any]]


def packaged(tx: Transaction, project: str, model: str, version: int | None) -> PackagedVersion | None:
    """A registered version as a manifest names it; None for none."""
    if version is None:
        return None
    found = registry.get_version(tx, project, model, version)
    return PackagedVersion(
        version=version,
        package=found.package,
        package_envelope=found.envelope,
        background=found.lineage.get(BACKGROUND, ""),
    )


def trained_views(tx: Transaction, project: str, model: str, version: int | None) -> Views:
    """A model is served with the views it was trained with, whatever a newer declaration says."""
    if version is None:
        return []
    views: Views = registry.get_version(tx, project, model, version).lineage.get("views", [])
    return views


def beside(tx: Transaction, project: str, model: str, environment: str, champion: int | None) -> list[Deployed]:
    """What runs beside this champion, oldest first. One whose features mean something else under the same name than those of
    who serves before it is left out, and told in the log: a champion that came later may have brought them.
    """
    known, found = _definitions(trained_views(tx, project, model, champion)), []
    for one in variants.find(tx, project, model=model, environment=environment, only_running=True):
        wanted = _definitions(trained_views(tx, project, model, one.version))
        if one.version == champion:
            continue
        if clash := _clashing(known, wanted):
            _log.warning("variant left out", project=project, model=model, variant=one.name, features=clash)
            continue
        known |= wanted
        found.append(one)
    return found


def manifest_variants(tx: Transaction, found: Iterable[Deployed]) -> tuple[Variant, ...]:
    """The variants as the manifest says them."""
    return tuple(
        Variant(name=one.name, role=one.role, served=served, share=one.share, salt=one.salt, spans=one.spans)
        for one in found
        if (served := packaged(tx, one.project, one.model, one.version)) is not None
    )


def joined_views(tx: Transaction, project: str, model: str, champion: Views, found: Iterable[Deployed]) -> Views:
    """The champion's views, and of the others' those features that it does not look up."""
    joined, known = list(champion), set(_definitions(champion))
    for one in found:
        for view in trained_views(tx, project, model, one.version):
            features = {name: use for name, use in view["features"].items() if name not in known}
            if features:
                joined.append({**view, "features": features})
                known |= set(features)
    return joined


def refuse_other_features(tx: Transaction, project: str, model: str, version: int, others: Sequence[int]) -> None:
    """Raise `Conflict` "deploy.other_features" where a feature of `version` means something else to one of `others`."""
    wanted = _definitions(trained_views(tx, project, model, version))
    for other in others:
        if clash := _clashing(_definitions(trained_views(tx, project, model, other)), wanted):
            raise Conflict(
                "deploy.other_features",
                f"version {version} means something else by {', '.join(clash)} than version {other}, which serves",
                remedy="Give what changed another name and retrain; or promote the version in its place.",
            )


def _definitions(views: Views) -> dict[str, Any]:
    """What each feature is, by its name."""
    found: dict[str, Any] = {}
    for view in (msgspec.convert(one, View) for one in views):
        age = view.max_age if isinstance(view, LatestView) else None
        found |= {name: (type(view), view.table, view.by, use, age) for name, use in view.features.items()}
    return found


def _clashing(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return sorted(name for name, meaning in wanted.items() if name in known and known[name] != meaning)
