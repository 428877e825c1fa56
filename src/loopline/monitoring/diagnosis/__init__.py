"""Diagnosis: the likely causes of a harm, ranked, each with a sentence, a remedy and the figures behind it."""
