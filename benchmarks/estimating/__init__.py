"""Estimates without labels: ours, nannyml's, and what the labels showed."""
