"""The composition root: opens a home, names implementations, registers actions."""
