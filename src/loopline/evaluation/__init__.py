"""Losses, intervals, calibration: how good a prediction was and how sure we are."""
