"""Shares as people write them, and which variant a command means."""

from loopline.errors import InvalidInput, NotFound
from loopline.gates import variants
from loopline.gates.variants import Deployed
from loopline.loop.deploy import environment_of
from loopline.loop.resources import Resources

_PERCENT = 100


def share(text: str) -> float:
    """`"5%"` or `"0.05"` as a share. Raises `InvalidInput` "share.unreadable"."""
    try:
        found = float(text[:-1]) / _PERCENT if text.endswith("%") else float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 1:
        raise InvalidInput("share.unreadable", f"{text!r} is no share", remedy="Write e.g. 5% or 0.05.")
    return found


def the_variant(
    resources: Resources, project: str, model: str, *, environment: str | None, name: str | None, role: str | None
) -> Deployed:
    """The running variant that was said, or the only one of its role.

    Raises `NotFound` "variants.unknown" or "variants.none_running", and `InvalidInput` "variants.which".
    """
    with resources.database.reading() as tx:
        place = environment_of(tx, project, model, environment)
        if name is not None:
            return variants.named(tx, project, model, place, name)
        found = variants.find(tx, project, model=model, environment=place, only_running=True)
    wanted = [one for one in found if role in {None, one.role}]
    if not wanted:
        raise NotFound("variants.none_running", f"no {role or 'variant'} of {model} runs in {place}")
    if len(wanted) > 1:
        names = ", ".join(one.name for one in wanted)
        raise InvalidInput("variants.which", f"{len(wanted)} run beside the champion", remedy=f"Say --name: {names}.")
    return wanted[0]
