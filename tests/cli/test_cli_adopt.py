"""`loopline adopt` on the command line."""

import pytest

SCRIPT = "import pandas as pd\nLEAST = 2\ndf = pd.read_csv('a.csv')\ndf = df[df['p'] > LEAST]\ndf.to_csv('b.csv')\n"


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "explore.py"
    path.write_text(SCRIPT)
    return path


def test_without_a_file_to_write_the_pipeline_is_printed_and_the_rest_goes_to_standard_error(run, script):
    script.write_text(f"{SCRIPT}df.head()\n")
    done = run("adopt", str(script))
    assert done.code == 0
    compile(done.out, "made.py", "exec")
    assert "only shows something" in done.err


def test_it_is_written_and_told(run, script, tmp_path):
    done = run("adopt", str(script), "--to", str(tmp_path / "made.py"))
    assert done.code == 0
    assert "pipeline `explore`, 3 steps" in done.out
    assert "@ll.pipeline" in (tmp_path / "made.py").read_text()


def test_json_has_all_of_it(run, script):
    made = run("adopt", str(script), "--json").value
    assert made["pipeline"] == "explore"
    assert [param["name"] for param in made["params"]] == ["least", "a_csv", "b_csv"]
    assert [step["reads"] for step in made["steps"]] == [["a.csv"], [], []]
    assert made["findings"] == []


def test_what_blocks_is_told_and_nothing_is_written(run, script, tmp_path):
    script.write_text("print(nothing)\n")
    done = run("adopt", str(script), "--to", str(tmp_path / "made.py"))
    assert done.code == 10
    assert "`nothing` is never made" in done.out
    assert not (tmp_path / "made.py").exists()
    done = run("adopt", str(script), "--json")
    assert done.code == 10
    assert [(one["kind"], one["weight"], one["line"]) for one in done.value["findings"]] == [
        ("order.never_made", "blocks", 1)
    ]


@pytest.mark.parametrize(("arguments", "code"), [(["none.py"], 3), (["SCRIPT", "--to", "SCRIPT"], 4)])
def test_errors_have_their_exit_codes(run, script, arguments, code):
    done = run("adopt", *(str(script) if one == "SCRIPT" else one for one in arguments))
    assert done.code == code
    assert script.read_text() == SCRIPT
