"""What a scoring process serves at one moment. It never changes: a new manifest makes a new one, and requests under way end
with the one they began with.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.access.secret import secret_digest
from loopline.errors import Conflict, NotAuthenticated, NotFound
from loopline.models.manifest import Manifest, TokenGrant
from loopline.scoring.engine import Engine

_KNOWN = frozenset(str(permission) for permission in Permission)


@dataclass(frozen=True)
class Project:
    """One project's manifest, with an engine for each of its deployments."""

    manifest: Manifest
    engines: Mapping[str, Engine]


@dataclass(frozen=True)
class Serving:
    """The projects served, by name. Raises `Conflict` "scoring.endpoint_taken" where two have an endpoint of one name."""

    projects: Mapping[str, Project] = field(default_factory=dict)
    engines: Mapping[str, Engine] = field(init=False)

    def __post_init__(self) -> None:
        engines: dict[str, Engine] = {}
        for project in self.projects.values():
            taken = next((name for name in project.engines if name in engines), None)
            if taken is not None:
                raise Conflict(
                    "scoring.endpoint_taken",
                    f"projects {engines[taken].project!r} and {project.manifest.project!r} both have an endpoint {taken!r}",
                    remedy="Rename one of them.",
                )
            engines.update(project.engines)
        object.__setattr__(self, "engines", engines)

    @property
    def ready(self) -> bool:
        """Whether there is something to serve and all of it can answer."""
        return bool(self.engines) and all(engine.ready for engine in self.engines.values())

    def engine(self, endpoint: str) -> Engine:
        """Raises `NotFound` "scoring.endpoint_not_found"."""
        try:
            return self.engines[endpoint]
        except KeyError as error:
            raise NotFound(
                "scoring.endpoint_not_found",
                f"no endpoint {endpoint[:100]!r} is served here",
                remedy="Promote a model to it, or check the name.",
            ) from error

    def identify(self, secret: str | None, now: datetime, endpoint: str | None = None) -> Identity:
        """Whose token `secret` is, with what it permits in the project of `endpoint` (in any project without one).

        Raises `NotAuthenticated`: token.missing, token.unknown, token.expired.
        """
        if not secret:
            raise NotAuthenticated("token.missing", "this needs a token", remedy="Send Authorization: Bearer <token>.")
        found = _grants(self._manifests(endpoint), secret_digest(secret))
        if not found:
            raise NotAuthenticated(
                "token.unknown", "the token is not known here", remedy="Check it, or issue a new one."
            )
        live = [grant for grant in found if grant.expires_at is None or now < grant.expires_at]
        if not live:
            raise NotAuthenticated("token.expired", "the token has expired", remedy="Issue a new one.")
        permitted = {name for grant in live for name in grant.permissions} & _KNOWN
        return Identity(live[0].principal, frozenset(Permission(name) for name in permitted), live[0].digest[:12])

    def _manifests(self, endpoint: str | None) -> Iterable[Manifest]:
        engine = self.engines.get(endpoint) if endpoint is not None else None
        if engine is not None:
            return [self.projects[engine.project].manifest]
        return [project.manifest for project in self.projects.values()]


def _grants(manifests: Iterable[Manifest], digest: str) -> list[TokenGrant]:
    return [
        grant
        for manifest in manifests
        for grant in manifest.tokens
        if hmac.compare_digest(_hex(grant.digest), digest)
        and not any(hmac.compare_digest(_hex(revoked), digest) for revoked in manifest.revoked)
    ]


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
