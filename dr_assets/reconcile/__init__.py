"""Observed state of a stack in AWS, and the loop that reconciles it with the catalogue."""
