"""`doctor`: what is wrong with a home, what it means, what to do; and what can safely be mended."""
