"""Putting the scoring engine into operation: a process today."""
