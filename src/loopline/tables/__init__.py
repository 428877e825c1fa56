"""Versioned tables: schema, quarantine, provenance, and the rows as known at any time."""

from loopline.tables.datafile import DataFile
from loopline.tables.log import TableVersion
from loopline.tables.schema import SYSTEM_COLUMNS, TableSchema
from loopline.tables.table import Table
from loopline.tables.tables import Tables

__all__ = ["SYSTEM_COLUMNS", "DataFile", "Table", "TableSchema", "TableVersion", "Tables"]
