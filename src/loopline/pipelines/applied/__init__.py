"""Pipelines in force: declared by a file, with pinned code, executed by their schedules."""
