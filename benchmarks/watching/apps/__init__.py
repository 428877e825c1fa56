"""The programs of the contestants: each reads a folder and says what it found, as JSON."""
