"""`loopline check`: data that nobody has described, looked at whole: schema, faults, leaks, bias, drift."""
