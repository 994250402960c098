"""Real fluoroscopy of a knee replacement: two calibrated cameras, 24 instants."""
