"""What of a declaration is about persons, and the tags that its tables get from that.

A source says which of its columns are personal and whose its rows are. Predictions for such rows, their labels, and features
made of personal columns are about the same persons: their tables are tagged too, so that every reader knows it from the table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from loopline.gates.environment import ONLY_PRODUCTION, endpoint_of
from loopline.labels.intake import label_table
from loopline.scoring.feature_columns import beside
from loopline.scoring.record import FEATURE_PREFIX, prediction_table
from loopline.tables.tables import Tables

Said = Mapping[str, Any]


class Tags(msgspec.Struct, frozen=True):
    """What a table is to be tagged with; a column it does not have yet is tagged once it comes."""

    personal: frozenset[str] = frozenset()
    subject: str | None = None
    keys_of: str | None = None


def tags(said: Said) -> dict[str, Tags]:
    """The tags of each table that holds something about persons, from a declaration as `describe` gives it."""
    found = {f"{said['loop']}.{name}": _of_source(source) for name, source in said["sources"].items()}
    found = {table: told for table, told in found.items() if told.personal or told.subject}
    for name, model in said["models"].items():
        if model["on"] in found:
            projects = [said["loop"], *(f"{said['loop']}.{policy}" for policy in _policies(said, name))]
            found |= dict(_of_model(said, name, projects, found))
    return found


def personal_features(said: Said, model: str) -> frozenset[str]:
    """The model's features that are made of personal columns, or are of one person alone."""
    found = tags({**said, "models": {}})
    declared = said["models"][model]
    given = _hidden(found, declared["on"])
    names = {name for name in declared["given"] if name in given}
    for view in declared["views"]:
        hidden = _hidden(found, view["table"])
        of_one = view["by"] in hidden or view["by"] in given
        names |= {name for name, use in view["features"].items() if of_one or _column(use) in hidden}
    return frozenset(names)


def keep_tags(tables: Tables, wanted: Mapping[str, Tags]) -> None:
    """Tag the tables that are there with what they lack."""
    for name, told in wanted.items():
        if not tables.exists(name):
            continue
        schema = tables.open(name).schema
        personal = {*schema.personal, *(column for column in told.personal if column in schema.all_columns)}
        subject = told.subject if told.subject in schema.columns else None
        tagged = replace(
            schema,
            personal=tuple(personal),
            subject=schema.subject or subject,
            keys_of=schema.keys_of or told.keys_of,
        )
        if tagged != schema:
            tables.create(name, tagged)


def _of_source(source: Said) -> Tags:
    return Tags(frozenset(source["personal"]), source.get("subject"))


def _of_model(said: Said, name: str, projects: list[str], found: Mapping[str, Tags]) -> Iterator[tuple[str, Tags]]:
    model = said["models"][name]
    on, label = model["on"], model["label"]["table"]
    keys_of = on if found[on].subject else None
    hidden = personal_features(said, name)
    columns = {column for feature in hidden for column in (FEATURE_PREFIX + feature, *beside(feature))}
    columns |= {"group"} if model.get("group") in _hidden(found, on) else set()
    columns |= {"label_key"} if _hidden(found, on) & set(model["label"].get("by", [])) else set()
    for project in projects:
        for endpoint in _endpoints(said, name):
            for shadow in (False, True):
                yield (
                    prediction_table(project, endpoint, shadow=shadow),
                    Tags(frozenset({"_key", *columns}), None, keys_of),
                )
        yield label_table(project, name), Tags(frozenset({"_key"}), None, keys_of)
    if label != on:
        told = found.get(label, Tags())
        yield label, Tags(told.personal | {"_key"}, told.subject, None if told.subject else keys_of)


def _endpoints(said: Said, model: str) -> list[str]:
    """Where the model's versions answer: each environment's predictions lie in a table of their own."""
    names = said["operations"].get(model, {}).get("environments", ONLY_PRODUCTION)
    return [endpoint_of(model, names, environment) for environment in names]


def _policies(said: Said, model: str) -> list[str]:
    operation = said["operations"].get(model)
    return list(operation["compare"]) if operation else []


def _hidden(found: Mapping[str, Tags], table: str) -> frozenset[str]:
    told = found.get(table, Tags())
    return told.personal | ({told.subject} if told.subject else frozenset())


def _column(use: Any) -> str:
    """What a feature is made of: a column's name, or an aggregate of one."""
    return str(use["column"] if isinstance(use, Mapping) else use)
