"""Late labels: how predictions meet their outcomes, and when a cohort is mature."""
