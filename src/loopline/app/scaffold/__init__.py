"""`loopline init`: a loop that runs, from nothing or from what was used before."""
