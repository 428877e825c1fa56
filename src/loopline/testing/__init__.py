"""The suites that every backend must pass, shipped so that others can run them on theirs."""
