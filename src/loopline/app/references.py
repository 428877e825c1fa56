"""Which artifacts are needed, and which does nothing name."""

import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

import sqlalchemy as sa

from loopline.config import Settings
from loopline.errors import LooplineError
from loopline.models import registry
from loopline.models.background import BACKGROUND
from loopline.models.package import decode_package
from loopline.pipelines.applied.applied import in_force
from loopline.runs import tracking
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.database import Database, Transaction
from loopline.tables.tables import Tables
from loopline.values import canonical_json

_PAYLOAD = re.compile(rb'"payload":"([A-Za-z0-9+/=]+)"')
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")


def needed(database: Database, artifacts: ArtifactStore) -> dict[str, str]:
    """Digests that something registered cannot do without, each with whose it is."""
    found: dict[str, str] = {}
    with database.reading() as tx:
        for version in _versions(tx):
            whose = f"version {version.version} of {version.project}/{version.model}"
            background = version.lineage.get(BACKGROUND)
            found |= dict.fromkeys([version.package, version.envelope, *([background] if background else [])], whose)
            try:
                package = decode_package(artifacts.get(version.package))
            except LooplineError:  # told of as missing or damaged
                continue
            found |= dict.fromkeys(package.models, whose)
        found |= {digest: f"run {run}, artifact {name}" for run, name, digest in tracking.every_artifact(tx)}
        found |= {one.code: f"pipelines of {one.file} in {one.project}" for one in in_force(tx)}
    return found


def unnamed(
    database: Database, tables: Tables, artifacts: ArtifactStore, settings: Settings, *, before: datetime
) -> list[str]:
    """Digests of artifacts that were put before that moment and that nothing names: no row of the database, no manifest, no
    provenance of a table, no batch under way, and no artifact that is named itself.
    """
    kept = set(artifacts.digests())
    named = kept & _named(database, tables, settings)
    waiting = list(named)
    while waiting:
        inside = _inside(artifacts, waiting.pop()) & kept - named
        named |= inside
        waiting += inside
    spare = sorted(kept - named)
    return [one for one in spare if (put := artifacts.modified(one)) is not None and put < before]


def _versions(tx: Transaction) -> Iterator[registry.ModelVersion]:
    for project in registry.projects(tx):
        for model in registry.models(tx, project):
            yield from registry.versions(tx, project, model)


def _named(database: Database, tables: Tables, settings: Settings) -> set[str]:
    found: set[str] = set()
    with database.reading() as tx:
        quote = tx.dialect.identifier_preparer.quote
        for table in sa.inspect(tx).get_table_names():  # all there are, whichever part of which version made them
            for row in tx.exec_driver_sql(f"select * from {quote(table)}"):  # noqa: S608 - a table's own name, quoted
                found |= _digests(repr(tuple(row)).encode())
    for name in tables.names():
        for version in tables.open(name).versions():
            found |= _digests(canonical_json(version.provenance))
    for folder in (settings.manifests_path, settings.home / "batch"):
        for path in folder.rglob("*.json"):
            found |= _digests(path.read_bytes())
    return found


def _inside(artifacts: ArtifactStore, digest: str) -> set[str]:
    try:
        return _digests(artifacts.get(digest))
    except LooplineError:  # damaged: it names what it names no more
        return set()


def _digests(content: bytes) -> set[str]:
    """Those in the bytes, and in the payload where they are a signature's envelope."""
    found = {one.decode() for one in _DIGEST.findall(content)}
    if (payload := _PAYLOAD.search(content)) is not None:
        with suppress(ValueError):
            found |= {one.decode() for one in _DIGEST.findall(base64.b64decode(payload[1], validate=True))}
    return found
