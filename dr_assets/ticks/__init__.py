"""What one sensor tick does, without Dagster: poll, evaluate, deliver."""
