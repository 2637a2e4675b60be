"""The monitoring's sources: what is polled in AWS and on the database."""
