import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from loopline.errors import NotFound
from loopline.gates.promotion import CHAMPION
from loopline.incidents import incident
from loopline.ledger import chain
from loopline.loop import changes
from loopline.loop.status import status
from loopline.loop.why import why
from loopline.models import registry
from loopline.monitoring.alarm import list_alarms
from loopline.monitoring.performance import read_performance
from loopline.scoring.record import prediction_table

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_status_tells_every_project(replayed):
    own, weekly = status(replayed.resources)
    assert (own.project, weekly.project) == ("parcels", "parcels.weekly")
    for project in (own, weekly):
        with replayed.resources.database.reading() as tx:
            head = chain.verify(tx, project.project)
            changed = registry.alias_history(tx, project.project, "late", CHAMPION)[-1]
        [model] = project.models
        assert (project.ledger_entries, project.ledger, project.frozen) == (head.seq, head.digest, None)
        assert (model.model, model.champion, model.since) == ("late", changed.version, changed.from_at)
        assert (model.turns, model.last_turn) == (33, T0 + 33 * DAY)
    assert (own.models[0].versions, weekly.models[0].versions) == (2, 3)
    assert own.incidents == []
    assert [found.kind for found in weekly.incidents] == ["harm"]


def test_a_monitor_shows_how_near_it_is_to_an_alarm(replayed):
    own, weekly = ([*project.models[0].monitors] for project in status(replayed.resources))
    assert [monitor.name for monitor in (*own, *weekly)] == ["harm", "harm"]
    with replayed.resources.database.reading() as tx:
        blocks = [read_performance(tx, project, "late", "harm") for project in ("parcels", "parcels.weekly")]
    for monitor, rows in zip((*own, *weekly), blocks, strict=True):
        share = max(0, rows[-1].log_evidence) / math.log1p(365.25 / 10)
        assert monitor.evidence == pytest.approx(share if share < 1 else 0)  # after an alarm it begins again
    assert own[0].last_excess is not None
    assert weekly[0].last_excess is not None
    assert own[0].last_excess < own[0].allowed_excess < weekly[0].last_excess
    assert own[0].watermark == T0 + 32 * DAY
    assert own[0].coverage is not None
    assert 0.8 < own[0].coverage <= 1


def test_status_shows_a_freeze(copied):
    made = changes.freeze(copied, project="parcels", actor="ann", reason="strike")
    assert [project.frozen for project in status(copied)] == [made, None]


def test_why_a_version_serves(replayed):
    found = why(replayed.resources, "late:2")
    assert (found.kind, [entry.kind for entry in found.entries]) == ("version", ["version.registered", "promotion"])
    assert "times as many labelled rows" in found.sentences[0]
    assert found.facts["metrics"]["rows"] > 0
    back = why(replayed.resources, "late:1")
    assert [entry.kind for entry in back.entries] == ["version.registered", "promotion", "rollback"]
    assert "more harm" in back.sentences[-1]


def test_a_version_that_only_another_policy_has_is_found(replayed):
    found = why(replayed.resources, "late:3")
    assert found.facts["project"] == "parcels.weekly"
    assert "every 7d" in found.sentences[0]


def test_why_an_alarm_and_its_incident(replayed):
    with replayed.resources.database.reading() as tx:
        [alarm] = list_alarms(tx, "parcels")
        [found] = incident.find(tx, "parcels")
    told = why(replayed.resources, alarm.id)
    assert (told.kind, told.sentences) == ("alarm", [alarm.evidence["sentence"], "It pages."])
    assert [entry.kind for entry in told.entries] == ["alarm"]
    told = why(replayed.resources, found.id)
    assert told.sentences[0] == alarm.evidence["sentence"]
    assert told.sentences[1] == "It is resolved."
    assert told.facts["alarms"] == [alarm.id]
    assert [entry.kind for entry in told.entries] == ["incident.opened", "incident.resolved"]


@pytest.mark.parametrize("version", [0, 1, 2])
def test_why_a_prediction(replayed, version):
    table = replayed.resources.tables.open(prediction_table("parcels", "late"))
    row = table.read(where=pl.col("model_version") == version).row(5, named=True)
    told = why(replayed.resources, row["prediction_id"])
    assert (told.subject, told.kind, told.facts["project"]) == (row["prediction_id"], "prediction", "parcels")
    assert f"{row['score']:.4f}" in told.sentences[0]
    assert row["_key"] in told.sentences[0]
    assert repr(row["decision"]) in told.sentences[1]
    assert ("fallback" in told.sentences[0]) is (version == 0)
    assert bool(told.entries) is (version > 0)
    if version:
        assert told.facts["features"]["way"] == row["feature_way"]


@pytest.mark.parametrize(
    "subject", ["pr_none", "alarm_none", "inc_none", "late:9", "late", "late:x", "late:01", "other:1", ""]
)
def test_what_is_not_there_is_not_found(replayed, subject):
    with pytest.raises(NotFound):
        why(replayed.resources, subject)
