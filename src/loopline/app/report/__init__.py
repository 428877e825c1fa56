"""The report of a replay: policies side by side, as one HTML file (`page`) and in the terminal (`terminal`)."""
