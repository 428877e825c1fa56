"""Contents without a person: whatever packs them, and files that others append to."""

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from loopline.access.erasure import Person, Target, Traces
from loopline.app.erasure import files
from loopline.app.erasure.artifacts import ArtifactSweep
from loopline.app.erasure.content import cleaned, layers
from loopline.models.signing import create_key, verify
from loopline.models.signing import sign as sign_bytes
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.tables.erasure import Theirs

WHO = "cust-004711"
PERSON = Person(WHO, ("customer",), "person:0123456789ab")
TARGET = Target("erasure_1", PERSON, Traces({"shop.orders": {"o7"}}, {"zoë@x.example"}))
THEIRS = Theirs(WHO, None, frozenset({"o7"}), TARGET.needles, also=("customer",))


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return create_key(tmp_path_factory.mktemp("keys"))


def parquet() -> bytes:
    buffer = io.BytesIO()
    rows = {"_key": ["o1", "o7", "o2"], "customer": ["c1", "c2", WHO], "note": [f"see {WHO}", "", ""]}
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def found_in(content: bytes) -> int:
    return sum(TARGET.needles.found(part, binary=binary) for part, binary in layers(content))


def packed(key) -> dict[str, bytes]:
    said = {"who": [WHO, {"zoë@x.example": 1}], "n": 4711}
    return {
        "json": json.dumps(said).encode(),
        "plain": f"line\n{WHO}\n".encode(),
        "parquet": parquet(),
        "zip": gzip.compress(gzip.compress(json.dumps(said).encode())),
        "envelope": sign_bytes(key, "a/type", json.dumps(said).encode()),
    }


@pytest.mark.parametrize("kind", ["json", "plain", "parquet", "zip", "envelope"])
def test_every_packing_is_searched_and_cleaned(key, kind):
    content = packed(key)[kind]
    assert found_in(content) > 0
    new = cleaned(content, TARGET.needles.hidden_in, THEIRS, key)
    assert new is not None
    assert found_in(new) == 0
    assert cleaned(new, TARGET.needles.hidden_in, THEIRS, key) == new
    if kind == "parquet":
        left = pl.read_parquet(io.BytesIO(new))
        assert left.rows() == [("o1", "c1", f"see {PERSON.pseudonym}")]
    if kind == "envelope":
        payload = json.loads(verify(key.public, "a/type", new))
        assert payload == {"who": [PERSON.pseudonym, {PERSON.pseudonym: 1}], "n": 4711}


def test_a_binary_format_that_cannot_be_changed_says_so(key):
    content = b"\x00\x80\xff" + WHO.encode() + b"\x00"
    assert cleaned(content, TARGET.needles.hidden_in, THEIRS, key) is None
    assert found_in(content) == 1


def test_what_names_a_changed_artifact_is_changed_too_and_signed_anew(tmp_path, key):
    artifacts = open_artifacts(str(tmp_path), durable=False)
    inner = artifacts.put(json.dumps({"categories": ["a", WHO]}).encode())
    package = artifacts.put(json.dumps({"holds": inner}).encode())
    envelope = artifacts.put(sign_bytes(key, "a/type", artifacts.get(package)))
    other, sample = artifacts.put(b"nobody"), artifacts.put(b"\x01rows of many")
    database = Database.open(f"sqlite:///{tmp_path}/x.db", durable=False)
    sweep = ArtifactSweep(artifacts, database, key, tables=list, samples=lambda _: {sample}, republish=lambda: None)
    target = replace(TARGET, traces=TARGET.traces | sweep.trace(PERSON))
    planned = sweep(target, dry=True)
    assert set(artifacts.digests()) == {inner, package, envelope, other, sample}
    assert sweep(target, dry=False) == planned
    after = {one.before: one.after for one in planned}
    assert set(artifacts.digests()) == {after[inner], after[package], after[envelope], other}
    assert json.loads(artifacts.get(after[inner]))["categories"] == ["a", PERSON.pseudonym]
    assert json.loads(verify(key.public, "a/type", artifacts.get(after[envelope]))) == {"holds": after[inner]}
    assert sweep(target, dry=False) == []
    database.close()


def test_files_keep_their_length_and_those_with_erasers_of_their_own_are_left(tmp_path):
    for name in ("a.log", "apart/b.log", "deep/c.html"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"x {WHO} cust-0047112\n")
    (tmp_path / "binary").write_bytes(b"\x00" + WHO.encode())
    (tmp_path / ".pending-1").write_text(WHO)
    eraser = files.eraser(tmp_path, apart=lambda: [tmp_path / "apart"])
    assert sorted(one.place for one in eraser.sweep(TARGET, dry=True)) == [
        "file .pending-1",
        "file a.log",
        "file deep/c.html",
    ]
    with (tmp_path / "a.log").open("a") as appending:
        eraser.sweep(TARGET, dry=False)
        appending.write("more\n")
    assert (tmp_path / "a.log").read_text() == f"x {'*' * len(WHO)} cust-0047112\nmore\n"
    assert WHO in (tmp_path / "apart" / "b.log").read_text()
    assert not (tmp_path / ".pending-1").exists()
    told = files.search(lambda: [tmp_path], tmp_path, TARGET, kept=[])
    assert [(one.path, one.count) for one in told.left] == [("apart/b.log", 1), ("binary", 1)]
    assert told.files == 4
    assert Path(tmp_path / "binary").read_bytes() == b"\x00" + WHO.encode()
