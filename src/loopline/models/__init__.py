"""Registered models: versions, aliases, packaging with proof of parity, signing, the deployment manifest."""
