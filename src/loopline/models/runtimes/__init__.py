"""What runs a packaged model, one file per format."""
