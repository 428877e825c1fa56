"""Exploratory work becomes a pipeline file: notebooks and scripts are read, never run."""
