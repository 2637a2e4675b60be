"""Secrets Manager secrets with the master password: kinds and rows."""
