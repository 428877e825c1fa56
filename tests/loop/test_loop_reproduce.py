"""A version is built again bit for bit; where it is not, it is said what changed."""

import dataclasses
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from loopline.access.needles import Needles
from loopline.errors import InvalidInput, NotFound
from loopline.incidents.actions import Cause
from loopline.labels.intake import GivenLabel, label_table, push_labels
from loopline.ledger import chain
from loopline.loop.declare import Loop
from loopline.loop.deployment import Predictors
from loopline.loop.history import History
from loopline.loop.lane import lanes
from loopline.loop.load import load_loop
from loopline.loop.reproduce import Reproduction, record_reproduction, reproduce
from loopline.loop.resources import Resources
from loopline.loop.retrain import prepare_retrain
from loopline.models import registry
from loopline.models.package import PAYLOAD_TYPE, decode_package
from loopline.models.signing import sign
from loopline.scoring.record import prediction_table
from loopline.tables.erasure import Theirs

SMALL = Path(__file__).with_name("small_loop.py")


def again(resources: Resources, loop: Loop, version: int = 1, project: str = "parcels") -> Reproduction:
    return reproduce(resources, loop, project=project, model="late", version=version)


def with_fit(loop: Loop, function: Any) -> Loop:
    model = dataclasses.replace(loop.models["late"], fit=function)
    operation = dataclasses.replace(loop.operations["late"], model=model)
    return dataclasses.replace(loop, models={"late": model}, operations={"late": operation})


def kinds(made: Reproduction) -> list[str]:
    return list(dict.fromkeys(change.kind for change in made.changes))


def test_every_version_of_a_replay_is_built_again_bit_for_bit(replayed):
    seen = 0
    for project in ("parcels", "parcels.weekly"):
        with replayed.resources.database.reading() as tx:
            versions = registry.versions(tx, project, "late")
        for version in (versions[0], versions[-1]):
            made = again(replayed.resources, replayed.loop, version.version, project)
            assert (made.same, made.changes, made.package) == (True, [], [])
            assert made.registered == made.rebuilt == version.package
            assert made.rows == version.metrics["rows"]
            seen += 1
    assert seen == 4


def test_what_became_known_later_does_not_matter(copied, small_loop):
    """Rows and corrections that come after, even those that say they were known before: the tables' versions are pinned."""
    with copied.database.reading() as tx:
        version = registry.get_version(tx, "parcels", "late", 1)
    for name in version.lineage["tables"]:
        table = copied.tables.open(name)
        rows = table.read().tail(40)
        late = rows.with_columns(_known_at=pl.col("_known_at") - timedelta(days=25))
        table.append(pl.concat([rows, late]), writer="late", sequence=1)
        table.compact()
    assert again(copied, small_loop).same


def test_a_version_trained_on_pushed_labels_is_built_again(copied, small_loop):
    """Labels pushed before the training count, those after do not, nor do corrections."""
    at, predictions = copied.clock.now(), prediction_table("parcels", "late")
    keys = copied.tables.open(predictions).read(columns=["_key"])["_key"].unique(maintain_order=True)[:60]
    name = label_table("parcels", "late")

    def push(labels: list[float], hours: int) -> None:
        given = [GivenLabel(key=key, label=label) for key, label in zip(keys, labels, strict=True)]
        push_labels(copied.tables, name, given, predictions=predictions, at=at + timedelta(hours=hours), actor="t")

    push([float(place % 2) for place in range(60)], -1)
    lane = lanes(small_loop, seed=copied.seed, compare=False)[0]
    cause = Cause("test", "a test", "someone", at)
    prepared = prepare_retrain(copied, lane, History(copied.tables), Predictors(copied), cause)
    with copied.database.transaction() as tx:
        prepared.commit(tx)
        newest = registry.versions(tx, "parcels", "late")[-1]
    assert newest.lineage["tables"][name] == 1
    push([1.0] * 60, 1)
    assert again(copied, small_loop, newest.version).same


def other_code(train: Any, params: dict[str, Any]) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(**params, max_depth=2, random_state=train.seed).fit(train.X, train.y)


def undetermined(train: Any, params: dict[str, Any]) -> HistGradientBoostingClassifier:
    chance = np.random.RandomState(np.random.SeedSequence().entropy % 2**32)  # what must not be done
    return HistGradientBoostingClassifier(**params, max_features=0.3, random_state=chance).fit(train.X, train.y)


def breaks(_train: Any, _params: dict[str, Any]) -> None:
    raise ZeroDivisionError


def test_other_code_is_told_with_what_it_comes_to(replayed):
    made = again(replayed.resources, with_fit(replayed.loop, other_code))
    assert (made.same, kinds(made)) == (False, ["code"])
    assert {change.sentence for change in made.changes} >= {"late is gone", "other_code is new"}
    assert any(line.startswith("models[0]: sha256:") for line in made.package)
    assert made.scores.rows > made.rows
    assert 0 < made.scores.max_abs_difference < 1
    assert (made.trees.before, made.trees.after, made.trees.first) == (20, 20, made.trees.first)
    assert made.trees.different > 0
    assert "loop file" in made.advice[0]


def test_a_function_that_does_not_give_the_same_twice_is_found(replayed):
    made = again(replayed.resources, with_fit(replayed.loop, undetermined))
    assert "nondeterminism" in kinds(made)
    assert any("train.seed" in line for line in made.advice)


def test_a_fit_that_fails_is_an_outcome(replayed):
    made = again(replayed.resources, with_fit(replayed.loop, breaks))
    assert (made.same, made.rebuilt, kinds(made)) == (False, None, ["code", "failure"])
    assert "ZeroDivisionError" in made.changes[-1].sentence


def test_a_changed_helper_or_constant_is_named(replayed, tmp_path):
    changed = tmp_path / "small_loop.py"
    changed.write_text(SMALL.read_text().replace("BROKEN_FROM = 320", "BROKEN_FROM = 321"))
    made = again(replayed.resources, load_loop(changed))
    assert (made.same, [change.sentence for change in made.changes]) == (True, ["BROKEN_FROM is another"])
    made = again(replayed.resources, load_loop(changed), 2)
    assert made.same, "version 2 had more than 321 rows"


def test_features_and_labels_declared_otherwise_are_told(replayed, tmp_path):
    changed = tmp_path / "small_loop.py"
    text = SMALL.read_text().replace('over=["12h", "3d"]', 'over=["12h", "2d"]')
    changed.write_text(text)
    made = again(replayed.resources, load_loop(changed))
    assert (made.same, kinds(made)) == (True, ["definition"])
    other = tmp_path / "other_label.py"
    other.write_text(text.replace('pl.col("hours") > 12', 'pl.col("hours") > 13'))
    made = again(replayed.resources, load_loop(other))
    assert (made.same, kinds(made)) == (False, ["definition", "data"]), made.changes
    assert made.changes[-1].sentence == "values are others in: label"


def test_erased_rows_are_told(copied, small_loop):
    """A person's rows leave every version of a table, also the pinned one."""
    gone = frozenset(f"p{number:04}" for number in range(40, 48))
    theirs = Theirs(value="someone", subject=None, keys=gone, needles=Needles(gone, "erased"))
    copied.tables.open("parcels.sendings").erase(theirs, erasure="e1")
    made = again(copied, small_loop)
    assert (made.same, kinds(made)) == (False, ["data"])
    told = re.fullmatch(r"there were (\d+) rows to train on, there are (\d+)", made.changes[0].sentence)
    assert 1 <= int(told[1]) - int(told[2]) <= 8
    assert made.rows == int(told[2])
    assert made.scores.rows < int(told[1]) * 3


def test_a_table_version_that_is_gone_is_told_and_the_newest_taken(copied, small_loop):
    for entry in Path(copied.tables.open("parcels.sendings").uri).glob("**/*.parquet"):
        entry.unlink()
    made = again(copied, small_loop)
    assert not made.same
    assert kinds(made) == ["failure"] or "data" in kinds(made)


def registered_as(resources: Resources, **changes: Any) -> int:
    """Version 1 again, with another package or lineage."""
    with resources.database.transaction() as tx:
        found = registry.get_version(tx, "parcels", "late", 1)
        package = decode_package(resources.artifacts.get(found.package))
        package = msgspec.structs.replace(package, **changes.get("package", {}))
        content = package.encoded()
        made = registry.register_version(
            tx,
            project="parcels",
            model="late",
            package=resources.artifacts.put(content),
            envelope=resources.artifacts.put(sign(resources.key, PAYLOAD_TYPE, content)),
            run_id=found.run_id,
            lineage=found.lineage | changes.get("lineage", {}),
            metrics=found.metrics,
            at=resources.clock.now(),
            cause=f"test {changes}",
            created_by="test",
        )
    return made.version


def test_other_libraries_are_named_and_that_the_model_is_the_same(copied, small_loop):
    with copied.database.reading() as tx:
        libraries = decode_package(
            copied.artifacts.get(registry.get_version(tx, "parcels", "late", 1).package)
        ).libraries
    version = registered_as(copied, package={"libraries": libraries | {"numpy": "1.0.0"}})
    made = again(copied, small_loop, version)
    assert (made.same, kinds(made)) == (False, ["libraries"])
    assert made.changes[0].sentence == f"numpy was 1.0.0, is {libraries['numpy']}"
    assert made.package == [f"libraries.numpy: 1.0.0, now {libraries['numpy']}"]
    assert (made.scores.different, made.scores.max_abs_difference, made.trees.different) == (0, 0.0, 0)


def test_another_machine_is_told(copied, small_loop):
    with copied.database.reading() as tx:
        kept = registry.get_version(tx, "parcels", "late", 1).lineage["rebuild"]
    version = registered_as(
        copied, lineage={"rebuild": kept | {"environment": kept["environment"] | {"python": "2.7"}}}
    )
    made = again(copied, small_loop, version)
    assert (made.same, kinds(made)) == (True, ["environment"])


def test_what_cannot_be_built_again_says_so(copied, small_loop):
    with copied.database.transaction() as tx:
        found = registry.get_version(tx, "parcels", "late", 1)
        by_hand = registry.register_version(
            tx,
            project="parcels",
            model="late",
            package=found.package,
            envelope=found.envelope,
            run_id=None,
            lineage={},
            metrics={},
            at=copied.clock.now(),
            cause="by hand",
            created_by="me",
        )
    with pytest.raises(InvalidInput) as caught:
        again(copied, small_loop, by_hand.version)
    assert caught.value.code == "reproduce.no_lineage"
    with pytest.raises(NotFound) as missing:
        again(copied, small_loop, 99)
    assert missing.value.code == "model.version_not_found"
    with pytest.raises(NotFound) as other:
        again(copied, dataclasses.replace(small_loop, operations={}))
    assert other.value.code == "reproduce.other_loop"


def test_the_outcome_goes_into_the_ledger_where_asked(copied, small_loop):
    made = again(copied, small_loop)
    with copied.database.reading() as tx:  # not asked for, not written
        assert not [entry for entry in chain.entries(tx, "parcels") if entry.kind == "version.reproduced"]
    record_reproduction(copied, made, actor="local:me")
    with copied.database.reading() as tx:
        [entry] = [entry for entry in chain.entries(tx, "parcels") if entry.kind == "version.reproduced"]
    assert (entry.subject, entry.actor, entry.body["same"]) == ("late:1", "local:me", True)
