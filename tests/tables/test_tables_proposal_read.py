"""Odd files are read as what they are, or refused with a reason; text gets the types it really has."""

import gzip
import json
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput, NotFound
from loopline.tables.proposal.columns import read_columns
from loopline.tables.proposal.extract import extracting
from loopline.tables.proposal.infer import infer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def looked_at(path, **options):
    with extracting(str(path), **options) as extract:
        columns = read_columns(extract, NOW)
        return extract, columns, {(finding.code, finding.column) for finding in columns.findings}


@pytest.fixture
def csv(tmp_path):
    def write(content: str | bytes, name: str = "data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


ODD = {
    "empty": ("", 0, [], {"empty"}),
    "blank lines": ("\n\n", 0, [], {"empty"}),
    "header only": ("a,b\n", 0, ["a", "b"], {"no-rows"}),
    "one row": ("a,b\n1,2\n", 1, ["a", "b"], set()),
    "no line break at the end": ("a,b\n1,2", 1, ["a", "b"], set()),
    "BOM": ("\ufeffa,b\n1,2\n", 1, ["a", "b"], set()),
    "semicolons": ("a;b\n1,5;2\n2,5;3\n", 2, ["a", "b"], {"decimal-comma"}),
    "tabs": ("a\tb\n1\t2\n", 1, ["a", "b"], set()),
    "bars": ("a|b\n1|2\n", 1, ["a", "b"], set()),
    "quoted line breaks": ('a,b\n1,"x\ny"\n2,"u,v"\n', 2, ["a", "b"], set()),
    "duplicate names": ("a,b,a\n1,2,3\n", 1, ["a", "b", "a_2"], {"duplicate-column"}),
    "names missing": ("a,,\n1,2,3\n", 1, ["a", "column_2", "column_3"], {"unnamed-column"}),
    "long lines": ("a,b\n1,2,3\n4,5\n", 2, ["a", "b"], {"ragged"}),
    "short lines": ("a,b\n1\n4,5\n", 2, ["a", "b"], {"ragged"}),
    "open quote": ('a,b\n1,"x\n2,y\n', 2, ["a", "b"], {"quotes"}),
    "no header": ("1,2\n3,4\n", 2, ["column_1", "column_2"], {"no-header"}),
    "emoji": ("x,😀\n1,🎉\n2,🥳\n", 2, ["x", "😀"], set()),
    "all null": ("a,b\n1,\n2,\n", 2, ["a", "b"], {"all-null"}),
    "windows": ("a,b\r\n1,2\r\n", 1, ["a", "b"], set()),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files(csv, name):
    content, rows, names, codes = ODD[name]
    extract, columns, findings = looked_at(csv(content))
    assert (extract.rows, columns.frame.height) == (rows, rows)
    assert list(columns.frame.columns) == names
    told = {code for code, _ in findings}
    assert codes <= told
    grave = {"duplicate-column", "ragged", "quotes", "no-header", "empty", "no-rows", "encoding"}
    assert told & grave == codes & grave


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
def test_encodings(csv, encoding):
    _, columns, findings = looked_at(csv("stadt,n\nKöln,1\nLübeck,2\n".encode(encoding)))
    assert columns.frame["stadt"].to_list() == ["Köln", "Lübeck"]
    assert (("encoding", None) in findings) == (encoding == "cp1252")


def test_packed_files_folders_and_patterns(tmp_path):
    for number in range(3):
        with gzip.open(tmp_path / f"p{number}.csv.gz", "wb") as file:
            file.write(f"a,b\n{number},x\n".encode())
    (tmp_path / "_SUCCESS").touch()
    for where in (tmp_path, tmp_path / "p*.csv.gz"):
        assert looked_at(where)[1].frame["a"].to_list() == [0, 1, 2]


def test_files_with_other_columns_are_told_of(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_text("a,c\n3,4\n")
    _, columns, findings = looked_at(tmp_path)
    assert ("differing-files", None) in findings
    assert columns.frame.to_dict(as_series=False) == {"a": [1, 3], "b": [2, None], "c": [None, 4]}


def test_typed_files(tmp_path):
    frame = pl.DataFrame(
        {"a": [1, 2], "l": [[1], []], "s": [{"x": 1}, {"x": 2}], "c": pl.Series(["u", "v"], dtype=pl.Categorical)}
    )
    frame.write_parquet(tmp_path / "a.parquet")
    frame.drop("c").write_ndjson(tmp_path / "a.jsonl")
    for name in ("a.parquet", "a.jsonl"):
        extract, columns, findings = looked_at(tmp_path / name)
        assert (extract.rows, extract.nested, columns.frame["a"].to_list()) == (2, ("l", "s"), [1, 2])
        assert ("nested", None) in findings


def test_json_lines_of_several_types_become_text(tmp_path):
    rows = [{"a": 1, "b": "x"}, {"a": "y", "c": {"z": 1}}, [1]]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    _, columns, findings = looked_at(tmp_path / "a.jsonl")
    assert ("mixed-json", None) in findings
    assert columns.frame["a"].to_list() == ["1", "y", None]


@pytest.mark.parametrize("name", ["a.parquet", "a.xlsx", "a.json"])
def test_what_is_not_what_its_name_says_is_refused(csv, name):
    with pytest.raises(InvalidInput) as problem:
        looked_at(csv("not this", name))
    assert problem.value.code == "check.unreadable"


def test_files_that_are_not_there_or_unknown(tmp_path):
    with pytest.raises(NotFound):
        looked_at(tmp_path / "none*.csv")
    (tmp_path / "a.docx").touch()
    with pytest.raises(InvalidInput, match="format"):
        looked_at(tmp_path / "a.docx")


def test_a_sample_is_even_and_says_so(tmp_path):
    pl.DataFrame({"n": range(50_000), "x": [0.5] * 50_000}).write_csv(tmp_path / "a.csv")
    extract, columns, findings = looked_at(tmp_path / "a.csv", rows=5_000)
    assert extract.rows == 50_000
    assert 4_500 < extract.frame.height < 5_500
    assert ("sampled", None) in findings
    assert abs(columns.frame["n"].mean() / 25_000 - 1) < 0.05
    assert looked_at(tmp_path / "a.csv", rows=5_000)[0].frame.equals(extract.frame)
    assert looked_at(tmp_path / "a.csv", rows=0)[0].frame.height == 50_000


def test_two_thousand_columns(tmp_path):
    pl.DataFrame({f"c{i}": [i, i + 1, i + 3] for i in range(2000)}).write_csv(tmp_path / "a.csv")
    assert looked_at(tmp_path / "a.csv")[1].frame.row(2)[1999] == 2002


D1, D2 = date(2024, 2, 13), date(2024, 4, 3)
TEN = datetime(2024, 1, 2, 10, tzinfo=UTC)
TYPES = {
    "whole": (["1", "-2", None], [1, -2, None], set()),
    "numbers": (["1.5", "2", "1e3", "inf"], [1.5, 2.0, 1000.0, float("inf")], set()),
    "decimal commas": (["1,5", "2,25", "1.234,5"], [1.5, 2.25, 1234.5], {"decimal-comma"}),
    "thousands": (["1,234.5", "12"], [1234.5, 12.0], {"thousands"}),
    "currency": (["$1,234.50", "$3"], [1234.5, 3.0], {"units"}),
    "per cent": (["12,5 %", "3,5 %"], [12.5, 3.5], {"units"}),
    "codes": (["007", "012"], ["007", "012"], {"leading-zeros"}),
    "yes and no": (["yes", "No", None], [True, False, None], set()),
    "padded": ([" a", "b ", " "], ["a", "b", None], {"white-space", "blank"}),
    "words for null": (["1", "N/A", "-", "3"], [1, None, None, 3], {"null-words"}),
    "Namibia": (["DE", "NA", "FR"], ["DE", "NA", "FR"], {"null-words"}),
    "too large": (["99999999999999999999", "1"], ["99999999999999999999", "1"], {"huge-integers"}),
    "mixed": (["1", "2", "x"], ["1", "2", "x"], {"mixed-types"}),
    "ISO dates": (["2024-02-13", "2024-04-03"], [D1, D2], set()),
    "day first": (["13/02/2024", "03/04/2024"], [D1, D2], set()),
    "month first": (["02/13/2024", "04/03/2024"], [D1, D2], set()),
    "German": (["13.02.2024", "03.04.2024"], [D1, D2], set()),
    "which first": (["02/01/2024", "03/04/2024"], [date(2024, 1, 2), date(2024, 4, 3)], {"ambiguous-dates"}),
    "several ways": (["2024-02-13", "03.04.2024"], [D1, D2], {"mixed-formats"}),
    "with zones": (["2024-01-02T10:00:00Z", "2024-01-02 12:00:00+02:00"], [TEN, TEN], set()),
    "some with zones": (["2024-01-02T10:00:00Z", "2024-01-02T10:00"], [TEN, TEN], {"no-zone", "mixed-formats"}),
    "without zone": (["2024-01-02 10:00", "2024-01-02 10:00:00.000"], [TEN, TEN], {"no-zone"}),
    "versions": (["1.2.3", "10.0.1"], ["1.2.3", "10.0.1"], set()),
    "nothing": ([None, None], [None, None], set()),
}


@pytest.mark.parametrize("name", TYPES)
def test_text_gets_its_type_by_expression_and_by_code(name):
    given_, expected, codes = TYPES[name]
    column = pl.Series("a column", given_, dtype=pl.String)
    found = infer(column)
    read = column.to_frame().select(found.reading.expression())
    assert read.to_series().to_list() == expected
    assert {finding.code for finding in found.findings} == codes
    assert eval(found.reading.code(), {"pl": pl}) is not None
    assert column.to_frame().select(eval(found.reading.code(), {"pl": pl})).to_series().to_list() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=8), st.integers().map(str), st.floats().map(str)), max_size=12))
def test_any_text_is_read_without_an_error_and_keeps_its_rows(values):
    column = pl.Series("x", values, dtype=pl.String)
    found = infer(column)
    assert column.to_frame().select(found.reading.expression()).height == len(values)
    assert column.to_frame().select(eval(found.reading.code(), {"pl": pl})).height == len(values)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(10**17), 10**17), min_size=1))
def test_whole_numbers_come_back_as_they_were(values):
    column = pl.Series("x", [str(value) for value in values])
    assert column.to_frame().select(infer(column).reading.expression()).to_series().to_list() == values
