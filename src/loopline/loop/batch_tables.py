"""Tables that hold scores made in batch: which there are, and what of them is about persons."""

from collections.abc import Iterator, Mapping

from loopline.errors import Conflict
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.personal import Tags, keep_tags, tags
from loopline.loop.resources import Resources
from loopline.scoring.record import prediction_table
from loopline.sources.whole import Input, WholeTable
from loopline.tables.quarantine import SUFFIX
from loopline.tables.tables import Tables

SCORED = "batch.scored"


def tags_of(resources: Resources, project: str, endpoint: str, source: Input | None = None) -> Tags:
    """What a table with scores of a model is to be tagged with: what its predictions are, and what a table says that is scored."""
    with resources.database.reading() as tx:
        applied = store.latest_applied(tx, project.split(".", 1)[0])
    said = tags(applied["declaration"]) if applied else {}
    found = said.get(prediction_table(project, endpoint), Tags())
    if not isinstance(source, WholeTable):
        return found
    schema = source.schema
    owner = source.name if schema.subject else schema.keys_of
    if not schema.guarded:
        return found
    return Tags(found.personal | {"_key"}, found.subject, found.keys_of or owner)


def tag(tables: Tables, into: str, wanted: Tags) -> None:
    """Tag the table and its quarantine."""
    keep_tags(tables, {into: wanted})
    if wanted.personal or wanted.keys_of:
        keep_tags(tables, {into + SUFFIX: quarantine_tags(wanted)})


def quarantine_tags(wanted: Tags) -> Tags:
    """The tags of a quarantine: its rows are texts of whole rows."""
    return Tags(frozenset({"_key", "row"}), None, wanted.keys_of)


def refuse_others(tables: Tables, into: str, wanted: Tags) -> None:
    """Raise `Conflict` "batch.other_persons" where a table's rows are said to be of the persons of another table."""
    keys_of = tables.open(into).schema.keys_of if tables.exists(into) else None
    if keys_of is not None and wanted.keys_of is not None and keys_of != wanted.keys_of:
        raise Conflict(
            "batch.other_persons",
            f"the keys in {into!r} are those of {keys_of}, and these would be those of {wanted.keys_of}",
            remedy="Give --into a table of their own: an erasure finds a person's rows by their keys.",
        )


def scored_tables(resources: Resources) -> dict[str, Tags]:
    """Every table that was scored into, as the ledgers say, with the tags that the declarations in force give it."""
    found: dict[str, Tags] = {}
    for project, into, endpoint in _scored(resources):
        if resources.tables.exists(into):
            told = tags_of(resources, project, endpoint)
            found[into] = _both(found.get(into, Tags()), told)
            if told.personal:
                found[into + SUFFIX] = quarantine_tags(told)
    return found


def _scored(resources: Resources) -> Iterator[tuple[str, str, str]]:
    with resources.database.reading() as tx:
        entries = [entry for project in chain.projects(tx) for entry in chain.entries(tx, project, kind=SCORED)]
    for entry in entries:
        said: Mapping[str, str] = entry.body
        yield entry.project, said["into"], said["model"]


def _both(one: Tags, other: Tags) -> Tags:
    return Tags(one.personal | other.personal, one.subject or other.subject, one.keys_of or other.keys_of)
