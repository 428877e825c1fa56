"""Training sets, pinned; fits, calibrated; runs, logged."""
