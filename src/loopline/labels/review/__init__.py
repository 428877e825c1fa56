"""Reviews: predictions that people label, how they are chosen and with which probability, and what became of each."""
