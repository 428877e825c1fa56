"""What `benchmarks/steps.py` is made of."""
