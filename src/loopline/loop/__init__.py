"""The loop: declared as pure data, planned, turned, replayed."""
