"""Feature views, defined once and computed the same offline and online."""
