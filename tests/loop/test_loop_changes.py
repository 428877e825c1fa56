"""What people change by hand, on a copy of the replayed home: version 1 serves, version 2 did and was broken."""

from datetime import UTC, datetime

import pytest

from loopline.errors import Conflict, Corrupt, LooplineError, NotFound
from loopline.gates.promotion import CHAMPION
from loopline.incidents import incident
from loopline.incidents.freeze import frozen
from loopline.ledger import chain
from loopline.loop import changes, handling
from loopline.loop.deployment import manifest_path
from loopline.models import decision_versions, registry
from loopline.models.manifest import read_manifest

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LATE = {"project": "parcels", "model": "late"}
ANN = {"actor": "ann", "reason": "looked at it"}


def served(resources) -> tuple[int | None, int, int]:
    """Champion, version in the manifest, and version whose decision decides."""
    with resources.database.reading() as tx:
        champion = registry.alias(tx, "parcels", "late", CHAMPION)
        decision = decision_versions.current_decision(tx, "parcels", "late")
        versions = registry.versions(tx, "parcels", "late")
    manifest = read_manifest(manifest_path(resources, "parcels"), resources.key.public)
    deciding = [found.version for found in versions if decision and found.lineage["decision"] == decision.body]
    return champion, manifest.deployments[0].version, deciding[0]


def entries_after(resources, seq: int) -> list[tuple[str, str, str]]:
    with resources.database.reading() as tx:
        chain.verify(tx, "parcels")
        return [(entry.kind, entry.actor, entry.subject) for entry in chain.entries(tx, "parcels", after=seq)]


def end_of(resources) -> int:
    with resources.database.reading() as tx:
        return chain.head(tx, "parcels").seq


def open_incident(resources) -> str:
    with resources.database.transaction() as tx:
        at = resources.clock.now()
        made, _ = incident.open_or_join(
            tx, **LATE, kind="harm", alarm="alarm_x", at=at, sentence="It hurts.", diagnosis=[]
        )
    return made.id


def test_a_person_can_promote(copied):
    before = end_of(copied)
    outcome = changes.promote(copied, **LATE, version=2, **ANN)
    assert (outcome.changed, outcome.sentence) == (True, "Version 2 replaced version 1.")
    assert served(copied) == (2, 2, 2)
    assert entries_after(copied, before) == [("promotion", "ann", "late:2")]


def test_promoting_the_champion_changes_nothing(copied):
    before = end_of(copied)
    assert not changes.promote(copied, **LATE, version=1, **ANN).changed
    assert entries_after(copied, before) == []


def test_a_person_can_roll_back_and_that_ends_the_incident(copied):
    incident_id, before = open_incident(copied), end_of(copied)
    outcome = changes.roll_back(copied, **LATE, **ANN)
    assert outcome.sentence == "Version 2 serves again in place of 1."
    assert served(copied) == (2, 2, 2)
    assert entries_after(copied, before) == [
        ("rollback", "ann", "late:2"),
        ("incident.resolved", "ann", incident_id),
    ]


def test_changes_that_lead_nowhere_are_refused_and_change_nothing(copied):
    before = end_of(copied)
    attempts = {
        "model.version_not_found": lambda: changes.promote(copied, **LATE, version=9, **ANN),
        "rollback.serves_already": lambda: changes.roll_back(copied, **LATE, to=1, **ANN),
        "rollback.no_earlier": lambda: changes.roll_back(copied, project="trains", model="late", **ANN),
        "incident.unknown": lambda: handling.resolve_incident(copied, project="parcels", incident_id="inc_x", **ANN),
    }
    for code, attempt in attempts.items():
        with pytest.raises(LooplineError) as caught:
            attempt()
        assert caught.value.code == code
        assert isinstance(caught.value, (NotFound, Conflict))
    assert end_of(copied) == before


def test_a_version_whose_artifact_was_altered_is_not_promoted(copied):
    """Its envelope is not what was signed: it stays where it is, and so does what serves."""
    with copied.database.reading() as tx:
        found = registry.get_version(tx, "parcels", "late", 2)
    [stored] = [path for path in artifact_files(copied) if path.name.endswith(found.envelope[-60:])]
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes() + b" ")
    before = end_of(copied)
    with pytest.raises(Corrupt):
        changes.promote(copied, **LATE, version=2, **ANN)
    assert end_of(copied) == before


def artifact_files(resources):
    return [path for path in resources.manifests.parent.joinpath("artifacts").rglob("*") if path.is_file()]


def test_freezing_and_unfreezing_are_told(copied):
    before = end_of(copied)
    made = changes.freeze(copied, project="parcels", **ANN)
    assert changes.freeze(copied, project="parcels", actor="bob", reason="me too") == made
    with copied.database.reading() as tx:
        assert frozen(tx, "parcels") == made
    assert changes.unfreeze(copied, project="parcels", **ANN)
    assert not changes.unfreeze(copied, project="parcels", **ANN)
    assert entries_after(copied, before) == [("freeze", "ann", "parcels"), ("unfreeze", "ann", "parcels")]


def test_a_person_can_resolve_an_incident_once(copied):
    incident_id = open_incident(copied)
    handling.resolve_incident(copied, project="parcels", incident_id=incident_id, **ANN)
    with pytest.raises(Conflict):
        handling.resolve_incident(copied, project="parcels", incident_id=incident_id, **ANN)
    with copied.database.reading() as tx:
        assert incident.get(tx, "parcels", incident_id).closed_at == copied.clock.now()
