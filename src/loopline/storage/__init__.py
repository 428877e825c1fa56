"""Bytes and rows: the database, artifacts and key-value drivers. Only here may drivers be imported."""
