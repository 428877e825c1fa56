"""Versioned tables: schema, quarantine, provenance, and the rows as known at any time."""

from loopline.tables.datafile import DataFile
from loopline.tables.ingest import Ingested, ingest, ingested
from loopline.tables.log import TableVersion
from loopline.tables.quarantine import quarantined
from loopline.tables.schema import SYSTEM_COLUMNS, TableSchema
from loopline.tables.source import SourceSpec, key_text
from loopline.tables.table import Table
from loopline.tables.tables import Tables

__all__ = [
    "SYSTEM_COLUMNS",
    "DataFile",
    "Ingested",
    "SourceSpec",
    "Table",
    "TableSchema",
    "TableVersion",
    "Tables",
    "ingest",
    "ingested",
    "key_text",
    "quarantined",
]
