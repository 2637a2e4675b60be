"""Drills: the writer moved on purpose (or in an incident), measured, and recorded in a chain of hashes."""
