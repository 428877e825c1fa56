"""Decisions on the command line: shown, changed, tried first, brought back."""

import getpass

import pytest

ME = f"local:{getpass.getuser()}"


def in_force(told) -> dict:
    (found,) = [one for one in told("decisions", "returns") if one["in_force"]]
    return found


def test_a_decision_is_listed_changed_and_brought_back(told, home):
    first = in_force(told)
    assert first["terms"]["spec"]["false_negative"] == 3
    assert first["expected"]["lower"] < first["expected"]["mean"] < first["expected"]["upper"]
    tried = told("decide", "returns", "--false-negative", "8", "--dry-run")
    assert tried["version"] is None
    assert in_force(told) == first
    made = told("decide", "returns", "--false-negative", "8", "--reason", "a return costs more now")
    assert made["decision"] == tried["decision"]
    assert made["decision"]["threshold"] == pytest.approx(1 / 9)
    assert 0 < made["changed"] < 1
    now = in_force(told)
    assert (now["version"], now["by"], now["reason"]) == (made["version"], ME, "a return costs more now")
    told("decisions", "rollback", "returns", "--reason", "too many")
    assert in_force(told)["version"] == first["version"]
    told("decisions", "rollback", "--to", str(made["version"]))
    assert in_force(told)["version"] == made["version"]
    kinds = [entry["kind"] for entry in told("ledger", "show", "--project", "tiny", "--limit", "3")]
    assert kinds == ["decision.rolled_back", "decision.rolled_back", "decision.changed"]


def test_for_people_it_says_what_changes_and_how_to_go_back(loopline):
    done = loopline("decide", "--threshold", "0.4", "--abstain-at-most", "0", "--reason", "a trial")
    assert done.code == 0
    assert "threshold 0.4" in done.out
    assert "loopline decisions rollback returns" in done.out
    listed = loopline("decisions")
    assert "in force" in listed.out
    assert "a trial" in listed.out


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["decide", "--false-negative", "8"], 2, "decision.no_reason"),
        (["decide", "--reason", "x"], 2, "decision.nothing_asked"),
        (["decide", "--false-positive", "0", "--reason", "x"], 2, "decision.costs"),
        (["decide", "nobody", "--false-negative", "8", "--reason", "x"], 3, "model.unknown"),
        (["decisions", "rollback", "--to", "99"], 3, "model.decision_not_found"),
        (["decisions", "rollback"], 3, "decision.no_earlier"),
        (["decisions", "returns", "--to", "1"], 2, "decisions.usage"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(loopline, told, arguments, code, error):
    before = in_force(told)
    done = loopline(*arguments)
    assert (done.code, f"[{error}]" in done.err) == (code, True), done
    assert in_force(told) == before
