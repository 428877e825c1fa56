"""Backups of a home: what everything else is restored from."""
