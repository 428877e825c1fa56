"""What a scoring process serves at one moment. It never changes: a new manifest makes a new one, and requests under way end
with the one they began with.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.errors import Conflict, NotAuthenticated, NotFound
from loopline.models.manifest import Manifest
from loopline.scoring.engine import Engine
from loopline.server.scoring.grants import Grants


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
    _all: Grants = field(init=False, repr=False, compare=False)
    _grants: Mapping[str, Grants] = field(init=False, repr=False, compare=False)

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
        manifests = {name: project.manifest for name, project in self.projects.items()}
        object.__setattr__(self, "_all", Grants(manifests.values()))
        object.__setattr__(self, "_grants", {name: Grants([manifest]) for name, manifest in manifests.items()})

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

    def identify(self, secret: str, now: datetime, endpoint: str | None = None) -> Identity:
        """Whose token `secret` is, with what it permits in the project of `endpoint` (in any project without one).

        Raises `NotAuthenticated` as `Grants.identify`.
        """
        engine = self.engines.get(endpoint) if endpoint is not None else None
        return (self._all if engine is None else self._grants[engine.project]).identify(secret, now)

    def permitted(self, project: str, secret: str, now: datetime) -> AbstractSet[Permission]:
        """What a token permits in a project; nothing where it is not known there."""
        try:
            return self._grants[project].identify(secret, now).permissions
        except NotAuthenticated:
            return frozenset()
