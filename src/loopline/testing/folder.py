"""What every place of a table's files must hold. Subclass `FolderSuite` and give it a fixture `folder`."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from loopline.tables.folder import Folder


class FolderSuite:
    """Whole writes, one maker for each name, marks, names. `folder` is empty for each test, its `_delta_log` made."""

    def test_what_was_put_is_read_and_replaced(self, folder: Folder) -> None:
        assert folder.read("a.parquet") is None
        assert folder.size("a.parquet") is None
        folder.put("a.parquet", b"one")
        folder.put("a.parquet", b"three")
        assert (folder.read("a.parquet"), folder.size("a.parquet")) == (b"three", 5)

    def test_one_of_several_makes_a_name(self, folder: Folder) -> None:
        for turn in range(10):
            name = f"_delta_log/{turn}.json"
            with ThreadPoolExecutor(8) as pool:
                made = list(pool.map(lambda one: folder.create(name, bytes([one]) * 100), range(8)))  # noqa: B023 - done within the turn
            assert made.count(True) == 1
            assert folder.read(name) == bytes([made.index(True)]) * 100

    def test_a_mark_follows_the_content(self, folder: Folder) -> None:
        folder.put("a", b"one")
        before = folder.marks(["a", "absent"])
        assert before[0] is not None
        assert before[1] is None
        assert folder.marks(["a", "absent"]) == before
        folder.put("a", b"two")
        assert folder.marks(["a"]) != before[:1]

    def test_names_are_those_below_and_go_when_removed(self, folder: Folder) -> None:
        for name in ("b.parquet", "_delta_log/0.json", "a b=ü.parquet"):
            folder.put(name, b"x")
        assert folder.names() == ["_delta_log/0.json", "a b=ü.parquet", "b.parquet"]
        folder.remove("b.parquet")
        folder.remove("b.parquet")
        assert folder.names() == ["_delta_log/0.json", "a b=ü.parquet"]

    def test_read_on_stops_at_the_first_gap(self, folder: Folder) -> None:
        for number in (*range(70), *range(71, 75)):
            folder.put(f"_delta_log/{number}.json", b"%d" % number)
        read = list(folder.read_on(f"_delta_log/{number}.json" for number in count()))
        assert read == [b"%d" % number for number in range(70)]

    def test_fetched_files_hold_the_contents(self, folder: Folder, tmp_path: Path) -> None:
        for name in ("a", "b"):
            folder.put(name, name.encode())
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        assert [path.read_bytes() for path in folder.fetched(["b", "a"], scratch)] == [b"b", b"a"]

    def test_writers_share_the_lock(self, folder: Folder) -> None:
        with folder.lock.shared(), folder.lock.shared():
            pass
        with folder.lock.alone(patience=1.0):
            pass
