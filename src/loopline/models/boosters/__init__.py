"""What LightGBM's and XGBoost's own formats say of their trees, read without these libraries' code."""
