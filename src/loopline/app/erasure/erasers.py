"""Which parts of a home take part in an erasure, in which order."""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import sqlalchemy as sa

from loopline.access.erasure import Eraser, Person, Target
from loopline.access.rows import rows_eraser
from loopline.app.erasure import artifacts, batches, files, leftovers, replays
from loopline.app.erasure.undeclared import columns_with
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.features import erasure as online_erasure
from loopline.features.definitions import View
from loopline.features.online import OnlineFeatures
from loopline.incidents import erasure as incidents_erasure
from loopline.labels.review import erasure as review_erasure
from loopline.loop import ledger_erasure
from loopline.loop import store as loop_store
from loopline.loop.batch_tables import scored_tables
from loopline.loop.deployment import champion_views, declared_terms, publish
from loopline.loop.erasers import Erasing
from loopline.loop.personal import keep_tags, tags
from loopline.loop.receipt import Searched
from loopline.loop.resources import Resources
from loopline.loop.trained_on import trained_on
from loopline.models import erasure as models_erasure
from loopline.models import registry
from loopline.models.background import BACKGROUND
from loopline.monitoring import erasure as monitoring_erasure
from loopline.pipelines import erasure as pipelines_erasure
from loopline.pipelines.healing import erasure as healing_erasure
from loopline.pipelines.schedules import erasure as schedules_erasure
from loopline.runs import erasure as runs_erasure
from loopline.scoring import erasure as spool_erasure
from loopline.scoring.shipper import ship_all
from loopline.storage.columns import metadata
from loopline.storage.key_values import open_key_values
from loopline.tables import persons

# The chain would break, the plan would differ, and the notes are sealed. None of them names persons.
_LEFT_ALONE = {"ledger", "applied_loop", "applied_pipelines", "erasure"}


def erasing_of(settings: Settings, resources: Resources, opened: Callable[[Settings], Resources]) -> Erasing:
    """The erasers of a home; `opened` opens those below it. Spools come first, so that what is under way is in tables, and again behind them."""
    _tag(resources)
    spools = spool_erasure.eraser(settings.spool_path, lambda: _ship(settings, resources))
    named = [
        runs_erasure.eraser(resources.database),
        models_erasure.eraser(resources.database),
        monitoring_erasure.eraser(resources.database),
        incidents_erasure.eraser(resources.database),
        schedules_erasure.eraser(resources.database),
        healing_erasure.eraser(resources.database),
        review_erasure.eraser(resources.database),
        pipelines_erasure.eraser(resources.database),
    ]
    erasers = [
        spools,
        batches.eraser(resources),
        persons.eraser(resources.tables),
        spools,
        online_erasure.eraser(lambda: _online(settings), lambda: _views(resources), resources.tables),
        artifacts.eraser(_artifacts(resources)),
        *named,
        _rest(resources),
        ledger_erasure.eraser(resources.database, SystemClock().now),
        files.eraser(settings.home, apart=lambda: _apart(settings)),
        leftovers.eraser(lambda: _roots(settings), settings.artifacts_url),
        replays.eraser(settings, opened),
    ]
    return Erasing(
        erasers,
        lambda target: _search(settings, target),
        settle=lambda: spool_erasure.drain(settings.spool_path, lambda: _ship(settings, resources)),
        columns=lambda value: columns_with(resources.tables, settings.home, value),
    )


def _tag(resources: Resources) -> None:
    """Tables say what of them is about persons, as declared now."""
    with resources.database.reading() as tx:
        loops = loop_store.applied_loops(tx)
        said = [loop_store.latest_applied(tx, loop) for loop in loops]
    for applied in said:
        if applied is not None:
            keep_tags(resources.tables, tags(applied["declaration"]))
    keep_tags(resources.tables, scored_tables(resources))


def _ship(settings: Settings, resources: Resources) -> None:
    """Ship what spools hold; tables that grew by it say what of that is about persons."""
    if ship_all(settings.spool_path, resources.tables).rows:
        _tag(resources)


def _rest(resources: Resources) -> Eraser:
    """Tables of the database that no part has named: texts are texts, whoever added the table."""
    parts = (
        runs_erasure, models_erasure, monitoring_erasure, incidents_erasure, schedules_erasure, healing_erasure, pipelines_erasure,
        review_erasure,
    )  # fmt: skip
    named = {table.name for part in parts for table in part.TABLES}
    return rows_eraser("database", resources.database, [one for one in _tables() if one.name not in named])


def _tables() -> list[sa.Table]:
    return [table for table in metadata.sorted_tables if table.name not in _LEFT_ALONE]


def _artifacts(resources: Resources) -> artifacts.ArtifactSweep:
    return artifacts.ArtifactSweep(
        resources.artifacts,
        resources.database,
        resources.key,
        tables=_tables,
        samples=lambda person: _samples(resources, person),
        republish=lambda: _republish(resources),
    )


def _samples(resources: Resources, person: Person) -> set[str]:
    """The backgrounds of the versions that were trained on the person's rows."""
    trained = trained_on(resources, persons.keys(resources.tables, person))
    with resources.database.reading() as tx:
        found = [registry.get_version(tx, one.project, one.model, one.version) for one in trained]
    digests = [version.lineage.get(BACKGROUND) for version in found]
    return {digest for digest in digests if digest}


def _republish(resources: Resources) -> None:
    with resources.database.reading() as tx:
        loops = loop_store.applied_loops(tx)
    for loop in loops:
        if (resources.manifests / f"{loop}.json").exists():
            publish(resources, loop, at=SystemClock().now())


@contextmanager
def _online(settings: Settings) -> Iterator[OnlineFeatures | None]:
    if not (settings.online_path / "data.mdb").exists():
        yield None
        return
    with closing(open_key_values(str(settings.online_path), durable=settings.durable)) as store:
        yield OnlineFeatures(store)


def _views(resources: Resources) -> list[View]:
    """What is declared, and what champions were trained with."""
    found: list[View] = []
    with resources.database.reading() as tx:
        for loop in loop_store.applied_loops(tx):
            for model, terms in declared_terms(tx, loop).items():
                found += [msgspec.convert(view, View) for view in terms.views]
                found += champion_views(tx, loop, model)
    return [view for place, view in enumerate(found) if view not in found[:place]]


def _apart(settings: Settings) -> list[Path]:
    """What has erasers of its own; manifests are signed, and made anew."""
    return [
        *_roots(settings)[1:],
        settings.keys_path,
        settings.online_path,
        settings.spool_path,
        settings.manifests_path,
        settings.replays_path,
        *(path for path in settings.home.glob("*") if _is_database(settings, path)),
    ]


def _roots(settings: Settings) -> list[Path]:
    """The home, and the folders of tables and artifacts wherever they are on local disks."""
    urls = [settings.tables_url, settings.artifacts_url]
    local = [Path(url.removeprefix("file://")) for url in urls if not re.match(r"(?!file:)\w+://", url)]
    return [settings.home, *local]


def _is_database(settings: Settings, path: Path) -> bool:
    name = Path(sa.make_url(settings.database_url).database or "").name
    return path.name in {name, f"{name}-wal", f"{name}-shm"}


def _search(settings: Settings, target: Target) -> Searched:
    homes = [settings, *replays.homes_below(settings)]
    kept = [home.keys_path for home in homes]
    kept += [root / name for home in homes for root in _roots(home)[1:2] for name in _kept_tables(target)]
    return files.search(lambda: _roots(settings), settings.home, target, kept)


def _kept_tables(target: Target) -> Collection[str]:
    return [*target.kept, *(f"{name}.quarantine" for name in target.kept)]
