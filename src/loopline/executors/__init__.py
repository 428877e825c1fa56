"""Where steps run: a pool of processes on this machine, and the worker that feeds it."""
