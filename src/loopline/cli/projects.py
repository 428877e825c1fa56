"""Which project and model a command means, where it was not said."""

from loopline.errors import InvalidInput, NotFound
from loopline.gates.promotion import CHAMPION
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


def the_version(resources: Resources, project: str, said: str) -> tuple[str, int]:
    """Model and version of `MODEL:VERSION`, or of `MODEL`, whose champion (else newest version) is meant.

    Raises `NotFound` and `InvalidInput` as `the_model`, `InvalidInput` "model.which_version" for what is no version.
    """
    name, separator, number = said.rpartition(":")
    if separator and not number.isdigit():
        raise InvalidInput(
            "model.which_version", f"{said!r} names no version", remedy="Give MODEL:VERSION, e.g. late_arrival:3."
        )
    model = the_model(resources, project, name if separator else said)
    if separator:
        return model, int(number)
    with resources.database.reading() as tx:
        champion = registry.alias(tx, project, model, CHAMPION)
        newest = [version.version for version in registry.versions(tx, project, model)]
    return model, champion or newest[-1]


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
