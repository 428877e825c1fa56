"""What people deploy beside a champion, on a copy of the replayed home: version 1 serves, 2 and later ones do not."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

import loopline as ll
from loopline.access.principals import create_principal
from loopline.access.tokens import authenticate, issue_token
from loopline.errors import Conflict, InvalidInput, LooplineError, NotFound
from loopline.gates import approval, variants
from loopline.gates.canary_terms import canary_terms
from loopline.gates.variants import Wanted
from loopline.ledger import chain
from loopline.loop import changes, deploy, handling
from loopline.loop.deployment import manifest_path, publish
from loopline.loop.plan import apply
from loopline.models import registry
from loopline.models.manifest import read_manifest
from loopline.models.package import PAYLOAD_TYPE
from loopline.models.packaging import package
from loopline.models.signature import infer
from loopline.models.signing import sign
from loopline.scoring.variants import Shares

ANN = {"actor": "ann", "reason": "to see"}


def wanted(version=2, role="canary", share=0.2, **said) -> Wanted:
    return Wanted(
        project="parcels", model="late", environment="production", version=version, role=role, share=share, **said
    )


def manifest(resources):
    return read_manifest(manifest_path(resources, "parcels"), resources.key.public).deployments[0]


def running(resources) -> dict[str, variants.Deployed]:
    with resources.database.reading() as tx:
        return {one.name: one for one in variants.find(tx, "parcels", model="late", only_running=True)}


def kinds_after(resources, seq: int) -> list[tuple[str, str]]:
    with resources.database.reading() as tx:
        chain.verify(tx, "parcels")
        return [(entry.kind, entry.subject) for entry in chain.entries(tx, "parcels", after=seq)]


def end_of(resources) -> int:
    with resources.database.reading() as tx:
        return chain.head(tx, "parcels").seq


def test_a_canary_is_in_the_ledger_and_the_manifest(copied):
    before = end_of(copied)
    done = deploy.deploy(copied, wanted(terms=canary_terms()), **ANN)
    assert done.sentence == "Version 2 answers 20 % of the keys as a canary beside version 1, as v2."
    assert kinds_after(copied, before) == [("variant.started", "late:2")]
    served = manifest(copied)
    [canary] = served.variants
    assert (served.version, canary.name, canary.role, canary.served.version, canary.share) == (
        1,
        "v2",
        "canary",
        2,
        0.2,
    )
    assert canary.served.package != served.package
    assert sum(end - start for start, end in canary.spans) == 200_000


def test_shares_of_what_answers_are_disjoint_and_growing_takes_from_the_champion_only(copied):
    deploy.deploy(copied, wanted(role="split", share=0.3, name="b"), **ANN)
    deploy.deploy(copied, wanted(share=0.1, name="c"), **ANN)
    deploy.deploy(copied, wanted(role="shadow", share=1.0, name="s"), **ANN)
    keys = [f"p{number}" for number in range(3000)]
    before = Shares(manifest(copied).variants).choose_many(keys)
    assert deploy.change_share(copied, running(copied)["b"], 0.5, **ANN).sentence == "b has 50 % instead of 30 %."
    after = Shares(manifest(copied).variants).choose_many(keys)
    moved = {(was, became) for was, became in zip(before, after, strict=True) if was != became}
    assert moved == {("champion", "b")}
    assert {"champion", "b", "c"} == set(before)
    salts = {one.name: one.salt for one in manifest(copied).variants}
    assert salts["b"] == salts["c"] != salts["s"]


def test_after_all_have_ended_keys_are_shared_out_anew(copied):
    def share_out() -> list[str]:
        deploy.deploy(copied, wanted(share=0.5, name="x"), **ANN)
        chosen = Shares(manifest(copied).variants).choose_many([f"p{number}" for number in range(400)])
        deploy.stop(copied, running(copied)["x"], **ANN)
        return chosen

    first = share_out()
    copied.clock.turn_to(copied.clock.now().replace(microsecond=1))
    assert first != share_out()
    assert manifest(copied).variants == ()


def test_what_cannot_be_deployed_is_refused_and_changes_nothing(copied):
    deploy.deploy(copied, wanted(share=0.3), **ANN)
    before, was = end_of(copied), manifest(copied)
    attempts = {
        "variants.is_champion": wanted(version=1, role="split"),
        "variants.name_taken": wanted(role="split", name="v2"),
        "variants.canary_running": wanted(name="other"),
        "variants.nothing_left": wanted(role="split", share=0.7, name="b"),
        "variants.bad_share": wanted(role="split", share=0.0, name="b"),
        "variants.bad_name": wanted(role="split", name="champion"),
        "model.version_not_found": wanted(version=99),
    }
    for code, said in attempts.items():
        with pytest.raises(LooplineError) as caught:
            deploy.deploy(copied, said, **ANN)
        assert caught.value.code == code
        assert isinstance(caught.value, (Conflict, InvalidInput, NotFound))
    with pytest.raises(Conflict) as caught:
        deploy.change_share(copied, running(copied)["v2"], 1.0, **ANN)
    assert caught.value.code == "variants.nothing_left"
    assert (end_of(copied), manifest(copied)) == (before, was)


def test_starting_again_under_one_key_starts_once(copied):
    at = copied.clock.now()
    with copied.database.transaction() as tx:
        made = [variants.start(tx, wanted(), against=1, actor="ann", why="w", at=at, key="k") for _ in range(2)]
        assert made[0] == made[1]
        grown = variants.set_share(tx, made[0], 0.4, actor="ann", why="w", at=at, key="g")
        again = variants.set_share(tx, grown, 0.4, actor="ann", why="w", at=at, key="g")
        assert grown.share == again.share == 0.4
        back = variants.set_share(tx, grown, 0.1, actor="ann", why="w", at=at, key="h")
        assert variants.set_share(tx, back, 0.4, actor="ann", why="w", at=at, key="g").share == 0.1
        variants.end(tx, back, "stopped", actor="ann", why="w", at=at, key="e")
        assert variants.end(tx, back, "stopped", actor="ann", why="w", at=at, key="e").state == "ended"
        with pytest.raises(Conflict, match="has ended"):
            variants.end(tx, back, "promoted", actor="ann", why="w", at=at, key="f")
        entries = chain.entries(tx, "parcels", subject="late:2")
    assert [one.kind for one in entries if one.kind.startswith("variant.")] == [
        "variant.started",
        "variant.share",
        "variant.share",
        "variant.ended",
    ]


def test_a_person_promotes_a_canary(copied):
    deploy.deploy(copied, wanted(), **ANN)
    deploy.deploy(copied, wanted(role="shadow", name="s"), **ANN)
    before = end_of(copied)
    done = deploy.promote_variant(copied, running(copied)["v2"], **ANN)
    assert done.sentence == "Version 2 replaced version 1."
    assert running(copied) == {}
    assert (manifest(copied).version, manifest(copied).variants) == (2, ())
    assert [kind for kind, _ in kinds_after(copied, before)] == ["variant.ended", "promotion", "variant.ended"]


def test_another_champion_ends_a_canary_that_was_compared_with_the_one_before(copied):
    deploy.deploy(copied, wanted(), **ANN)
    deploy.deploy(copied, wanted(role="split", name="b"), **ANN)
    third = with_columns(copied, way=[float(number) for number in range(60)])
    changes.promote(copied, project="parcels", model="late", version=third, **ANN)
    assert set(running(copied)) == {"b"}
    with copied.database.reading() as tx:
        ended = variants.find(tx, "parcels", model="late")[0]
    assert (ended.name, ended.outcome) == ("v2", "superseded")


def with_columns(resources, **columns: list) -> int:
    """The number of a version that takes these columns from its callers."""
    frame = pl.DataFrame(columns)
    label = np.arange(frame.height) % 2
    signature = infer(frame, label, set(columns))
    matrix = signature.encode(frame)
    model = HistGradientBoostingClassifier(max_iter=2).fit(matrix, label)
    content = package(model, signature, matrix, calibrator=None, artifacts=resources.artifacts).encoded()
    with resources.database.transaction() as tx:
        made = registry.register_version(
            tx,
            project="parcels",
            model="late",
            package=resources.artifacts.put(content),
            envelope=resources.artifacts.put(sign(resources.key, PAYLOAD_TYPE, content)),
            run_id=None,
            lineage={},
            metrics={},
            at=resources.clock.now(),
            cause=f"by hand {frame.schema}",
            created_by="ann",
        )
    return made.version


def test_a_version_that_takes_other_columns_is_refused_and_one_that_takes_fewer_is_not(copied):
    numbers, names = [float(number) for number in range(60)], ["fast", "slow"] * 30
    fewer = with_columns(copied, way=numbers)
    assert deploy.deploy(copied, wanted(version=fewer), **ANN).changed
    for version in (with_columns(copied, way=numbers, weight=numbers), with_columns(copied, way=names)):
        with pytest.raises(Conflict) as caught:
            deploy.deploy(copied, wanted(version=version, role="split"), **ANN)
        assert caught.value.code == "deploy.other_columns"
    assert set(running(copied)) == {f"v{fewer}"}


def test_a_variants_own_features_are_looked_up_too_and_another_meaning_is_refused(copied):
    version = with_columns(copied, way=[float(number) for number in range(60)])
    view = {"kind": "latest", "table": "parcels.deliveries", "by": "carrier"}

    def featured(name: str) -> int:
        with copied.database.transaction() as tx:
            found = registry.get_version(tx, "parcels", "late", version)
            lineage = {"views": [{**view, "features": {name: "hours"}}]}
            said = {key: getattr(found, key) for key in ("project", "model", "package", "envelope", "run_id")}
            made = registry.register_version(
                tx, **said, lineage=lineage, metrics={}, at=copied.clock.now(), cause=name, created_by="ann"
            )
        return made.version

    publish(copied, "parcels", at=copied.clock.now())
    taken = next(name for one in manifest(copied).views for name in one["features"])
    with pytest.raises(Conflict) as caught:
        deploy.deploy(copied, wanted(version=featured(taken)), **ANN)
    assert caught.value.code == "deploy.other_features"
    before = manifest(copied).views
    deploy.deploy(copied, wanted(version=featured("newest_hours")), **ANN)
    assert manifest(copied).views == [*before, {**view, "features": {"newest_hours": "hours"}}]


def test_where_an_approval_is_taken_a_canary_needs_it_and_its_promotion_uses_the_same(copied, small_loop):
    operation = replace(small_loop.operations["late"], approve=ll.approval())
    apply(
        copied.database, replace(small_loop, operations={"late": operation}), actor="local:ann", at=copied.clock.now()
    )
    asked = deploy.deploy(copied, wanted(), **ANN)
    assert (asked.changed, running(copied)) == (False, {})
    at = copied.clock.now()
    with copied.database.transaction() as tx:
        create_principal(tx, "bob", "person", ["approver"], at)
        secret, _ = issue_token(tx, "bob", scopes=None, expires_at=at + timedelta(days=300), at=at, name="t")
        bob = authenticate(tx, secret, at)
    handling.approve(copied, bob, project="parcels", approval_id=asked.evidence["approval"], reason="fine")
    shadow = deploy.deploy(copied, wanted(role="shadow", name="s"), **ANN)
    assert deploy.deploy(copied, wanted(), **ANN).changed
    assert (shadow.changed, running(copied)["v2"].approval) == (True, asked.evidence["approval"])
    assert deploy.promote_variant(copied, running(copied)["v2"], **ANN).sentence == "Version 2 replaced version 1."
    with copied.database.reading() as tx:
        [used] = approval.find(tx, "parcels")
        [entry] = chain.entries(tx, "parcels", kind="promotion", newest_first=True, limit=1)
    assert (used.state, entry.body["evidence"]["approval"]) == ("used", {"id": used.id})
