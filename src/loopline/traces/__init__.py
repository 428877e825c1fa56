"""Traces of LLM calls. Reserved."""
