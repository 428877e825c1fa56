"""A spreadsheet as programs write them, from nothing but its format."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


class Serial(float):
    """A moment as days since 1899-12-30, as spreadsheets keep it."""


def _cell(row: int, column: int, value: Any) -> str:
    place = f"{chr(65 + column)}{row + 1}"
    if value is None:
        return ""
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{place}" s="{int(isinstance(value, Serial))}"><v>{value}</v></c>'


def _sheet(rows: Sequence[Sequence[Any]]) -> str:
    lines = ["".join(_cell(n, place, value) for place, value in enumerate(row)) for n, row in enumerate(rows)]
    data = "".join(f'<row r="{n + 1}">{line}</row>' for n, line in enumerate(lines))
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{data}</sheetData></worksheet>'


def _write(path: Path, **sheets: Sequence[Sequence[Any]]) -> Path:
    ids = range(1, len(sheets) + 1)
    names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in zip(ids, sheets, strict=True))
    targets = "".join(
        f'<Relationship Id="r{n}" Type="{_DOCUMENT}/worksheet" Target="worksheets/s{n}.xml"/>' for n in ids
    )
    kinds = "".join(
        f'<Override PartName="/xl/worksheets/s{n}.xml" ContentType="{_SHEET_TYPE}.worksheet+xml"/>' for n in ids
    )
    formats = '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22" applyNumberFormat="1"/></cellXfs>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_SHEET_TYPE}.sheet.main+xml"/>{kinds}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="r1" Type="{_DOCUMENT}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_RELATIONS}">{targets}<Relationship Id="r9" '
        f'Type="{_DOCUMENT}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}">{formats}</styleSheet>',
        **{f"xl/worksheets/s{n}.xml": _sheet(rows) for n, rows in zip(ids, sheets.values(), strict=True)},
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    return path


@pytest.fixture
def write_xlsx() -> Callable[..., Path]:
    """Writes an .xlsx file: `write_xlsx(path, Sheet1=[["a", "b"], [1, 2]])`."""
    return _write


@pytest.fixture
def serial() -> type[Serial]:
    return Serial
