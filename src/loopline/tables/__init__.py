"""Versioned tables: schema, quarantine, provenance, and the rows as known at any time."""
