"""The reference names everything there is: commands, options, settings, public names, error codes, routes, record."""

import importlib.util
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

import loopline
from loopline.access.permissions import Permission
from loopline.cli.main import EXIT_CODES
from loopline.config import Settings
from loopline.scoring.record import COLUMNS
from loopline.tables import SYSTEM_COLUMNS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """`docs/generate.py`, which finds what there is."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_every_error_code_is_listed(generate: ModuleType) -> None:
    listed = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", page("errors.md"), re.MULTILINE))
    assert {one.code for one in generate.raised()} == listed, "run python docs/generate.py"


def test_codes_that_are_put_together_are_found(generate: ModuleType) -> None:
    found = {one.code for one in generate.raised()}
    assert {"token.revoked", "login.used", "spool.full", "spool.failed", "scoring.not_a_category"} <= found
    assert {"scoring.unknown_column", "scoring.missing_column", "model.feature_twice"} <= found


def test_every_command_and_option_is_listed(generate: ModuleType) -> None:
    text = page("cli.md")
    for name, parts in generate.command_pages().items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, f"{name}: run python docs/generate.py"
        for called, command in parts:
            assert f"`loopline {called}" in section
            for option in command.params:
                if option.opts[0].startswith("-"):
                    assert f"- `{option.opts[0]}`" in section, f"{called} {option.opts[0]}"


def test_every_exit_code_is_told() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
    for kind, code in EXIT_CODES:
        assert f"| {code} | `{kind.__name__}` |" in page("cli.md")
        assert re.search(rf"\b{code} ", readme)


def test_every_setting_is_listed() -> None:
    for field in fields(Settings):
        assert f"| `LOOPLINE_{field.name.upper()}` | `{field.name}` |" in page("settings.md")


def test_every_variable_that_is_read_is_listed() -> None:
    read = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r'"(LOOPLINE_[A-Z_]+)"', path.read_text(encoding="utf-8"))
    }
    assert {name for name in read if f"`{name}`" not in page("settings.md")} == set()


def test_every_public_name_is_listed() -> None:
    missing = [name for name in loopline.__all__ if not re.search(rf"`ll\.{name}\b", page("loop-file.md"))]
    assert missing == ["__version__"]


def test_every_route_is_listed_with_its_permission(generate: ModuleType) -> None:
    scoring, _, control = page("http.md").partition("## Control plane")
    for text, routes in ((scoring, generate.scoring_routes()), (control, generate.control_routes())):
        listed = re.findall(r"^\| `([A-Z]+) (/\S*)` \| (.+?) \|", text, re.MULTILINE)
        assert {(one.method, one.path) for one in routes} == {(method, path) for method, path, _ in listed}
        needs = {(method, path): need for method, path, need in listed}
        for one in routes:
            if isinstance(one.needs, Permission):
                assert needs[one.method, one.path] == f"`{one.needs}`"


def test_every_permission_is_listed() -> None:
    assert all(f"| `{permission}` |" in page("http.md") for permission in Permission)


def test_every_column_of_a_prediction_is_listed() -> None:
    assert all(f"| `{column}` |" in page("prediction-record.md") for column in (*SYSTEM_COLUMNS, *COLUMNS))


def test_fragments_of_the_log_of_changes_are_named_as_it_says() -> None:
    for path in (ROOT / "changelog.d").iterdir():
        if path.name != "README.md":
            assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed)\.md", path.name)
            assert len(path.read_text(encoding="utf-8").strip().splitlines()) == 1


def test_every_decision_is_in_the_list_and_has_its_three_parts() -> None:
    listed = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"):
        text = path.read_text(encoding="utf-8")
        assert f"({path.name})" in listed
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences"))
