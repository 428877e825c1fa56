"""Values survive the way from step to step; code and cache keys change with what they stand for, and with nothing else."""

import importlib
import linecache
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import loopline as ll
from loopline.errors import InvalidInput, NotFound
from loopline.pipelines.code import pin, unpack
from loopline.pipelines.codecs import Codec, artifacts_of, bring, items_of, keep, register
from loopline.pipelines.fingerprint import code_parts
from loopline.pipelines.limits import Limit, limits_in, read_limits
from loopline.pipelines.retries import Retries
from loopline.storage.artifacts import open_artifacts
from loopline.values import Window

WINDOW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


@dataclass
class Point:
    x: int
    at: datetime
    window: Window


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    return open_artifacts(str(tmp_path_factory.mktemp("artifacts")), durable=False)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, type(None)), (True, bool), (1.5, float), ("é\x00", str), (b"\x00\xff", bytes), (b"x" * 9000, bytes), ([1, 2], list[int]),
        ({"a": [1]}, dict[str, list[int]]), ({1: "a"}, dict[int, str]), ({1, 2}, set[int]), (Decimal("1.10"), Decimal),
        (timedelta(hours=3), timedelta), (WINDOW, Window), (Point(1, WINDOW.start, WINDOW), Point), ("x" * 9000, str), (None, str | None),
        ([b"a", b"b"], list[bytes]), (float("inf"), float),
    ],
)  # fmt: skip
def test_values_come_back_equal(artifacts, value, wanted):
    kept = keep(value, artifacts)
    assert bring(kept, wanted, artifacts) == value
    assert keep(value, artifacts) == kept


def test_frames_and_arrays_come_back_equal(artifacts):
    frame = pl.DataFrame({"n": [1, None], "s": ["a", "b"], "at": [WINDOW.start, WINDOW.end]})
    assert_frame_equal(bring(keep(frame, artifacts), pl.DataFrame, artifacts), frame)
    array = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(bring(keep(array, artifacts), np.ndarray, artifacts), array)
    frames = bring(keep([frame, frame[:1]], artifacts), list[pl.DataFrame], artifacts)
    assert [one.height for one in frames] == [2, 1]


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_plain_data_comes_back_equal(artifacts, value):
    assert bring(keep(value, artifacts), None, artifacts) == value


@given(st.lists(plain, max_size=6))
def test_the_elements_of_a_list_are_its_elements(artifacts, values):
    assert [bring(one, None, artifacts) for one in items_of(keep(values, artifacts), artifacts)] == values


def test_large_values_are_artifacts_and_small_ones_are_not(artifacts):
    assert artifacts_of(keep("x", artifacts), artifacts) == []
    large = keep(["x" * 5000], artifacts)
    assert artifacts_of(large, artifacts) == [large.digest]
    artifacts.remove(large.digest)
    with pytest.raises(NotFound):
        bring(large, None, artifacts)


def test_what_nothing_encodes_is_refused_until_a_codec_is_registered(artifacts):
    with pytest.raises(InvalidInput, match="nothing encodes a"):
        keep(np.array([object()]), artifacts)
    with pytest.raises(InvalidInput, match="nothing encodes a"):
        keep(Odd(3), artifacts)
    kind = f"{Odd.__module__}.{Odd.__qualname__}"
    register(Codec("odd", (kind,), lambda odd: str(odd.number).encode(), lambda content, _: Odd(int(content))))
    assert bring(keep(Odd(3), artifacts), Odd, artifacts).number == 3
    with pytest.raises(InvalidInput, match="is there already"):
        register(Codec("parquet", (), bytes, lambda content, _: content))


class Odd:
    def __init__(self, number):
        self.number = number


FILES = {
    "fingers/__init__.py": "",
    "fingers/steps.py": "from fingers import tools\nfrom fingers.tools import half\nLIMIT = 3\n\n\ndef run(x):\n    return half(x) + LIMIT\n"
    "\n\ndef other(x):\n    from fingers.late import late\n    return late(x)\n",
    "fingers/tools.py": "from fingers.deep import third\n\n\ndef half(x):\n    return third(x) / 2\n\n\ndef unused(x):\n    return x\n",
    "fingers/deep.py": "def third(x):\n    return x / 3\n",
    "fingers/late.py": "def late(x):\n    return x\n",
}


def parts_with(tmp_path, monkeypatch, changed, name="run"):
    for path, text in {**FILES, **changed}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    for module in [one for one in sys.modules if one.partition(".")[0] == "fingers"]:
        del sys.modules[module]
    importlib.invalidate_caches()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    if str(tmp_path) not in sys.path:
        monkeypatch.syspath_prepend(str(tmp_path))
    linecache.clearcache()
    return code_parts(getattr(importlib.import_module("fingers.steps"), name))


@pytest.mark.parametrize(
    ("path", "before", "after", "name", "changes"),
    [
        ("fingers/steps.py", "LIMIT = 3", "LIMIT = 4", "run", True),
        ("fingers/deep.py", "x / 3", "x / 4", "run", True),
        ("fingers/tools.py", "return x\n", "return x + 1\n", "run", False),
        ("fingers/steps.py", "def run", "# a remark\ndef run", "run", False),
        ("fingers/late.py", "return x", "return x + 1", "other", True),
        ("fingers/late.py", "return x", "return x + 1", "run", False),
    ],
)
def test_a_fingerprint_changes_with_the_code_it_reaches(tmp_path, monkeypatch, path, before, after, name, changes):
    first = parts_with(tmp_path, monkeypatch, {}, name)
    second = parts_with(tmp_path, monkeypatch, {path: FILES[path].replace(before, after)}, name)
    assert (first != second) is changes


def test_pinned_code_is_the_whole_package(tmp_path, monkeypatch, artifacts):
    parts_with(tmp_path, monkeypatch, {})
    digest = pin([importlib.import_module("fingers.steps").run], artifacts)
    folder = unpack(digest, artifacts, tmp_path / "code")
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.py")}
    assert found == FILES


def test_code_without_a_file_of_its_own_is_not_pinned(artifacts):
    assert pin([lambda: 1], artifacts) is None


def test_retries_go_by_class_or_by_type_of_exception():
    kept = Retries(2, on=["data", ZeroDivisionError]).kept
    assert kept.takes("data", ())
    assert not kept.takes("timeout", ("builtins.TimeoutError",))
    assert kept.takes("code", ("builtins.ZeroDivisionError",))
    assert not Retries(0).kept.takes("timeout", ())
    with pytest.raises(InvalidInput, match="no class of errors 'weather'"):
        Retries(1, on=["weather"])


def test_retries_are_a_remedy_with_waits_in_whole_seconds():
    kept = Retries(9, first=timedelta(milliseconds=1500), at_most="10s").kept
    assert kept.remedy == ll.retry(9, first="2s", at_most="10s")


def test_limits_are_read_as_they_are_written():
    assert read_limits({"a": 4, "b": "10/m", "c": "2, 5/1h"}) == [
        Limit("a", 4, None, None), Limit("b", None, 10, 60_000), Limit("c", 2, 5, 3_600_000),
    ]  # fmt: skip
    assert limits_in("a=4; b=10/1m") == read_limits({"a": 4, "b": "10/1m"})
    with pytest.raises(InvalidInput, match="no limit for"):
        read_limits({"a": "many"})
