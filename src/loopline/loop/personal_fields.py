"""Which fields of a registered model are personal, by the declaration in force."""

from loopline.loop import store
from loopline.loop.personal import personal_features
from loopline.loop.resources import Resources


def personal_fields(resources: Resources, project: str, model: str) -> frozenset[str]:
    """The fields made of personal columns; none for a model that no applied loop declares."""
    with resources.database.reading() as tx:
        applied = store.latest_applied(tx, project.split(".", 1)[0])
    said = applied["declaration"] if applied else {"models": {}}
    return personal_features(said, model) if model in said["models"] else frozenset()
