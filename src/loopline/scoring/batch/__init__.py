"""Scoring many rows at once: taken in, checked and kept in parts, scored part by part, and made visible in one step."""
