"""Healing: what kind of error a step met, what is tried against it and in which order, and what recurs behind it all."""
