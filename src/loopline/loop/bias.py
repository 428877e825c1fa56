"""The bias report of a registered version, as it was made when the version was trained."""

import msgspec

from loopline.errors import NotFound
from loopline.evaluation.bias import BIAS, BiasReport
from loopline.loop.resources import Resources
from loopline.models import registry


def version_bias(resources: Resources, project: str, model: str, version: int) -> BiasReport:
    """Raises `NotFound`: for an unknown version, and "bias.not_measured" for one whose groups were not compared."""
    with resources.database.reading() as tx:
        found = registry.get_version(tx, project, model, version)
    digest = found.lineage.get(BIAS)
    if digest is None:
        raise NotFound(
            "bias.not_measured",
            f"no groups were compared when {model}:{version} was trained",
            remedy='Declare the model with bias=ll.bias(by=["sex"]), and retrain; or give files with --predictions.',
        )
    return msgspec.json.decode(resources.artifacts.get(digest), type=BiasReport)
