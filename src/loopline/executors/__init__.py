"""Where steps run. Reserved for local pools and Ray."""
