"""Routes of the control plane, one file per part. Each declares its permission; none holds logic."""
