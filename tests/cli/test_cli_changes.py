"""What people change on the command line: champions, freezes, tokens, loop files. Each with its ledger entry, or not at all."""

import json
import os
import pwd
import shutil
import sqlite3
from contextlib import suppress

import polars as pl
import pytest

from loopline.models.manifest import read_manifest
from loopline.models.signing import load_public_keys
from loopline.tables.tables import Tables

ME = f"local:{pwd.getpwuid(os.getuid()).pw_name}"


def champions(told):
    return {one["project"]: one["version"] for one in told("models") if one["champion"]}


def newest(told, project="tiny"):
    return told("ledger", "show", "--project", project, "--limit", "1")[0]


def served(home):
    manifest = read_manifest(home / "manifests" / "tiny.json", load_public_keys(home / "keys"))
    return manifest.deployments[0].version


def test_a_promotion_serves_and_is_in_the_ledger(told, home):
    before = champions(told)
    assert before["tiny"] == before["tiny.train_once"] == 1
    done = told("promote", "returns:2", "--reason", "looks right")
    assert done["changed"]
    assert champions(told) == before | {"tiny": 2}
    assert served(home) == 2
    entry = newest(told)
    assert (entry["kind"], entry["subject"], entry["actor"]) == ("promotion", "returns:2", ME)
    assert entry["body"]["replaces"] == 1
    assert entry["body"]["evidence"]["cause"] == "looks right"
    assert any("looks right" in sentence for sentence in told("why", "returns:2")["sentences"])


def test_promoting_the_champion_changes_nothing(told):
    before = newest(told)
    assert told("promote", "1")["changed"] is False
    assert newest(told) == before


def test_a_rollback_brings_the_earlier_champion_back_and_ends_the_incident(told, home):
    assert [one["kind"] for one in told("incidents", "--open", "--project", "tiny")] == ["harm"]
    told("promote", "returns:2")
    done = told("rollback", "--reason", "worse")
    assert done["sentence"] == "Version 1 serves again in place of 2."
    assert champions(told)["tiny"] == served(home) == 1
    entry = told("ledger", "show", "--kind", "rollback")[0]
    assert (entry["subject"], entry["actor"], entry["body"]["replaces"]) == ("returns:1", ME, 2)
    assert entry["body"]["evidence"] == {"cause": "worse", "smoke_test": "passed"}
    assert told("incidents", "--open", "--project", "tiny") == []
    assert told("rollback", "--to", "2")["changed"]
    assert champions(told)["tiny"] == 2


def test_every_change_in_a_replays_home_is_dated_after_its_end_in_order(told):
    told("promote", "returns:2")
    told("freeze")
    told("rollback")
    told("unfreeze")
    told("promote", "returns:2")
    times = [entry["at"] for entry in told("ledger", "show")][::-1]
    assert times == sorted(times)
    assert all("2024-01-31" <= time < "2024-02-01" for time in times[-5:])


def test_an_incident_is_resolved_once(told, loopline):
    (found,) = told("incidents", "--open", "--project", "tiny")
    told("incidents", "resolve", found["id"], "--reason", "known")
    assert told("incidents", "--open", "--project", "tiny") == []
    assert (newest(told)["kind"], newest(told)["actor"]) == ("incident.resolved", ME)
    assert loopline("incidents", "resolve", found["id"]).code == 4


def test_freeze_and_unfreeze(told):
    frozen = told("freeze", "--reason", "holidays")
    assert (frozen["by"], frozen["reason"]) == (ME, "holidays")
    assert told("freeze", "--reason", "again") == frozen
    assert told("status")[0]["frozen"] == frozen
    assert told("unfreeze")["was_frozen"] is True
    assert told("unfreeze")["was_frozen"] is False
    assert told("status")[0]["frozen"] is None
    assert [one["kind"] for one in told("ledger", "show", "--limit", "2")] == ["unfreeze", "freeze"]


def test_a_secret_is_shown_once_and_kept_nowhere(told, home, loopline):
    issued = told("tokens", "issue", "bob", "--role", "viewer", "--valid", "1h", "--name", "dashboard")
    secret, token = issued["secret"], issued["token"]["token_id"]
    listed = loopline("tokens", "list").out + loopline("tokens", "list", "--json").out
    assert token in listed
    assert secret not in listed
    files = [path for path in home.rglob("*") if path.is_file()]
    held = []
    for path in files:
        with suppress(FileNotFoundError):  # SQLite removes its log when the last connection closes
            held += [path] if secret.encode() in path.read_bytes() else []
    assert not held
    told("tokens", "revoke", token)
    told("tokens", "revoke", token)
    (found,) = told("tokens", "list")
    assert found["revoked_at"] is not None
    access = told("ledger", "show", "--project", "@access")
    assert [one["kind"] for one in access] == ["token.revoked", "token.issued", "principal.created"]
    assert {one["actor"] for one in access} == {ME}
    assert secret not in str(access)


def test_a_second_role_is_added_to_the_first(told):
    told("tokens", "issue", "bob")
    told("tokens", "issue", "bob", "--role", "viewer")
    assert [one["principal"] for one in told("tokens", "list")] == ["bob", "bob"]
    assert "role.granted" in [one["kind"] for one in told("ledger", "show", "--project", "@access")]


def test_tables_are_listed_with_what_they_hold(told, home):
    tables = Tables(home / "tables")
    listed = {one["table"]: one["rows"] for one in told("tables")}
    assert listed == {name: tables.open(name).read().height for name in tables.names()}
    shown = told("tables", "tiny.orders", "--rows", "3")
    newest_rows = tables.open("tiny.orders").read().tail(3)
    assert [row["order"] for row in shown["newest_rows"]] == newest_rows["order"].to_list()
    assert shown["schema"]["price"] == "Float64"
    assert sum(one["rows"] for one in shown["versions"]) <= shown["rows"]


def test_why_a_prediction(told, home):
    rows = Tables(home / "tables").open("predictions.tiny.returns").read()
    row = rows.filter(pl.col("model_version") == 1).row(-1, named=True)
    found = told("why", row["prediction_id"])
    assert found["kind"] == "prediction"
    assert f"{row['score']:.4f}" in found["sentences"][0]
    assert row["_key"] in found["sentences"][0]
    features = {name.removeprefix("feature_"): row[name] for name in row if name.startswith("feature_")}
    assert found["facts"]["features"] == pytest.approx(features)
    assert {one["kind"] for one in found["entries"]} == {"version.registered", "promotion"}


def test_why_an_alarm_and_its_incident(told):
    (entry,) = told("ledger", "show", "--kind", "alarm")
    alarm = told("why", entry["subject"])
    assert alarm["kind"] == "alarm"
    assert "log_loss" in alarm["sentences"][0]
    (found,) = told("incidents", "--open", "--project", "tiny")
    incident = told("why", found["id"])
    assert (incident["kind"], incident["sentences"][0]) == ("incident", found["sentence"])
    assert incident["entries"][0]["kind"] == "incident.opened"


def test_a_report_is_written_again_as_it_was(loopline, home, tmp_path):
    assert loopline("report", "--out", str(tmp_path / "again.html")).code == 0
    assert (tmp_path / "again.html").read_bytes() == (home / "report-returns.html").read_bytes()


def changed(tiny, folder, *replacements):
    text = tiny.read_text()
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after)
    file = folder / "changed_loop.py"
    file.write_text(text)
    return str(file)


def test_a_file_in_force_changes_nothing(told, loopline, tiny):
    assert told("plan", str(tiny))["changes"] == []
    assert loopline("plan", str(tiny), "--exit-code").code == 0
    before = newest(told)
    assert told("apply", str(tiny))["changes"] == []
    assert newest(told) == before


def test_a_changed_view_is_planned_applied_and_then_in_force(told, loopline, tiny, tmp_path):
    file = changed(tiny, tmp_path, ('over="5d"', 'over="6d"'))
    before = newest(told)
    changes = told("plan", file)["changes"]
    kinds = {change["path"]: change["kind"] for change in changes}
    assert kinds["models.returns.views[0].features.shop_rate_5d"] == "remove"
    assert kinds["models.returns.views[0].features.shop_rate_6d"] == "add"
    assert loopline("plan", file, "--exit-code").code == 9
    assert newest(told) == before, "a plan changes nothing"
    assert told("apply", file)["changes"] == changes
    assert (newest(told)["kind"], newest(told)["actor"]) == ("loop.applied", ME)
    assert told("plan", file)["changes"] == []


def test_a_renamed_source_touches_the_model_that_reads_it(told, tiny, tmp_path):
    file = changed(tiny, tmp_path, ("outcomes", "results"))
    made = told("plan", file)
    kinds = {change["path"]: change["kind"] for change in made["changes"]}
    assert kinds["sources.outcomes"] == "remove"
    assert kinds["sources.results"] == "add"
    assert kinds["models.returns.label.table"] == "change"
    assert made["touched"] == ["model returns reads tiny.outcomes", "endpoint returns serves model returns"]


def test_up_of_a_file_that_was_not_applied_is_a_conflict(loopline, tiny, tmp_path):
    done = loopline("up", changed(tiny, tmp_path, ('over="5d"', 'over="6d"')), "--json")
    assert (done.code, done.value["error"]["code"]) == (4, "up.not_applied")


@pytest.mark.parametrize(
    ("project", "change"),
    [
        ("tiny", "UPDATE ledger SET actor = 'nobody' WHERE project = 'tiny' AND seq = 3"),
        (
            "tiny",
            "UPDATE ledger SET body = replace(body, '\"version\":1', '\"version\":2') WHERE project = 'tiny' AND seq = 3",
        ),
        ("tiny", "DELETE FROM ledger WHERE project = 'tiny' AND seq = 3"),
        ("@access", "UPDATE ledger SET at = replace(at, '20', '19') WHERE project = '@access' AND seq = 1"),
    ],
    ids=["actor", "body", "deleted", "access"],
)
def test_a_tampered_ledger_is_found_and_its_entry_named(told, loopline, home, project, change):
    told("tokens", "issue", "bob")
    heads = told("ledger", "verify")
    assert heads["tiny"]["seq"] == newest(told)["seq"]
    with sqlite3.connect(home / "loopline.db") as database:
        assert database.execute(change).rowcount == 1
    database.close()
    done = loopline("ledger", "verify", "--json")
    assert (done.code, done.value["error"]["code"]) == (6, "ledger.broken")
    assert done.value["error"]["context"] == {"project": project, "seq": 1 if project == "@access" else 3}


def test_a_tampered_manifest_is_noticed_before_it_is_built_upon(told, loopline, home):
    told("promote", "returns:2")
    path = home / "manifests" / "tiny.json"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = loopline("tokens", "issue", "bob", "--json")
    assert done.code == 6
    assert path.read_bytes() == content


def flip_a_byte(home, digest):
    name = digest.removeprefix("sha256:")
    path = home / "artifacts" / name[:2] / name[2:]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def model_of(home, version):
    """The digest of the compiled model: a package names it, and lies in the envelope that signs it."""
    name = version["package"].removeprefix("sha256:")
    return json.loads((home / "artifacts" / name[:2] / name[2:]).read_bytes())["models"][0]


@pytest.mark.parametrize("kept", ["model", "envelope"])
def test_a_damaged_artifact_is_neither_promoted_nor_rolled_back_to(told, loopline, home, kept):
    versions = {one["version"]: one for one in told("models") if one["project"] == "tiny"}
    flip_a_byte(home, model_of(home, versions[2]) if kept == "model" else versions[2]["envelope"])
    before = told("ledger", "verify"), champions(told)
    done = loopline("promote", "returns:2", "--json")
    assert (done.code, done.value["error"]["code"]) == (6, "artifact.corrupt")
    assert loopline("rollback", "--to", "2").code == 6
    assert (told("ledger", "verify"), champions(told)) == before
    assert not (home / "manifests").exists()


def test_a_damaged_earlier_champion_leaves_the_present_one(told, loopline, home):
    told("promote", "returns:2")
    versions = {one["version"]: one for one in told("models") if one["project"] == "tiny"}
    flip_a_byte(home, model_of(home, versions[1]))
    head = told("ledger", "verify")
    assert loopline("rollback").code == 6
    assert told("ledger", "verify") == head
    assert champions(told)["tiny"] == served(home) == 2


def test_a_lost_signing_key_is_not_replaced_silently(loopline, home):
    shutil.move(home / "keys" / "signing.pem", home / "keys" / "elsewhere")
    assert loopline("promote", "returns:2").code in {3, 6}
