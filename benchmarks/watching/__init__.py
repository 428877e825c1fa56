"""What `benchmarks/monitoring.py` is made of."""
