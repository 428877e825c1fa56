"""What keeps in step with the manifests, and which refusals one that came meanwhile may take back."""

from typing import Protocol

from loopline.errors import LooplineError

_NEWS = frozenset({"token.unknown", "access.not_permitted", "scoring.endpoint_not_found", "scoring.version_not_served"})


class Follower(Protocol):
    """Says whether a manifest changed that was not taken yet, and takes it."""

    def behind(self) -> bool: ...

    async def catch_up(self) -> None: ...


def may_be_news(error: Exception, follower: Follower) -> bool:
    """Whether the refusal may not hold any more: a token or an endpoint is used the moment it is there."""
    return isinstance(error, LooplineError) and error.code in _NEWS and follower.behind()
