"""Watching for harm: profiles, risk, drift as explanation. Owns alarms; others consume them."""
