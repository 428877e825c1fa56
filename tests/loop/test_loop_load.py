import sys
from pathlib import Path

import pytest

from loopline.errors import DeclarationError, NotFound
from loopline.loop.load import load_loop

GOOD = 'import loopline as ll\nloop = ll.Loop("flights")\n'


def written(folder: Path, text: str, name: str = "loop.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(path: Path) -> DeclarationError:
    with pytest.raises(DeclarationError) as caught:
        load_loop(path)
    return caught.value


def place(error: DeclarationError) -> tuple[str, int]:
    return error.context["file"], error.context["line"]


def test_a_loop_file_gives_its_loop(tmp_path: Path):
    assert load_loop(written(tmp_path, GOOD)).name == "flights"
    assert load_loop(str(tmp_path / "loop.py")).name == "flights"


def test_one_loop_under_two_names_is_one(tmp_path: Path):
    assert load_loop(written(tmp_path, GOOD + "again = loop\n")).name == "flights"


def test_its_folder_is_importable_while_it_runs_and_not_after(tmp_path: Path):
    written(tmp_path, 'NAME = "neighbours"\n', "beside_the_loop.py")
    path = written(tmp_path, "import loopline as ll\nfrom beside_the_loop import NAME\nloop = ll.Loop(NAME)\n")
    before = list(sys.path)
    assert load_loop(path).name == "neighbours"
    assert sys.path == before


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path):
    for path in (tmp_path / "none.py", tmp_path):
        with pytest.raises(NotFound) as caught:
            load_loop(path)
        assert caught.value.code == "loop.file_not_found"


def test_a_syntax_error_names_its_line(tmp_path: Path):
    path = written(tmp_path, GOOD + "\nfor x in (1, 2)\n    pass\n")
    error = refusal(path)
    assert (error.code, place(error)) == ("loop.syntax", (str(path), 4))


def test_a_syntax_error_in_a_neighbour_names_the_neighbour(tmp_path: Path):
    neighbour = written(tmp_path, "x = = 1\n", "broken_neighbour.py")
    error = refusal(written(tmp_path, "import broken_neighbour\n"))
    assert (error.code, place(error)) == ("loop.syntax", (str(neighbour), 1))


@pytest.mark.parametrize("fails", ["1 / 0", "undefined_name", "import no_such_module_anywhere", "raise KeyError('k')"])
def test_what_the_file_raises_is_told_with_its_line(fails, tmp_path: Path):
    path = written(tmp_path, f"{GOOD}\n\ndef work():\n    {fails}\n\n\nwork()\n")
    error = refusal(path)
    assert (error.code, place(error)) == ("loop.failed", (str(path), 6))
    assert error.__cause__ is not None
    assert type(error.__cause__).__name__ in error.message


def test_a_failure_in_a_neighbour_names_the_line_that_imports_it(tmp_path: Path):
    written(tmp_path, "import math\nmath.sqrt(-1)\n", "failing_neighbour.py")
    path = written(tmp_path, "import loopline as ll\nimport failing_neighbour\n")
    assert place(refusal(path)) == (str(path), 2)


def test_an_error_of_ours_keeps_its_code_and_gains_its_line(tmp_path: Path):
    path = written(tmp_path, GOOD + "ll.grown(0.5)\n")
    error = refusal(path)
    assert (error.code, place(error)) == ("playbook.no_growth", (str(path), 3))


@pytest.mark.parametrize(("text", "count"), [("x = 1\n", 0), (GOOD + 'more = ll.Loop("more")\n', 2), ("", 0)])
def test_a_file_declares_one_loop(text, count, tmp_path: Path):
    error = refusal(written(tmp_path, text))
    assert error.code == "loop.not_one"
    assert f"{count} loops" in error.message


def test_what_is_not_python_is_refused(tmp_path: Path):
    assert refusal(written(tmp_path, GOOD, "loop.txt")).code == "loop.not_python"


def test_a_file_that_failed_can_be_mended_and_loaded(tmp_path: Path):
    path = written(tmp_path, GOOD + "1 / 0\n")
    before = list(sys.path)
    refusal(path)
    assert sys.path == before
    path.write_text(GOOD.replace("flights", "trains") + "# mended\n")
    assert load_loop(path).name == "trains"
