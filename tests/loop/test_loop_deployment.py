from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from loopline.access.principals import create_principal
from loopline.access.tokens import issue_token
from loopline.decisions.policy import Decision
from loopline.errors import Corrupt, NotFound
from loopline.incidents.actions import Cause
from loopline.loop.deployment import (
    Predictors,
    declared_terms,
    deployment,
    manifest_path,
    publish,
    put_decision,
    terms_of,
)
from loopline.models import decision_versions, registry
from loopline.models.manifest import read_manifest
from loopline.scoring.record import prediction_table

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_an_applied_declaration_serves_without_its_file(replayed):
    with replayed.resources.database.reading() as tx:
        told = declared_terms(tx, "parcels")
    terms = terms_of(replayed.loop.operations["late"])
    assert told == {"late": terms}
    assert (terms.key, terms.at, terms.fallback) == ("parcel", "sends", 0.4)
    with replayed.resources.database.reading() as tx, pytest.raises(NotFound) as caught:
        declared_terms(tx, "trains")
    assert caught.value.code == "loop.not_applied"


def test_what_serves_is_the_champion_with_the_one_before_and_its_decision(replayed):
    terms = terms_of(replayed.loop.operations["late"])
    with replayed.resources.database.reading() as tx:
        served = deployment(tx, "parcels", "late", terms)
        versions = {found.version: found for found in registry.versions(tx, "parcels", "late")}
        decision = decision_versions.current_decision(tx, "parcels", "late")
    assert decision is not None
    assert (served.version, served.package, served.package_envelope) == (1, versions[1].package, versions[1].envelope)
    assert served.previous is not None
    assert (served.previous.version, served.previous.package) == (2, versions[2].package)
    assert (served.decision, served.decision_version) == (versions[1].lineage["decision"], decision.version)
    assert (served.key, served.at, served.fallback, served.endpoint) == ("parcel", "sends", 0.4, "late")


def test_without_a_champion_the_fallback_serves_as_version_0(replayed):
    terms = terms_of(replayed.loop.operations["late"])
    with replayed.resources.database.reading() as tx:
        served = deployment(tx, "elsewhere", "late", terms)
    decision = msgspec.convert(served.decision, Decision)
    assert (served.version, served.package, served.previous, served.decision_version) == (0, "", None, 0)
    assert decision.threshold == pytest.approx(1 / 4)
    assert decision.decide([0.4]).tolist() == ["positive"]


def test_predictors_give_what_was_scored(replayed):
    resources = replayed.resources
    rows = resources.tables.open(prediction_table("parcels", "late")).read()
    with resources.database.reading() as tx:
        for version in (1, 2):
            predictor = Predictors(resources).version(tx, "parcels", "late", version)
            scored = rows.filter(rows["model_version"] == version)
            features = scored.rename({f"feature_{name}": name for name in predictor.signature.names})
            np.testing.assert_allclose(predictor.predict(features), scored["score"].to_numpy(), rtol=1e-12)


def test_predictors_are_kept_and_refuse_what_was_not_signed(replayed):
    predictors = Predictors(replayed.resources)
    with replayed.resources.database.reading() as tx:
        first, second = registry.versions(tx, "parcels", "late")
    assert predictors.load(first.package, first.envelope) is predictors.load(first.package, first.envelope)
    with pytest.raises(Corrupt):
        predictors.load(second.package, first.envelope)
    with pytest.raises(NotFound):
        predictors.load("sha256:" + "0" * 64, "sha256:" + "0" * 64)


def test_a_manifest_is_published_when_it_says_something_new(copied):
    first = publish(copied, "parcels", at=NOW)
    assert first is not None
    assert publish(copied, "parcels", at=NOW + timedelta(hours=1)) is None
    assert read_manifest(manifest_path(copied, "parcels"), copied.key.public) == first
    assert (first.sequence, first.created_at, [one.version for one in first.deployments]) == (1, NOW, [1])
    assert first.tokens == []

    with copied.database.transaction() as tx:
        create_principal(tx, "shop", "service", ["scorer"], NOW)
        _, token = issue_token(tx, "shop", scopes=None, expires_at=NOW + timedelta(days=1), at=NOW, name="till")
    second = publish(copied, "parcels", at=NOW)
    assert second is not None
    assert (second.sequence, [grant.digest for grant in second.tokens]) == (2, [token.digest])
    third = publish(copied, "parcels", at=NOW + timedelta(days=2))
    assert third is not None
    assert (third.sequence, third.tokens) == (3, [])


def test_a_policy_is_published_by_itself(copied):
    made = publish(copied, "parcels.weekly", at=NOW)
    assert made is not None
    assert [one.version for one in made.deployments] == [3]
    assert not manifest_path(copied, "parcels").exists()
    with pytest.raises(NotFound):
        publish(copied, "trains", at=NOW)


def test_a_decision_is_put_once_for_its_cause(copied):
    cause = Cause(key="k", sentence="s", actor="ann", at=NOW)
    with copied.database.transaction() as tx:
        before = len(decision_versions.decisions(tx, "parcels", "late"))
        numbers = [put_decision(tx, "parcels", "late", {"threshold": 0.3}, cause) for _ in range(2)]
        current = decision_versions.current_decision(tx, "parcels", "late")
    assert numbers == [before + 1] * 2
    assert current is not None
    assert (current.version, current.body) == (before + 1, {"threshold": 0.3})
