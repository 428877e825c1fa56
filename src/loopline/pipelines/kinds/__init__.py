"""Kinds of step that are no Python function: a query, a notebook, a command. Plain functions that return values; engines wire them."""
