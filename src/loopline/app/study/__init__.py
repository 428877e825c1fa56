"""A study of predictions and labels: rows in blocks, what was lost and was due, what broke, moved and changed."""
