"""What putting a pipeline file in force does: schedules start and end, code is pinned, the ledger tells."""

from datetime import timedelta

import msgspec
import pytest
from tests.pipelines.applied.conftest import AT, FILE

from loopline.errors import Conflict, DeclarationError, InvalidInput, NotFound
from loopline.ledger import chain
from loopline.pipelines.applied import applied
from loopline.pipelines.applied.declared import declared
from loopline.pipelines.schedules import schedule


def sentences(database):
    with database.reading() as tx:
        return sorted(f"{one.pipeline}: {one.declared.sentence}" for one in schedule.find(tx, "shop"))


def test_schedules_start_with_the_file_and_the_ledger_says_so(database, apply, written):
    made = apply(written(FILE))
    assert [change.kind for change in made.changes] == ["add", "add", "add"]
    assert sentences(database) == [
        "note: webhook go", "sales: every 1h in UTC", "sales: new versions of shop.orders"
    ]  # fmt: skip
    with database.reading() as tx:
        [entry] = chain.entries(tx, "shop", kind="pipelines.applied")
        [hourly] = [one for one in schedule.find(tx, "shop") if one.kind == "interval"]
        found = {one.pipeline: one for one in applied.in_force(tx)}
    assert (entry.actor, entry.subject, entry.body["code"]) == ("ann", made.file, made.code)
    assert hourly.next_at == AT + timedelta(hours=1)
    assert {one.function for one in found.values()} == {f"{made.file}:sales", f"{made.file}:note"}


def test_applied_again_it_changes_nothing(database, apply, written):
    path = written(FILE)
    apply(path)
    assert apply(path, AT + timedelta(hours=3)).empty
    with database.reading() as tx:
        assert len(chain.entries(tx, "shop")) == 1


def test_what_is_gone_from_the_file_ends_and_what_stays_goes_on(database, apply, written):
    apply(written(FILE))
    later = AT + timedelta(hours=3)
    made = apply(written(FILE.replace('@ll.pipeline(schedule=ll.on_webhook("go"))\ndef note', "def note")), later)
    assert made.ended == ["note"]
    assert {(one.kind, one.path) for one in made.changes} == {
        ("remove", "pipelines.note"), ("change", f"code.{made.file}.py")
    }  # fmt: skip
    assert sentences(database) == ["sales: every 1h in UTC", "sales: new versions of shop.orders"]
    with database.reading() as tx:
        [hourly] = [one for one in schedule.find(tx, "shop") if one.kind == "interval"]
        assert hourly.passed == AT  # it has not begun anew
        with pytest.raises(NotFound, match="note is not in force"):
            applied.one_in_force(tx, "shop", "note")


def test_changed_code_alone_is_a_change_of_code(apply, written):
    first = apply(written(FILE))
    second = apply(written(FILE.replace("until", "to")))
    assert [one.path for one in second.changes] == [f"code.{first.file}.py"]
    assert second.code != first.code


def test_own_modules_beside_and_elsewhere_are_pinned(apply, written, artifacts, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere" / f"lib_of_{tmp_path.name.replace('-', '_')}"
    elsewhere.mkdir(parents=True)
    (elsewhere / "__init__.py").write_text("")
    (elsewhere / "words.py").write_text("def word() -> str:\n    return 'w'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    made = apply(written(f"from {elsewhere.name}.words import word\n" + FILE))
    files = msgspec.json.decode(artifacts.get(made.code), type=dict[str, bytes])
    assert {f"{made.file}.py", f"{elsewhere.name}/words.py", f"{elsewhere.name}/__init__.py"} <= files.keys()


def test_a_removed_file_ends_all_its_schedules(database, apply, written):
    made = apply(written(FILE))
    with database.transaction() as tx:
        gone = applied.remove(tx, made.file, project="shop", at=AT, actor="ann")
    assert gone.ended == ["note", "sales"]
    assert sentences(database) == []
    with database.transaction() as tx, pytest.raises(NotFound):
        applied.remove(tx, made.file, project="shop", at=AT, actor="ann")
    assert not apply(written(FILE)).empty
    assert len(sentences(database)) == 3


def test_a_name_belongs_to_one_file(database, apply, written):
    apply(written(FILE))
    with pytest.raises(Conflict, match="in force by the file"):
        apply(written(FILE, name="others"))
    assert len(sentences(database)) == 3


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('"region": "north"', '"area": "north"', "pipeline.schedule_unfit"),
        ('"region": "north"', '"region": 3', "pipeline.schedule_unfit"),
        ('"1h", params={"region": "north"}', '"1h"', "pipeline.schedule_unfit"),
        ('text: str = "-"', "window: ll.Window", "pipeline.schedule_unfit"),
        ("return read(window, region)", "return read(read(window, region), region)", "pipeline.types"),
        ("return read(window, region)", "return 1 / 0", "pipeline.body_failed"),
        ("def note", "def note(): ...\n\n\n@ll.pipeline(name='sales')\ndef note", "pipeline.names"),
        ('ll.on_webhook("go")', '"go"', "schedule.not_a_schedule"),
    ],
)
def test_what_could_never_be_executed_is_refused(artifacts, written, old, new, code):
    assert FILE.count(old) == 1
    with pytest.raises(InvalidInput) as refused:
        declared(written(FILE.replace(old, new)), artifacts, at=AT)
    assert refused.value.code == code


def test_a_file_without_pipelines_is_refused(artifacts, written):
    with pytest.raises(DeclarationError, match="declares no pipeline"):
        declared(written("x = 1\n"), artifacts, at=AT)
    with pytest.raises(NotFound):
        declared("nowhere.py", artifacts, at=AT)
