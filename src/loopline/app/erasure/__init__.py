"""Erasing a person from a home: which parts take part, what lies in artifacts and files, and the search through all of it."""
