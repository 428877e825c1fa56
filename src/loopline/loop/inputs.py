"""The inputs of a model, watched: data faults as they come, and drift as the explanation of harm. Neither pages."""

from datetime import datetime, timedelta

import msgspec
import polars as pl

from loopline.gates.promotion import CHAMPION
from loopline.incidents import incident
from loopline.loop import store
from loopline.loop.alarms import record_alarm
from loopline.loop.discreet import discreet
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.models.explanation import SUMMARY, decode_summary
from loopline.monitoring.alarm import Alarm
from loopline.monitoring.alarm_kinds import DATA_FAULT
from loopline.monitoring.drift import Suspect, diagnose
from loopline.monitoring.history import keep_profile, raise_data_fault
from loopline.monitoring.profile import ReferenceProfile, profile, reference_profile
from loopline.monitoring.quality import find_faults
from loopline.scoring.feature_columns import as_kinds, by_name
from loopline.scoring.record import prediction_table
from loopline.storage.database import Transaction
from loopline.training.training_set import LabelledRows
from loopline.values import Window, canonical_json, duration

REFERENCE_BLOCKS = 28
LEAST_ROWS = 50
SUSPECTS = 5
LEAST_IMPORTANCE = 0.01  # what hardly mattered in training may still be what broke: it comes last, not never
PROFILE = "inputs_profile"


def freeze_inputs(resources: Resources, lane: Lane, rows: LabelledRows) -> str:
    """Profile the last 28 blocks of the training rows, with their bins, as an artifact; gives its digest."""
    block = lane.operation.watch.block
    newest = rows.frame["_event_time"].max()
    oldest = newest - REFERENCE_BLOCKS * duration(block) if isinstance(newest, datetime) else None
    recent = rows.frame if oldest is None else rows.frame.filter(pl.col("_event_time") > oldest)
    cut = recent.with_columns(_block=pl.col("_event_time").dt.truncate(block))
    shown = discreet(resources, lane, cut)
    parts = [part.select(rows.recipe.feature_names) for part in shown.partition_by("_block", maintain_order=True)]
    return resources.artifacts.put(canonical_json(reference_profile(parts)))


class References:
    """The reference profiles of champions, read once."""

    def __init__(self, resources: Resources) -> None:
        self._artifacts = resources.artifacts
        self._kept: dict[str, ReferenceProfile] = {}

    def importance(self, tx: Transaction, lane: Lane) -> dict[str, float]:
        """How much each of the champion's inputs matters, 1 the most; empty where that was not summed up in its training."""
        champion = registry.alias(tx, lane.project, lane.model, CHAMPION)
        found = None if champion is None else registry.get_version(tx, lane.project, lane.model, champion)
        digest = found.lineage.get(SUMMARY) if found else None
        if digest is None:
            return {}
        told = decode_summary(self._artifacts.get(digest)).relative_importance()
        return {name: max(value, LEAST_IMPORTANCE) for name, value in told.items()}

    def of_champion(self, tx: Transaction, lane: Lane) -> ReferenceProfile | None:
        """What the lane's champion was trained on; None without a champion, or where it was registered without one. What an external model was
        trained on nobody knows: its is what it was first asked.
        """
        digest = self._profile(tx, lane)
        if digest is None:
            return None
        if digest not in self._kept:
            self._kept[digest] = msgspec.json.decode(self._artifacts.get(digest), type=ReferenceProfile)
        return self._kept[digest]

    def _profile(self, tx: Transaction, lane: Lane) -> str | None:
        if lane.operation.model.external is not None:
            taken = store.one_reference(tx, lane.project, lane.model)
            return taken["profile"] if taken else None
        champion = registry.alias(tx, lane.project, lane.model, CHAMPION)
        if champion is None:
            return None
        found: str | None = registry.get_version(tx, lane.project, lane.model, champion).lineage.get(PROFILE)
        return found


def watch_inputs(
    resources: Resources, lane: Lane, references: References, rows: pl.DataFrame, window: Window
) -> Alarm | None:
    """Profile the rows scored in a window against what the champion was trained on; gives the alarm if something broke.

    `rows` holds the features by name. Inputs that are as usual again end the incident of the fault before.
    """
    with resources.database.reading() as tx:
        reference = references.of_champion(tx, lane)
    if reference is None or rows.height < LEAST_ROWS:
        return None
    current = profile(discreet(resources, lane, as_kinds(rows, _kinds(reference))), reference.binning)
    faults = find_faults(reference, current)
    with resources.database.transaction() as tx:
        keep_profile(tx, project=lane.project, model=lane.model, window=window, profile=current)
        alarm = raise_data_fault(
            tx, project=lane.project, model=lane.model, window=window, faults=faults, at=window.end
        )
        if alarm is not None:
            record_alarm(tx, alarm, at=window.end)
        elif not faults:
            _end_faults(tx, lane, window)
    return alarm


def _end_faults(tx: Transaction, lane: Lane, window: Window) -> None:
    for found in incident.find(tx, lane.project, model=lane.model, only_open=True):
        if found.kind == DATA_FAULT and found.opened_at < window.end:
            told = "The inputs are as usual again."
            incident.resolve(tx, found, at=window.end, actor="monitor:data", sentence=told)


def suspects(
    resources: Resources, lane: Lane, references: References, *, since: datetime, until: datetime
) -> list[Suspect]:
    """Which inputs lie furthest from what the champion was trained on over (since, until], the likeliest cause first."""
    with resources.database.reading() as tx:
        reference, importance = references.of_champion(tx, lane), references.importance(tx, lane)
    if reference is None:
        return []
    rows = logged_features(resources, lane, Window(since, max(until, since + timedelta(microseconds=1))))
    if rows.height < LEAST_ROWS:
        return []
    shown = discreet(resources, lane, as_kinds(rows, _kinds(reference)))
    return diagnose(reference, profile(shown, reference.binning), importance)[:SUSPECTS]


def _kinds(reference: ReferenceProfile) -> dict[str, str]:
    numbers, categories = reference.binning.numbers, reference.binning.categories
    return dict.fromkeys(numbers, "number") | dict.fromkeys(categories, "category")


def logged_features(resources: Resources, lane: Lane, window: Window) -> pl.DataFrame:
    """The features of the predictions made for times in the window, as they were logged, by name."""
    name = prediction_table(lane.project, lane.model)
    if not resources.tables.exists(name):
        return pl.DataFrame()
    return by_name(resources.tables.open(name).read(event_after=window.start, event_until=window.end))


def features_that_came(resources: Resources, lane: Lane, window: Window) -> pl.DataFrame:
    """The same of the predictions that became known in the window, whenever they were for."""
    name = prediction_table(lane.project, lane.model)
    if not resources.tables.exists(name):
        return pl.DataFrame()
    return by_name(resources.tables.open(name).read(known_after=window.start, known_until=window.end))
