"""The composition root: names implementations, registers actions."""
