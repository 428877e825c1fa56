"""A small client for the HTTP interfaces."""
