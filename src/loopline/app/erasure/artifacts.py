"""A person in artifacts: those that name them are made anew without, and everything that refers to them follows."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa

from loopline.access.erasure import Eraser, Person, Removed, Target, Traces
from loopline.access.rows import change_rows
from loopline.app.erasure.content import cleaned, theirs_in
from loopline.errors import Corrupt, NotFound
from loopline.models.signing import SigningKey
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.database import Database
from loopline.values import digest as digest_of

PLACE = "artifact "
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ArtifactSweep:
    """Sweeps the artifacts of a home. They are named by their content: a changed one has another name, and packages, signatures and
    rows of the database that name it are changed too. The order is such that whatever is killed in between, what is referred
    to is there. `republish` brings manifests up to date before old artifacts go.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        database: Database,
        key: SigningKey,
        *,
        tables: Callable[[], Collection[sa.Table]],
        samples: Callable[[Person], Collection[str]],
        republish: Callable[[], None],
    ) -> None:
        """`tables` may name artifacts; `samples` are the digests of those that may hold a person's rows among others, and nobody
        can tell which.
        """
        self._artifacts, self._database, self._key = artifacts, database, key
        self._tables, self._samples, self._republish = tables, samples, republish

    def __call__(self, target: Target, *, dry: bool) -> Collection[Removed]:
        """What protocol `Sweep` asks for."""
        samples = [digest for digest in sorted(target.traces.samples) if self._artifacts.exists(digest)]
        fresh = self._fresh(target, without=samples)
        if not dry:
            self._replace(fresh, gone=samples)
        told = "rows of a training set without their keys, kept for explanations: none can be told from another"
        return [
            *(Removed(f"{PLACE}{old}", "made anew", 1, old, new) for old, new in self._named(fresh).items()),
            *(Removed(f"{PLACE}{digest}", "deleted", 1, digest, note=told) for digest in samples),
        ]

    def trace(self, person: Person) -> Traces:
        """The samples that go with the person, for as long as tables tell which."""
        return Traces(samples=set(self._samples(person)))

    def _fresh(self, target: Target, without: Collection[str]) -> dict[str, bytes]:
        """New content by old digest; what names a changed artifact is changed itself, and so on."""
        fresh: dict[str, bytes] = {}
        while True:
            names = self._named(fresh)
            found = {
                digest: content
                for digest in self._artifacts.digests()
                if digest not in without and (content := self._cleaned(digest, target, names)) is not None
            }
            if found.keys() == fresh.keys() and self._named(found) == names:
                return fresh
            fresh = found

    def _cleaned(self, digest: str, target: Target, names: Mapping[str, str]) -> bytes | None:
        """The artifact's new content; None where it stays as it is."""
        try:
            content = self._artifacts.get(digest)
        except (Corrupt, NotFound):
            return None
        if not (target.needles.texts or names) and content[:4] != b"PAR1":
            return None
        new = cleaned(content, lambda said: _changed(said, target, names), theirs_in(target), self._key)
        return None if new is None or new == content else new

    def _named(self, fresh: Mapping[str, bytes]) -> dict[str, str]:
        return {old: digest_of(content) for old, content in fresh.items()}

    def _replace(self, fresh: Mapping[str, bytes], gone: Collection[str]) -> None:
        for content in fresh.values():
            self._artifacts.put(content)
        names = self._named(fresh)
        if names:
            with self._database.transaction() as tx:
                for table in self._tables():
                    change_rows(tx, table, lambda value: _renamed(value, names), dry=False)
            self._republish()
        for digest in (*names, *gone):
            self._artifacts.remove(digest)


def eraser(sweep: ArtifactSweep) -> Eraser:
    """The eraser of artifacts."""
    return Eraser("artifacts", sweep, sweep.trace)


def _changed(said: Any, target: Target, names: Mapping[str, str]) -> Any:
    return _renamed(target.needles.hidden_in(said), names)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A JSON value with new digests in the place of old ones, also inside of texts: rows hold JSON as text too."""
    if isinstance(value, str):
        return _DIGEST.sub(lambda found: names.get(found[0], found[0]), value)
    if isinstance(value, list):
        return [_renamed(part, names) for part in value]
    if isinstance(value, dict):
        return {name: _renamed(part, names) for name, part in value.items()}
    return value
