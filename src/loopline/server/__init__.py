"""HTTP over the parts: thin routes and protocols, no logic."""
