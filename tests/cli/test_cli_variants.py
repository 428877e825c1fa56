"""Canaries, splits and shadows on the command line."""

import pytest

from loopline.cli.shares import share
from loopline.errors import InvalidInput
from loopline.models.manifest import read_manifest
from loopline.models.signing import load_public_keys


def variants(home):
    manifest = read_manifest(home / "manifests" / "tiny.json", load_public_keys(home / "keys"))
    return {one.name: (one.role, one.served.version, one.share) for one in manifest.deployments[0].variants}


def test_shares_are_written_as_people_do():
    assert [share(text) for text in ("5%", "0.05", "100%", "1")] == [0.05, 0.05, 1.0, 1.0]
    for text in ("0", "101%", "-1", "many", "nan"):
        with pytest.raises(InvalidInput) as caught:
            share(text)
        assert caught.value.code == "share.unreadable"


def test_a_version_is_deployed_as_each_and_taken_away(told, loopline, home):
    told(
        "deploy",
        "returns:2",
        "--canary",
        "20%",
        "--errors",
        "0.05",
        "--step",
        "50%",
        "--labels",
        "0.1",
        "--loss",
        "brier",
    )
    told("deploy", "returns:2", "--split", "30%", "--name", "b", "--by", "key")
    told("deploy", "returns:2", "--shadow", "--name", "s")
    assert variants(home) == {"v2": ("canary", 2, 0.2), "b": ("split", 2, 0.3), "s": ("shadow", 2, 1.0)}
    found = told("canary", "returns")
    assert [one["deployed"]["name"] for one in found] == ["v2", "b", "s"]
    assert found[0]["deployed"]["terms"]["steps"] == [0.5]
    assert [one["name"] for one in found[0]["measures"]] == ["errors", "slow", "brier"]
    printed = loopline("canary").out
    assert "v2 against version 1" in printed
    assert [one["variant"] for one in told("endpoints")[0]["served"]] == ["champion", "v2", "b", "s"]
    assert "shadow" in loopline("endpoints").out
    assert told("canary", "returns", "--share", "40%")["sentence"] == "v2 has 40 % instead of 20 %."
    told("canary", "returns", "--name", "b", "--stop")
    told("shadow", "returns", "--stop")
    assert variants(home) == {"v2": ("canary", 2, 0.4)}
    assert told("canary", "returns", "--promote")["sentence"] == "Version 2 replaced version 1."
    assert variants(home) == {}
    assert [one["deployed"]["outcome"] for one in told("canary", "--all")] == ["promoted", "stopped", "stopped"]


def test_without_a_role_a_version_becomes_the_champion(told):
    assert told("deploy", "returns:2")["sentence"] == "Version 2 replaced version 1."


def test_what_is_not_clear_is_refused(loopline, home):
    refused = {
        "deploy.one_role": ("deploy", "returns:2", "--canary", "5%", "--shadow"),
        "deploy.only_by_key": ("deploy", "returns:2", "--split", "5%", "--by", "weather"),
        "share.unreadable": ("deploy", "returns:2", "--canary", "500%"),
        "canary.one_change": ("canary", "--promote", "--stop"),
        "variants.none_running": ("canary", "returns", "--stop"),
        "shadow.none": ("shadow", "returns"),
    }
    for code, arguments in refused.items():
        done = loopline(*arguments)
        assert done.code in {2, 3}
        assert f"[{code}]" in done.err
    assert "Nothing runs beside a champion" in loopline("canary").out
