"""Pure numbers: e-processes and confidence sequences that stay valid however often one looks."""
