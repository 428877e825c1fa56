"""The append-only hash chain of every change of what serves and every automatic action."""
