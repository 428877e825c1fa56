"""What can be said of rows that nobody has described yet: their types, faults, keys and times, as a schema to paste."""
