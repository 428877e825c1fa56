"""The libraries in C: built wherever there is a compiler, and never another one loaded than that of the sources."""

import runpy
import shutil
from pathlib import Path

import pytest

from loopline import native

SOURCES = {f"{library.folder}/{name}" for library in native.LIBRARIES for name in ("kernel.c", "wide.h")}


@pytest.fixture
def copied(tmp_path) -> Path:
    """The module and the sources away from this repository, not yet built."""
    for name in ("native.py", *SOURCES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(native.__file__).parent / name, tmp_path / name)
    return tmp_path / "native.py"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_libraries_are_built_wherever_there_is_a_compiler():
    assert {native.loaded(library) is not None for library in native.LIBRARIES} == {shutil.which("cc") is not None}


def test_without_a_compiler_nothing_is_built_and_nothing_is_left_behind(copied, monkeypatch):
    before = files(copied.parent)
    for compiler in ("/bin/false", "/nowhere/cc", "/bin/true"):
        monkeypatch.setenv("CC", compiler)
        assert not any(library.build() for library in runpy.run_path(str(copied))["LIBRARIES"])
    assert files(copied.parent) == before == {"native.py", *SOURCES}


@pytest.mark.parametrize("place", range(len(native.LIBRARIES)))
def test_a_library_of_another_source_is_not_loaded(copied, place):
    library = runpy.run_path(str(copied))["LIBRARIES"][place]
    own = library.path
    assert own.relative_to(copied.parent) == native.LIBRARIES[place].path.relative_to(Path(native.__file__).parent)
    wide = own.with_name("wide.h")
    wide.write_text(wide.read_text() + "\n")
    assert library.path != own
    assert library.path.parent == own.parent
