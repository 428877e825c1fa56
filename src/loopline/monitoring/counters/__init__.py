"""Columns counted by a small library in C, to the very results of numpy and polars."""
