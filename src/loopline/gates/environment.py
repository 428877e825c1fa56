"""Environments: where a version serves. Each has a champion of its own; the last one is production, whatever it is called.

Production's champion is the alias `champion` and serves at the endpoint of the model's name. Another environment's is the
alias of its name, and serves at `MODEL@ENVIRONMENT`.
"""

from collections.abc import Sequence

from loopline.errors import InvalidInput, NotFound
from loopline.gates.promotion import CHAMPION

PRODUCTION = "production"
ONLY_PRODUCTION = (PRODUCTION,)

_TAKEN = {CHAMPION, "challenger", "current"}


def environments(names: Sequence[str]) -> tuple[str, ...]:
    """The declared environments, in order. Raises `InvalidInput` for none, one that is no identifier, or one named twice."""
    found = (names,) if isinstance(names, str) else tuple(names)
    bad = [name for name in found if not isinstance(name, str) or not name.isidentifier() or name in _TAKEN]
    if bad or not found or len(set(found)) < len(found):
        raise InvalidInput(
            "environment.bad_names",
            f"{list(found)!r} cannot be environments",
            remedy='Give each a name of its own, in the order versions pass them, e.g. ["staging", "production"].',
        )
    return found


def alias_of(declared: Sequence[str], environment: str) -> str:
    """The alias that means the environment's champion. Raises `NotFound` for an environment that is not declared."""
    if environment not in declared:
        raise NotFound(
            "environment.unknown",
            f"no environment is called {environment!r}",
            remedy=f"Declared are: {', '.join(declared)}.",
        )
    return CHAMPION if environment == declared[-1] else environment


def endpoint_of(model: str, declared: Sequence[str], environment: str) -> str:
    """Where the environment's champion answers. Raises as `alias_of`."""
    alias = alias_of(declared, environment)
    return model if alias == CHAMPION else f"{model}@{environment}"
