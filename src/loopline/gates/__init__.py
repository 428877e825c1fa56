"""May this model version serve? Checks, promotion, rollback."""
