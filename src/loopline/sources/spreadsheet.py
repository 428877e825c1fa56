"""Spreadsheets: one sheet of an Excel or OpenDocument file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastexcel
import polars as pl

from loopline.errors import InvalidInput, NotFound
from loopline.sources.reader import Terms, settled
from loopline.sources.times import check_zone
from loopline.values import EPOCH, MICROSECOND, Window


@dataclass(frozen=True)
class Spreadsheet:
    """A reader of one sheet; make it with `spreadsheet`."""

    path: str
    sheet: str | int
    header: int
    zone: str | None
    rename: Mapping[str, str]

    def describe(self) -> dict[str, Any]:
        """What is read and how."""
        said = {"path": self.path, "sheet": self.sheet, "header": self.header, "zone": self.zone}
        return {"spreadsheet": said | {"rename": dict(self.rename)}}

    def read(self, window: Window, terms: Terms) -> pl.DataFrame:
        """The rows of the sheet that became known in the window; empty rows are left out.

        Raises `NotFound` ("source.no_spreadsheet", "source.no_sheet"), `InvalidInput` ("source.unreadable_spreadsheet", and as
        `settled`).
        """
        rows = self.rows()
        written = EPOCH + Path(self.path).stat().st_mtime_ns // 1000 * MICROSECOND
        return settled(rows, window, terms, self.zone, written=written)

    def rows(self) -> pl.DataFrame:
        """All rows of the sheet but empty ones. Raises `NotFound` ("source.no_spreadsheet", "source.no_sheet") and `InvalidInput`
        "source.unreadable_spreadsheet".
        """
        path = Path(self.path)
        if not path.is_file():
            raise NotFound(
                "source.no_spreadsheet",
                f"there is no file {self.path}",
                remedy=f"Paths are taken from the folder that this runs in: {Path.cwd()}.",
            )
        try:
            book = fastexcel.read_excel(path)
            names = book.sheet_names
            if self.sheet not in (names if isinstance(self.sheet, str) else range(len(names))):
                raise _no_sheet(self.path, self.sheet, names)
            # Dtypes by all rows: a column of numbers with a word in the last row is text.
            sheet = book.load_sheet(self.sheet, header_row=self.header, schema_sample_rows=None)
            rows = pl.DataFrame(sheet.to_polars())
        except fastexcel.FastExcelError as error:
            raise InvalidInput(
                "source.unreadable_spreadsheet",
                f"{self.path} cannot be read: {str(error).splitlines()[0]}",
                remedy="Is it an .xlsx, .xlsb, .xls or .ods file, and is the row of its header right?",
            ) from error
        filled = [name for name in rows.columns if not (name.startswith("__UNNAMED__") and rows[name].is_null().all())]
        if not filled:
            return pl.DataFrame()
        whole = rows.select(filled).filter(~pl.all_horizontal(pl.all().is_null()))
        return whole.rename(dict(self.rename), strict=False)


def spreadsheet(
    path: str,
    *,
    sheet: str | int = 0,
    header: int = 0,
    zone: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> Spreadsheet:
    """Rows of one sheet, e.g. `spreadsheet("targets.xlsx", sheet="2026")`; by name or by place, from 0.

    `header` is the row of the columns' names, from 0. Spreadsheets have no zones: `zone` says where their times are. `rename`
    gives columns names that a table can have. Use `known_at=modified()` where no column says when a row became known.

    Raises `InvalidInput` "source.unknown_zone".
    """
    check_zone(zone)
    return Spreadsheet(path, sheet, header, zone, dict(rename or {}))


def _no_sheet(path: str, sheet: str | int, names: list[str]) -> NotFound:
    return NotFound("source.no_sheet", f"{path} has no sheet {sheet!r}", remedy=f"It has: {', '.join(names)}.")
