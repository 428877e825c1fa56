"""Which project and model a command means, where it was not said."""

from loopline.errors import InvalidInput, NotFound
from loopline.loop.resources import Resources
from loopline.loop.status import projects, require_project
from loopline.models import registry


def the_project(resources: Resources, said: str | None) -> str:
    """The project that was said, or the only one. A loop's own project comes before the policies it was compared with.

    Raises `NotFound` for an unknown one and `InvalidInput` where several could be meant.
    """
    with resources.database.reading() as tx:
        if said is not None:
            require_project(tx, said)
            return said
        known = projects(tx)
    own = [name for name in known if "." not in name]
    if len(own) != 1:
        raise InvalidInput(
            "project.which",
            f"this home has {len(own)} projects",
            remedy=f"Say --project: {', '.join(known) or 'there is none'}.",
        )
    return own[0]


def the_model(resources: Resources, project: str, said: str | None) -> str:
    """The model that was said, or the project's only one. Raises as `the_project`."""
    with resources.database.reading() as tx:
        known = registry.models(tx, project)
    if said is not None:
        if said not in known:
            raise NotFound(
                "model.unknown", f"{project} has no model {said!r}", remedy=f"It has: {', '.join(known) or 'none'}."
            )
        return said
    if len(known) != 1:
        raise InvalidInput("model.which", f"{project} has {len(known)} models", remedy=f"Name one: {', '.join(known)}.")
    return known[0]
