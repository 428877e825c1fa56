"""Experiment tracking: params, metrics, inputs and artifacts of each run."""
