"""Why: a prediction, an alarm, an incident or a version, traced back through what is recorded."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loopline.errors import NotFound
from loopline.incidents import incident
from loopline.ledger import chain
from loopline.loop.logged import logged_prediction
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.models import registry
from loopline.monitoring.alarm import read_alarm, sentence_of
from loopline.scoring.feature_columns import one_of_each
from loopline.storage.database import Transaction


class Why(msgspec.Struct, frozen=True):
    """What something is, in sentences, and all that is recorded of it. `entries` are the ledger entries that led to it."""

    subject: str
    kind: str
    sentences: list[str]
    facts: dict[str, Any]
    entries: list[chain.Entry]


def why(resources: Resources, subject: str) -> Why:
    """Explain `pr_...` (a prediction), `alarm_...`, `inc_...` (an incident) or `MODEL:VERSION`. Raises `NotFound`."""
    if subject.startswith("pr_"):
        return _prediction(resources, subject)
    with resources.database.reading() as tx:
        if subject.startswith("alarm_"):
            return _alarm(tx, subject)
        if subject.startswith("inc_"):
            return _incident(tx, subject)
        return _version(tx, subject)


def _prediction(resources: Resources, subject: str) -> Why:
    found = logged_prediction(resources, subject)
    if found is None:
        raise _unknown(subject, "It may not be shipped to the table yet; ask again in a moment.")
    with resources.database.reading() as tx:
        return _told(tx, found.project, found.model, found.shown(resources))


def _told(tx: Transaction, project: str, model: str, row: dict[str, Any]) -> Why:
    features = one_of_each(row)
    version = row["model_version"]
    answered = f"version {version} ({row['variant']})" if version else "the declared fallback: there was no model"
    sentences = [
        f"{model} answered {row['score']:.4f} for {row['_key']} as of {row['_event_time']:%Y-%m-%d %H:%M} UTC, by {answered}.",
        f"Decision {row['decision_version']} made that {row['decision']!r}.",
    ]
    if row["degraded"]:
        sentences.append(f"It was not in full health: {', '.join(row['degraded'])}.")
    entries = _entries(tx, project, f"{model}:{version}") if version else []
    return Why(row["prediction_id"], "prediction", sentences, {"project": project, "features": features}, entries)


def _alarm(tx: Transaction, subject: str) -> Why:
    found = read_alarm(tx, subject)
    sentences = [sentence_of(found.evidence, f"{found.kind} on {found.model}")]
    sentences.append("It pages." if found.page else "It does not page.")
    return Why(subject, "alarm", sentences, msgspec.to_builtins(found), _entries(tx, found.project, subject))


def _incident(tx: Transaction, subject: str) -> Why:
    for project in projects(tx):
        for found in incident.find(tx, project):
            if found.id == subject:
                entries = _entries(tx, project, subject)
                told = [found.sentence, f"It is {found.state}.", *map(_handled, entries[1:])]
                told += [f"Its owner is {found.owner}."] if found.owner else []
                told += _likeliest(found.diagnosis)
                return Why(subject, "incident", told, msgspec.to_builtins(found), entries)
    raise _unknown(subject, "`loopline incidents` lists them.")


def _likeliest(causes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The causes in their order, and what to do about the first."""
    told = [str(one["sentence"]) for one in causes if "sentence" in one]
    if not told:
        return []
    remedy = causes[0].get("remedy")
    return [
        "Likeliest causes:",
        *(f"{place}. {one}" for place, one in enumerate(told, 1)),
        *([f"To do: {remedy}"] if remedy else []),
    ]


def _handled(entry: chain.Entry) -> str:
    """What a person, or time, did about an incident."""
    said = entry.body.get("sentence", "")
    to = f" to {entry.body['to']}" if "to" in entry.body else ""
    return f"{entry.at:%Y-%m-%d %H:%M} UTC, {entry.kind} by {entry.actor}{to}: {said}"


def _version(tx: Transaction, subject: str) -> Why:
    model, _, number = subject.partition(":")
    for project in projects(tx):
        for found in registry.versions(tx, project, model):
            if number == str(found.version):
                entries = _entries(tx, project, subject)
                sentences = [_summary(entry) for entry in entries]
                return Why(subject, "version", sentences, msgspec.to_builtins(found), entries)
    raise _unknown(subject, "Give a prediction's, alarm's or incident's id, or MODEL:VERSION.")


def _summary(entry: chain.Entry) -> str:
    evidence = entry.body.get("evidence", entry.body)
    verdicts = " ".join(verdict["sentence"] for verdict in evidence.get("verdicts", []))
    cause = evidence.get("cause", "")
    return f"{entry.at:%Y-%m-%d %H:%M} UTC, {entry.kind} by {entry.actor}: {cause}. {verdicts}".strip()


def _entries(tx: Transaction, project: str, subject: str) -> list[chain.Entry]:
    return chain.entries(tx, project, subject=subject)


def _unknown(subject: str, remedy: str) -> NotFound:
    return NotFound("why.unknown", f"nothing here is called {subject!r}", remedy=remedy)
